"""Where the seconds of a small run go: the 15 example photos, `--embedder sface`.

    python -m benchmarks.startup [--rounds 3] [--other FOLDER]

Whole runs, later ones and first ones on a machine, which have nothing compiled: wall seconds, and
CPU seconds of all their processes. In turn, if the folder of another version of this repository is
given: that one's, ours on Ray, and ours. Then the phases of our runs, by their manifests, and what
a detector and an embedder do before their first image, each in a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from uuid import uuid4

from tests.support.data import EXAMPLES

HERE = Path(__file__).parent.parent
MARK = "FACELAKE_STARTUP_RUN"
RAY = ("--detect-actors", "1", "--embed-actors", "1")
STEPS = {
    "detect": [
        ("stages, runtimes", "from pipeline.stages.detect import Detect; import numba"),
        (
            "model",
            "from pipeline.models.cards.card import find_card; d = Detect(find_card('sface'))",
        ),
        ("first photo", "d.detector.detect(pixels)"),
        ("second photo", "d.detector.detect(pixels)"),
    ],
    "embed": [
        ("stage", "from pipeline.stages.embed import Embed"),
        ("model", "e = Embed('sface', threads=1)"),
        ("first face", "e.embedder.embed(crop)"),
        ("second face", "e.embedder.embed(crop)"),
    ],
}
BEFORE = """
import time, numpy as np
from pathlib import Path
from pipeline.imaging.decode import decode
pixels = decode(Path(PHOTO).read_bytes(), 200_000_000, None).pixels
crop = np.full((1, 112, 112, 3), 127, np.uint8)
"""


def environment(folder: Path, **others: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", **others}


def index(folder: Path, *options: str, **others: str) -> tuple[float, float, dict[str, float]]:
    """Return wall and CPU seconds of a run of the version in `folder`, and those of its phases."""
    mark = f"{MARK}={uuid4().hex}"
    with tempfile.TemporaryDirectory() as lake:
        command = [sys.executable, "-m", "pipeline.commands.main", "index", str(EXAMPLES), *options]
        began = time.monotonic()
        run = subprocess.Popen(
            [*command, "--output", lake, "--embedder", "sface", "--plain"],
            cwd=folder, env=environment(folder, **dict([mark.split("=")]), **others),
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        cpu: dict[str, float] = {}
        while run.poll() is None:
            cpu |= cpu_seconds(mark)
            time.sleep(0.1)
        wall = time.monotonic() - began
        assert run.returncode == 0
        (path,) = (Path(lake) / "runs").glob("*.json")
        manifest = json.loads(path.read_text())
        return wall, sum(cpu.values()), manifest.get("performance", {}).get("phases", {})


def cpu_seconds(mark: str) -> dict[str, float]:
    """Return what each process took so far that inherited this variable."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                found[folder.name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except OSError:  # it has ended
            continue
    return found


def whole_runs(other: Path | None, rounds: int) -> list[dict[str, float]]:
    """Print seconds of whole runs of each kind, and return the phases of ours."""
    kinds = [("other version", other, ()), ("ours, on Ray", HERE, RAY), ("ours", HERE, ())]
    times: dict[tuple[str, str], list[tuple[float, float]]] = {}
    phases = []
    for _ in range(rounds):
        for name, folder, options in kinds:
            if folder is None:
                continue
            with tempfile.TemporaryDirectory() as empty:
                for which in ("first", "later"):
                    wall, cpu, spent = index(folder, *options, NUMBA_CACHE_DIR=empty)
                    times.setdefault((name, which), []).append((wall, cpu))
                    if (name, which) == ("ours", "later"):
                        phases.append(spent)
    print("| run | wall seconds, median (lowest to highest) | CPU seconds |\n|---|---|---|")
    for (name, which), pairs in times.items():
        walls, cpus = (sorted(x) for x in zip(*pairs, strict=True))
        print(
            f"| {name}, {which} | {median(walls):.1f} ({walls[0]:.1f} to {walls[-1]:.1f}) "
            f"| {median(cpus):.1f} ({cpus[0]:.1f} to {cpus[-1]:.1f}) |"
        )
    return phases


def steps(actor: str, **others: str) -> dict[str, tuple[float, float]]:
    """Return wall and CPU seconds of each step of an actor, in a new process."""
    code = BEFORE.replace("PHOTO", repr(str(EXAMPLES / "obama-2012-portrait.jpg")))
    for name, step in STEPS[actor]:
        code += "wall, cpu = time.perf_counter(), time.process_time()\n" + step + "\n"
        code += f"print({name!r}, time.perf_counter() - wall, time.process_time() - cpu, sep='|')\n"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=HERE, env=environment(HERE, **others), check=True, capture_output=True, text=True,
    )  # fmt: skip
    lines = (line.split("|") for line in done.stdout.splitlines())
    return {name: (float(wall), float(cpu)) for name, wall, cpu in lines}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--other", type=Path, help="folder of another version of this repository")
    options = parser.parse_args()
    phases = whole_runs(options.other and options.other.resolve(), options.rounds)
    print("\n| phase | median, seconds |\n|---|---|")
    for name in phases[0]:
        print(f"| {name} | {median(one.get(name, 0) for one in phases):.2f} |")
    with tempfile.TemporaryDirectory() as empty:
        runs = {
            "detect": steps("detect"),
            "detect, nothing compiled": steps("detect", NUMBA_CACHE_DIR=empty),
            "embed": steps("embed"),
        }
    print("\nactors, seconds\n\n| actor | step | wall | CPU |\n|---|---|---|---|")
    for actor, seconds_by_module in runs.items():
        for name, (wall, cpu) in seconds_by_module.items():
            print(f"| {actor} | {name} | {wall:.2f} | {cpu:.2f} |")


if __name__ == "__main__":
    main()
