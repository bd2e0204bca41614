"""`facelake export-vectors`: hand the vectors of a lake over to another library."""

import argparse
from typing import Any

from pipeline.commands import options as opt
from pipeline.commands.output import Terminal, say
from pipeline.storage.folder import visible


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "export-vectors",
        help="write faces and vectors for another library",
        description="Write faces, photos and vectors in a format that another library searches. "
        "Plain Parquet needs no export: DuckDB, Spark and pandas read the lake as it is.",
    )
    opt.add_lake(parser)
    parser.add_argument(
        "--to", choices=("lance",), default="lance",
        help="lance: for pylance and LanceDB, needs facelake[lance]; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("target", metavar="DIR", help="folder that is made, faces.lance")
    opt.add_storage_options(parser, "for the storage back end of the lake; may be repeated")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Export and print."""
    count = opt.open_lake(options).export_vectors(options.target)
    say(Terminal(), f"{count:,} faces written to {visible(options.target)}")
    return 0
