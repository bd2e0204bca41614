"""What every evaluation gives: a table, JSON, plots."""

import argparse
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from pipeline.commands.options import add_storage_options
from pipeline.errors import ConfigError
from pipeline.evaluation.plots import Plot, need_matplotlib, render
from pipeline.lake.store import LakeStore
from pipeline.storage.folder import parse_options, split_file, visible

TO_TERMINAL = "-"


@dataclass(frozen=True)
class Report:
    """Everything that was measured.

    Attributes:
        subject: what of.
        result: all of it, for programs; measures by name, `intervals` by the same names.
        meanings: what the measures shown are, in order.
        tables: further ones: title, headings, rows of text.
        notes: lines that people should read.
        plots: by the name of the file.
    """

    subject: str
    result: Mapping[str, Any]
    meanings: Mapping[str, str]
    notes: Sequence[str]
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = ()
    plots: Callable[[], Mapping[str, Plot]] = field(default=dict)


def add_common(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the options that all evaluations have; intervals are over `what`."""
    parser.add_argument("lake", metavar="LAKE", help="path or URL of the lake")
    parser.add_argument(
        "--bootstrap",
        type=int,
        default=1000,
        metavar="N",
        help=f"samples of the intervals over {what}, 0 for none; default: %(default)s",
    )
    parser.add_argument(
        "--json",
        nargs="?",
        const=TO_TERMINAL,
        metavar="FILE",
        help="write JSON to the file as well; without a name print it instead of the table",
    )
    parser.add_argument(
        "--plots", metavar="DIR", help="draw PNG and SVG into the folder; needs matplotlib"
    )
    add_storage_options(parser)


def open_lake(options: argparse.Namespace) -> LakeStore:
    """Return the lake of the options, having checked what can be checked at once.

    Raises:
        ConfigError: an option out of its range, no matplotlib for plots, or no lake.
        StorageError: the lake cannot be reached.
    """
    if options.bootstrap < 0:
        raise ConfigError(
            f"--bootstrap {options.bootstrap} is no number of samples; give 0 or more"
        )
    if options.plots is not None:
        need_matplotlib()
    return LakeStore.open(options.lake, parse_options(options.storage_option))


def deliver(report: Report, lake: LakeStore, options: argparse.Namespace) -> int:
    """Print and write a report, and return the exit code."""
    models = lake.models()
    about = {
        "subject": report.subject,
        "lake": lake.folder.url,
        "detector": models.detector if models else None,
        "embedder": models.embedder if models else None,
    }
    text = json.dumps(plain(about | dict(report.result)), indent=2)
    written = []
    if options.json == TO_TERMINAL:
        print(text)
    else:
        show(report)
        if options.json is not None:
            folder, name = split_file(options.json)
            folder.publish(name, text.encode() + b"\n")
            written.append(options.json)
    if options.plots is not None:
        folder, _ = split_file(os.path.join(options.plots, "plot"))
        for name, plot in report.plots().items():
            for kind, data in render(plot).items():
                folder.publish(f"{name}.{kind}", data)
                written.append(os.path.join(options.plots, f"{name}.{kind}"))
    if written and options.json != TO_TERMINAL:
        print(f"written: {', '.join(map(visible, written))}")
    return 0


def show(report: Report) -> None:
    """Print measures, further tables and notes."""
    console = Console()
    table = _table("", ("measure", "value", "95 % interval"))
    table.add_column("meaning")
    intervals = report.result.get("intervals", {})
    for name, meaning in report.meanings.items():
        bounds = intervals.get(name)
        interval = f"{bounds[0]:.4f} to {bounds[1]:.4f}" if bounds else ""
        table.add_row(name.replace("_", " "), number(report.result[name]), interval, meaning)
    console.print(table)
    for title, headings, rows in report.tables:
        if rows:
            more = _table(title, headings)
            for row in rows:
                more.add_row(*row)
            console.print(more, markup=False)
    for note in report.notes:
        print(note)


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title or None, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for k, heading in enumerate(headings):
        side: Any = "right" if k and heading != "95 % interval" else "left"
        whole = heading in ("measure", "value", "95 % interval")
        table.add_column(heading, justify=side, no_wrap=whole, overflow="fold")
    return table


def number(value: float | None) -> str:
    """Return a rate or score with four decimals; a dash where there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.4f}"


def plain(value: Any) -> Any:
    """Return a value as JSON has it: what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def counted(count: int, what: str, always: bool = False) -> list[str]:
    """Return a note of how many there are; none where there are none."""
    return [f"{count:,} {what}"] if count or always else []
