"""`facelake search`: faces of a lake that are like one."""

import argparse
import json
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, get_args

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.commands.options import add_own_embedder_options
from pipeline.config import Selection
from pipeline.storage.folder import Folder, parse_options, visible

if TYPE_CHECKING:
    from pipeline.search.probe import Probe
    from pipeline.search.results import Found, Match

TOP = 20
PAGE = "index.html"
CHOICES = tuple(choice for choice in get_args(Selection) if choice != "all")


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "search",
        help="find faces of a lake that are like one",
        description="Find the faces of a lake that are most similar to that of a photo, or to one "
        "of its own. An index (facelake search-index) makes it quick; what the index lacks, or all "
        "without one, is compared face by face, so that the answer misses nothing the lake has.",
    )
    parser.add_argument("lake", metavar="LAKE", help="path or URL of the lake")
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--image", metavar="PHOTO", help="photo whose face is searched for")
    asked.add_argument("--face-id", metavar="ID", help="face of the lake that is searched for")
    parser.add_argument(
        "--top", type=int, default=TOP, metavar="N", help="faces at most; default: %(default)s"
    )
    parser.add_argument("--threshold", type=float, metavar="T", help="least similarity, -1 to 1")
    parser.add_argument(
        "--exact", action="store_true", help="compare every face even where there is an index"
    )
    add_probe_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--html", metavar="DIR", help=f"write a page of pictures, {PAGE}, into a folder"
    )
    parser.set_defaults(func=run)


def add_probe_options(parser: argparse.ArgumentParser) -> None:
    """Add what says how the face of a photo is taken."""
    parser.add_argument(
        "--select", choices=CHOICES, default="largest",
        help="which face speaks for a photo that has several; default: %(default)s",
    )  # fmt: skip
    add_own_embedder_options(parser)


def run(options: argparse.Namespace) -> int:
    """Search and print."""
    # torch alone takes seconds: only the command that needs it pays
    from pipeline.models.weights.store import WeightStore
    from pipeline.search.results import search
    from pipeline.web.found import page

    logging.getLogger("pipeline.search").setLevel(logging.WARNING)
    found = search(
        options.lake,
        image=options.image,
        face_id=options.face_id,
        top=options.top,
        threshold=options.threshold,
        choice=options.select,
        exact=options.exact,
        embedder=options.embedder,
        store=WeightStore.at(options.weights_dir, options.weights_url),
        storage_options=parse_options(options.storage_option),
    )
    console = Console()
    if options.html:
        folder = Folder(options.html)
        folder.publish(PAGE, page(found, Folder(options.lake).url).encode())
    if options.json:
        print(json.dumps(told(found), indent=2))
        return 0
    if found.probe is not None:
        tell_choice(console, found.probe, options.select)
    show(console, found)
    if options.html:
        say(console, f"pictures in {visible(options.html)}/{PAGE}")
    return 0


def told(found: "Found") -> dict[str, Any]:
    """Return the answer as JSON has it."""
    asked: dict[str, Any] = {}
    if found.probe is not None:
        asked = told_probe(found.probe)
    elif found.asked is not None:
        asked = _told(found.asked)
        del asked["similarity"]
    return {"query": asked, "searched": asdict(found.how),
            "matches": [_told(match) for match in found.matches]}  # fmt: skip


def told_probe(probe: "Probe") -> dict[str, Any]:
    """Return the face of a photo as JSON has it."""
    return {"photo": probe.name, "box": list(probe.box), "faces": probe.faces}


def _told(match: "Match") -> dict[str, Any]:
    return {"similarity": match.similarity, "face_id": match.face_id, "uri": match.uri,
            "box": list(match.box), "person_id": match.person_id, "name": match.name}  # fmt: skip


def tell_choice(console: Console, probe: "Probe", choice: str) -> None:
    """Say which face was taken of a photo that has several."""
    if probe.faces > 1:
        box = ", ".join(f"{value:.0f}" for value in probe.box)
        say(console, f"{probe.name} has {probe.faces} faces; taken was the {choice}, box {box}")


def show(console: Console, found: "Found") -> None:
    """Print what was found."""
    how = found.how
    where = f"index ({how.kind})" if how.kind != "exact" else "all faces"
    if how.kind != "exact" and how.compared:
        where += f" and {how.compared:,} newer parts"
    if not found.matches:
        say(console, f"no face is similar enough; searched: {where}")
        return
    table = Table("similarity", "person", "face_id", "box", "photo", caption=f"searched: {where}")
    for match in found.matches:
        table.add_row(
            f"{match.similarity:.3f}",
            Text(visible(match.name or match.person_id or "")),
            Text(visible(match.face_id), overflow="fold"),
            " ".join(f"{value:.0f}" for value in match.box),
            Text(visible(match.uri), overflow="fold"),
        )
    console.print(table)


def say(console: Console, text: str) -> None:
    """Print one line as it is."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)
