"""`facelake check`: verify a lake, and repair it."""

import argparse
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.commands.options import add_storage_options
from pipeline.commands.progress import duration
from pipeline.commands.tasks import finish_forgetting
from pipeline.errors import EXIT_UNSOUND, StorageError
from pipeline.lake.lake import Lake
from pipeline.lake.lock import RunLock
from pipeline.maintenance.check import Result, check, repair
from pipeline.maintenance.finding import KINDS, Finding
from pipeline.storage.errors import REACH_TIMEOUT_S, within
from pipeline.storage.folder import parse_options, visible


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "check",
        help="verify a lake, and repair it",
        description="Read every part of a lake and verify checksums, columns, unique ids, twins, "
        "numbers of faces and vectors. With --repair, leftovers of crashes and second rows go, "
        "and parts that cannot be trusted move to quarantine/: the next run does their images "
        f"again. Exit code 0 for a sound lake, {EXIT_UNSOUND} when something is wrong.",
    )
    parser.add_argument("lake", metavar="LAKE", help="path or URL of the lake")
    parser.add_argument("--repair", action="store_true", help="mend what is found")
    add_storage_options(parser)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Verify, repair if asked to, and return the exit code."""
    began = time.monotonic()
    lake = Lake(options.lake, parse_options(options.storage_option))
    within(REACH_TIMEOUT_S, lake.folder.reach, "reach", lake.folder.url)
    result = check(lake)
    show(lake, result, time.monotonic() - began)
    if not result.findings:
        return 0
    if not options.repair:
        return EXIT_UNSOUND
    with RunLock(lake.folder, f"check-{datetime.now(UTC):%Y%m%dT%H%M%S}"):
        try:
            finish_forgetting(lake)
        except StorageError as error:  # what is mended now may be what it fails for
            print(f"facelake: {error}", file=sys.stderr)
        repair(lake, check(lake).findings)  # again: what another run was writing is no leftover
        left = check(lake)
    print("\nRepaired; run `facelake index` again to do the images of quarantined parts")
    show(lake, left, time.monotonic() - began)
    return EXIT_UNSOUND if left.findings else 0


def show(lake: Lake, result: Result, seconds: float) -> None:
    """Print what was verified and what is wrong."""
    console = Console()
    console.print(
        f"{visible(lake.folder.url)}: {result.parts:,} parts, {result.images:,} images, "
        f"{result.faces:,} faces verified in {duration(seconds)}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if not result.findings:
        print("sound: nothing is missing, doubled or damaged")
        return
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for finding in result.findings:
        by_kind[finding.kind].append(finding)
    table = Table("what", "files", "rows", "meaning", "first")
    for kind in KINDS:
        if mine := by_kind.get(kind):
            rows = sum(finding.rows for finding in mine)
            first = Text(visible(f"{mine[0].part}: {mine[0].detail}"), overflow="fold")
            table.add_row(kind, f"{len(mine):,}", f"{rows:,}" if rows else "", KINDS[kind], first)
    console.print(table)
