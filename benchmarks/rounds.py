"""Contenders that take turns, so that a machine's moods fall on all of them alike."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "openvino", "onnxruntime", "numba", "numpy", "pillow", "simplejpeg", "ray",
            "opencv-python-headless")  # fmt: skip


@dataclass
class Result:
    """Rates of one contender.

    Attributes:
        rate: median over the rounds of things done a CPU second.
        ratio: median over the rounds of its rate to that of the first contender.
        ratios: lowest and highest of those.
        note: why it did not take part.
    """

    name: str
    rate: float = 0.0
    ratio: float = 0.0
    ratios: tuple[float, float] = (0.0, 0.0)
    note: str = ""


@dataclass
class Contest:
    """What was measured, on what, in which unit, and the results."""

    title: str
    unit: str
    results: list[Result] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def compete(
    title: str,
    unit: str,
    contenders: dict[str, Callable[[], Any] | str],
    count: int,
    rounds: int = 5,
) -> Contest:
    """Let contenders do the same `count` things in turn, after one round that does not count.

    The first is what the others are compared with. A text in a function's place says why a
    contender does not take part.
    """
    running = {name: run for name, run in contenders.items() if not isinstance(run, str)}
    rates: dict[str, list[float]] = {name: [] for name in running}
    for number in range(rounds + 1):
        for name, run in running.items():
            began = time.process_time()
            run()
            if number:
                rates[name].append(count / (time.process_time() - began))
    first = next(iter(running))
    contest = Contest(title, unit)
    for name, run in contenders.items():
        if isinstance(run, str):
            contest.results.append(Result(name, note=run))
            continue
        ratios = [own / base for own, base in zip(rates[name], rates[first], strict=True)]
        contest.results.append(
            Result(
                name,
                statistics.median(rates[name]),
                statistics.median(ratios),
                (min(ratios), max(ratios)),
            )
        )
    return contest


def machine() -> dict[str, Any]:
    """Describe what this runs on."""
    model, flags = platform.processor(), set()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
        elif line.startswith("flags"):
            flags = set(line.split())
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "instructions": [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags],
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def table(contest: Contest) -> str:
    """Return a contest as a table in Markdown."""
    lines = [
        f"### {contest.title}",
        "",
        f"| | {contest.unit} | ratio (lowest to highest round) |",
        "|---|---|---|",
    ]
    for result in contest.results:
        if result.note:
            lines.append(f"| {result.name} | | {result.note} |")
            continue
        low, high = result.ratios
        lines.append(
            f"| {result.name} | {result.rate:.3g} | {result.ratio:.2f} ({low:.2f} to {high:.2f}) |"
        )
    if contest.facts:
        lines += ["", "; ".join(f"{name}: {value}" for name, value in contest.facts.items())]
    return "\n".join(lines) + "\n"


def described() -> str:
    """Return what this runs on as a line of a document."""
    here = machine()
    versions = ", ".join(f"{name} {v}" for name, v in here["versions"].items() if v)
    return (
        f"{here['cpu']}, {here['cores']} cores shared with other work, "
        f"{', '.join(here['instructions'])}; Python {here['python']}, {versions}.\n\n"
    )


def write_between(path: Path, name: str, text: str) -> None:
    """Put text between the marks `<!-- name -->` and `<!-- /name -->` of a document."""
    before, _, rest = path.read_text().partition(f"<!-- {name} -->")
    _, end, after = rest.partition(f"<!-- /{name} -->")
    if not end:
        raise SystemExit(f"{path} has no marks <!-- {name} --> and <!-- /{name} -->")
    path.write_text(f"{before}<!-- {name} -->\n\n{text}\n{end}{after}")


def as_json(contest: Contest) -> dict[str, Any]:
    """Return a contest as plain values."""
    return asdict(contest)
