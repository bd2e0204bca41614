"""`facelake prune`: remove the rows of photos that are gone for good."""

import argparse
from typing import Any

from pipeline.commands import options as opt
from pipeline.commands.output import Terminal, say

SHOWN = 20


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "prune",
        help="remove the rows of photos that are gone",
        description="Photos that `facelake index` does not find any more leave the tables, but "
        "their rows are kept in gone/ and come back when the photos do. This removes these rows, "
        "their faces and vectors for good. Corrections stay. To make a lake forget a photo that "
        "must not come back, use `facelake forget`.",
    )
    opt.add_lake(parser)
    parser.add_argument("--dry-run", action="store_true", help="only list what would be removed")
    opt.add_wait_option(parser)
    opt.add_storage_options(parser)
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Remove, or list, and return the exit code."""
    lake = opt.open_lake(options)
    console = Terminal()
    gone = lake.prune(dry_run=options.dry_run, wait=options.wait)
    for row in gone.slice(0, SHOWN).to_pylist():
        say(console, f"{row['gone_since']:%Y-%m-%d %H:%M}  {row['uri']}")
    if len(gone) > SHOWN:
        say(console, f"and {len(gone) - SHOWN:,} more; they are in the table gone/images")
    done = "would be removed" if options.dry_run else "removed"
    say(console, f"{len(gone):,} photos that are gone {done} from {lake.url}")
    return 0
