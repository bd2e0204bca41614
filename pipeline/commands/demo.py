"""`facelake demo`: all steps from photos to a page, on the example photos that come with it."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from pipeline.commands.output import tell

PHOTOS = Path(__file__).with_name("photos")


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "demo",
        help="try everything on the example photos that come with Facelake",
        description="Index the 15 example photos with the bundled models, find copies, group "
        "faces into people, and write a report: each step is a command, shown as one would type "
        "it. Nothing is downloaded.",
    )
    parser.add_argument(
        "--output", default="demo-lake", metavar="LAKE", help="the lake to make; default: "
        "%(default)s",
    )  # fmt: skip
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Run the steps until one fails, and return its exit code, or 0."""
    from pipeline.commands.main import parser  # which imports this module

    root, lake = parser(), str(options.output)
    for words in (
        ["index", str(PHOTOS.resolve()), "--output", lake, "--embedder", "sface"],
        ["dedupe", lake, "--crops"],
        ["cluster", lake],
        ["people", lake, "list"],
        ["report", lake],
    ):
        tell(f"\n$ facelake {shlex.join(words)}")
        asked = root.parse_args(words)
        code = int(asked.func(asked))
        if code:
            return code
    return 0
