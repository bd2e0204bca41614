"""`facelake check`: verify a lake, and repair it."""

import argparse
import time
from collections import defaultdict
from typing import Any

from rich.table import Table
from rich.text import Text

from pipeline.commands import options as opt
from pipeline.commands.output import Terminal, duration, say, tell
from pipeline.errors import EXIT_UNSOUND
from pipeline.maintenance.check import Result
from pipeline.maintenance.finding import KINDS, Finding
from pipeline.storage.folder import visible


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "check",
        help="verify a lake, and repair it",
        description="Read every part of a lake and verify checksums, columns, unique ids, twins, "
        "numbers of faces and vectors. With --repair, leftovers of crashes and second rows are "
        "removed, and damaged parts move to quarantine/: the next run does their images "
        f"again. Exit code 0 for a sound lake, {EXIT_UNSOUND} when something is wrong.",
    )
    opt.add_lake(parser)
    parser.add_argument("--repair", action="store_true", help="repair what is wrong")
    opt.add_storage_options(parser)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Verify, repair if asked to, and return the exit code."""
    began = time.monotonic()
    lake = opt.open_lake(options)
    result = lake.check()
    show(lake.url, result, time.monotonic() - began)
    if result.findings and options.repair:
        result = lake.check(repair=True)
        tell("\nRepaired; run `facelake index` again to do the images of quarantined parts")
        show(lake.url, result, time.monotonic() - began)
    return EXIT_UNSOUND if result.findings else 0


def show(lake: str, result: Result, seconds: float) -> None:
    """Print what was verified and what is wrong."""
    console = Terminal()
    say(
        console,
        f"{lake}: {result.parts:,} parts, {result.images:,} images, "
        f"{result.faces:,} faces verified in {duration(seconds)}",
    )
    if not result.findings:
        tell("sound: nothing is missing, doubled or damaged")
        return
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for finding in result.findings:
        by_kind[finding.kind].append(finding)
    table = Table("what", "files", "rows", "meaning", "first")
    for kind in KINDS:
        if findings := by_kind.get(kind):
            rows = sum(finding.rows for finding in findings)
            first = Text(visible(f"{findings[0].part}: {findings[0].detail}"), overflow="fold")
            table.add_row(
                kind, f"{len(findings):,}", f"{rows:,}" if rows else "", KINDS[kind], first
            )
    console.print(table)
