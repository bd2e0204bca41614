"""`facelake identify`: which known person is on a photo."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.commands import options as opt
from pipeline.commands.output import Terminal, say, tell
from pipeline.commands.search import probe_as_json, show_choice
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
    parser.add_argument(
        "--all-faces", action="store_true", help="tell who everybody is, from left to right"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Identify and print."""
    values = opt.values_of(IdentifyConfig, options)
    if options.all_faces:
        everybody = opt.open_lake(options).identify_all(options.image, **values)
        if options.json:
            tell(json.dumps([as_json(one) for one in everybody], indent=2))
        else:
            show_all(Terminal(), everybody)
        return 0
    identity = opt.open_lake(options).identify(options.image, **values)
    if options.json:
        tell(json.dumps(as_json(identity), indent=2))
        return 0
    console = Terminal()
    show_choice(console, identity.probe, options.select)
    show(console, identity)
    return 0


def as_json(identity: "Identity") -> dict[str, Any]:
    """Return the answer for JSON."""
    return {
        "query": probe_as_json(identity.probe) | {"size_px": identity.probe.size_px},
        "person": asdict(identity.person) if identity.person else None,
        "reason": identity.reason,
        "margin": identity.margin,
        "threshold": identity.threshold,
        "candidates": [asdict(one) for one in identity.candidates],
    }


def show_all(console: Console, everybody: "list[Identity]") -> None:
    """Print who each face of a photo is, or why nobody."""
    table = Table("face", "box", "person", "similarity", "why nobody")
    for number, one in enumerate(everybody, 1):
        box = " ".join(f"{value:.0f}" for value in one.probe.box)
        who = visible(one.person.name or one.person.person_id) if one.person else ""
        similar = f"{one.person.similarity:.3f}" if one.person else ""
        table.add_row(str(number), box, Text(who), similar, Text(visible(one.reason or "")))
    console.print(table)


def show(console: Console, identity: "Identity") -> None:
    """Print who it is, or why nobody, and the candidates."""
    if identity.person is not None:
        who = visible(identity.person.name or identity.person.person_id)
        lead = "nobody else is known" if identity.margin is None else (
            f"{identity.margin:.3f} before the next"
        )  # fmt: skip
        say(console, f"{who}: similarity {identity.person.similarity:.3f}, {lead}")
    else:
        say(console, f"nobody: {identity.reason}")
    if identity.candidates:
        table = Table("similarity", "person", "name", "faces", "most similar face")
        for one in identity.candidates:
            name, face = Text(visible(one.name or "")), Text(visible(one.face_id), overflow="fold")
            table.add_row(f"{one.similarity:.3f}", one.person_id, name, f"{one.faces:,}", face)
        console.print(table)
