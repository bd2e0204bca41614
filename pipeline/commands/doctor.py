"""`facelake doctor`: what is installed and within reach, and what to do about what is missing."""

import argparse
import json
from dataclasses import asdict
from itertools import groupby
from typing import Any

from rich.table import Table
from rich.text import Text

from pipeline.commands import options as opt
from pipeline.commands.output import Terminal, tell
from pipeline.errors import EXIT_UNSOUND
from pipeline.maintenance.doctor.item import Item
from pipeline.maintenance.doctor.machine import machine
from pipeline.maintenance.doctor.packages import packages
from pipeline.maintenance.doctor.places import access, weights
from pipeline.storage.folder import visible


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "doctor",
        help="tell what is installed and within reach, and what to do about what is missing",
        description="Tell versions and extras, cores, GPUs, memory, scratch space, and weights; "
        "and of each ADDRESS whether it can be listed, read and written to, for which a small "
        f"file is made there and removed. Exit code {EXIT_UNSOUND} when something necessary is "
        "missing. Nothing is downloaded.",
    )
    parser.add_argument(
        "addresses", nargs="*", metavar="ADDRESS", help="path or URL of photos or a lake"
    )
    parser.add_argument(
        "--read-only", action="store_true", help="do not try to write: photos are only read"
    )
    opt.add_weights_options(parser)
    opt.add_storage_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Look at everything, print it, and return the exit code."""
    storage = opt.storage_of(options)
    items = [*packages(), *machine(), *weights(opt.weight_store(options))]
    for address in options.addresses:
        items += access(address, storage, options.read_only)
    lacking = [one for one in items if one.necessary]
    if options.json:
        told = {"sound": not lacking, "items": [asdict(one) for one in items]}
        tell(json.dumps(told, indent=2))
    else:
        _show(items)
        names = ", ".join(visible(f"{one.group} {one.name}") for one in lacking)
        tell(f"Necessary and missing: {names}" if lacking else "Nothing necessary is missing")
    return EXIT_UNSOUND if lacking else 0


def _show(items: list[Item]) -> None:
    console = Terminal()
    for group, members in groupby(items, lambda one: one.group):
        table = Table(box=None, show_header=False, padding=(0, 2), title=Text(visible(group)),
                      title_justify="left", title_style="bold")  # fmt: skip
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for one in members:
            text = Text(visible(one.value))
            if one.advice:
                text.append(f"\n-> {visible(one.advice)}", "red" if one.necessary else "yellow")
            table.add_row(one.name, text)
        console.print(table)
