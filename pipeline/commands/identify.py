"""`facelake identify`: which known person is on a photo."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.commands.search import add_probe_options, say, tell_choice, told_probe
from pipeline.storage.folder import parse_options, visible

if TYPE_CHECKING:
    from pipeline.search.identity import Identity

MARGIN = 0.05
MIN_FACE_PX = 16.0


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "identify",
        help="tell which known person is on a photo",
        description="Compare the face of a photo with the persons of a lake, each by up to eight "
        "faces and their mean, and say who it is, or why nobody.",
    )
    parser.add_argument("lake", metavar="LAKE", help="path or URL of the lake")
    parser.add_argument("--image", required=True, metavar="PHOTO", help="photo of somebody")
    parser.add_argument(
        "--among", choices=("named", "all"), default="named",
        help="persons with a name, or all that clustering made; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--threshold", type=float, metavar="T",
        help="least similarity; default: what clustering asked of two faces, else the model's",
    )  # fmt: skip
    parser.add_argument(
        "--margin", type=float, default=MARGIN, metavar="M",
        help="by how much the best person must lead the next; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--min-face-px", type=float, default=MIN_FACE_PX, metavar="PX",
        help="smaller faces are nobody; default: %(default)s",
    )  # fmt: skip
    add_probe_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Identify and print."""
    from pipeline.models.weights.store import WeightStore
    from pipeline.search.identity import identify

    found = identify(
        options.lake,
        image=options.image,
        among=options.among,
        threshold=options.threshold,
        margin=options.margin,
        min_face_px=options.min_face_px,
        choice=options.select,
        embedder=options.embedder,
        store=WeightStore.at(options.weights_dir, options.weights_url),
        storage_options=parse_options(options.storage_option),
    )
    if options.json:
        print(json.dumps(told(found), indent=2))
        return 0
    console = Console()
    tell_choice(console, found.probe, options.select)
    show(console, found)
    return 0


def told(found: "Identity") -> dict[str, Any]:
    """Return the answer as JSON has it."""
    return {
        "query": told_probe(found.probe) | {"size_px": found.probe.size_px},
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
