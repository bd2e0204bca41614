"""`facelake identify`: which known person is on a photo."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.commands import options as opt
from pipeline.commands.output import say
from pipeline.commands.search import probe_as_json, tell_choice
from pipeline.search.settings import IdentifyConfig
from pipeline.storage.folder import visible

if TYPE_CHECKING:
    from pipeline.search.identity import Identity


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "identify",
        help="tell which known person is on a photo",
        description="Compare the face of a photo with the persons of a lake, each by up to eight "
        "faces and their mean, and say who it is, or why nobody.",
    )
    opt.add_lake(parser)
    parser.add_argument("--image", required=True, metavar="PHOTO", help="photo of somebody")
    opt.add_config_options(parser, IdentifyConfig)
    opt.add_own_embedder_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Identify and print."""
    values = opt.values_of(IdentifyConfig, options)
    found = opt.open_lake(options).identify(options.image, **values)
    if options.json:
        print(json.dumps(as_json(found), indent=2))
        return 0
    console = Console()
    tell_choice(console, found.probe, options.select)
    show(console, found)
    return 0


def as_json(found: "Identity") -> dict[str, Any]:
    """Return the answer as JSON has it."""
    return {
        "query": probe_as_json(found.probe) | {"size_px": found.probe.size_px},
        "person": asdict(found.person) if found.person else None,
        "reason": found.reason,
        "margin": found.margin,
        "threshold": found.threshold,
        "candidates": [asdict(one) for one in found.candidates],
    }


def show(console: Console, found: "Identity") -> None:
    """Print who it is."""
    if found.person is not None:
        who = visible(found.person.name or found.person.person_id)
        lead = "nobody else is known" if found.margin is None else (
            f"{found.margin:.3f} before the next"
        )  # fmt: skip
        say(console, f"{who}: similarity {found.person.similarity:.3f}, {lead}")
    else:
        say(console, f"nobody: {found.reason}")
    if found.candidates:
        table = Table("similarity", "person", "name", "faces", "most similar face")
        for one in found.candidates:
            name, face = Text(visible(one.name or "")), Text(visible(one.face_id), overflow="fold")
            table.add_row(f"{one.similarity:.3f}", one.person_id, name, f"{one.faces:,}", face)
        console.print(table)
