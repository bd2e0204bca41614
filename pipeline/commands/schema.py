"""`facelake schema`: the columns of every table, as the README shows them."""

import argparse
from typing import Any

from pipeline.commands.output import tell
from pipeline.lake import schema


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("schema", help="print the columns of the tables")
    parser.add_argument("--dimension", type=positive, default=512, help="length of the vectors")
    parser.set_defaults(func=run)


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def run(options: argparse.Namespace) -> int:
    """Print every table as Markdown."""
    texts = (
        f"### {name}\n\n{schema.markdown(columns)}"
        for name, columns in schema.tables(options.dimension).items()
    )
    tell("\n\n".join(texts))
    return 0
