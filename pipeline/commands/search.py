"""`facelake search`: similar faces of a lake."""

import argparse
import json
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.commands import options as opt
from pipeline.commands.output import Terminal, say, tell
from pipeline.search.settings import SearchConfig
from pipeline.storage.folder import Folder, visible

if TYPE_CHECKING:
    from pipeline.search.probe import Probe
    from pipeline.search.results import Match, SearchResult

PAGE = "index.html"


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "search",
        help="find similar faces in a lake",
        description="Find the faces of a lake that are most similar to the face of a photo, or "
        "to one of its own. An index (facelake search-index) makes it fast; faces that the index "
        "lacks are compared one by one, so that nothing is missed.",
    )
    opt.add_lake(parser)
    query = parser.add_mutually_exclusive_group(required=True)
    query.add_argument("--image", metavar="PHOTO", help="photo with the face to search for")
    query.add_argument("--face-id", metavar="ID", help="face of the lake to search for")
    opt.add_config_options(parser, SearchConfig)
    opt.add_own_embedder_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--html", metavar="DIR", help=f"write a page of pictures, {PAGE}, into a folder"
    )
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Search and print."""
    logging.getLogger("pipeline.search").setLevel(logging.WARNING)
    values = opt.values_of(SearchConfig, options)
    lake = opt.open_lake(options)
    result = lake.search(options.image, face_id=options.face_id, **values)
    console = Terminal()
    if options.html:
        from pipeline.web.search_page import page

        Folder(options.html).publish(PAGE, page(result, lake.url).encode())
    if options.json:
        tell(json.dumps(as_json(result), indent=2))
        return 0
    if result.probe is not None:
        show_choice(console, result.probe, options.select)
    show(console, result)
    if options.html:
        say(console, f"pictures in {options.html}/{PAGE}")
    return 0


def as_json(result: "SearchResult") -> dict[str, Any]:
    """Return the result for JSON."""
    query: dict[str, Any] = {}
    if result.probe is not None:
        query = probe_as_json(result.probe)
    elif result.query_face is not None:
        query = _match_as_json(result.query_face)
        del query["similarity"]
    return {"query": query, "searched": asdict(result.searched),
            "matches": [_match_as_json(match) for match in result.matches]}  # fmt: skip


def probe_as_json(probe: "Probe") -> dict[str, Any]:
    """Return the face of a photo for JSON."""
    return {"photo": probe.name, "box": list(probe.box), "faces": probe.faces}


def _match_as_json(match: "Match") -> dict[str, Any]:
    return {"similarity": match.similarity, "face_id": match.face_id, "uri": match.uri,
            "box": list(match.box), "person_id": match.person_id, "name": match.name}  # fmt: skip


def show_choice(console: Console, probe: "Probe", choice: str) -> None:
    """Print which face of a photo was taken if it has several."""
    if probe.faces > 1:
        box = ", ".join(f"{value:.0f}" for value in probe.box)
        say(console, f"{probe.name} has {probe.faces} faces; taken was the {choice}, box {box}")


def show(console: Console, result: "SearchResult") -> None:
    """Print the matches, and what was searched."""
    searched = result.searched
    where = f"index ({searched.kind})" if searched.kind != "exact" else "all faces"
    if searched.kind != "exact" and searched.compared:
        where += f" and {searched.compared:,} newer parts"
    if not result.matches:
        say(console, f"no face is similar enough; searched: {where}")
        return
    table = Table("similarity", "person", "face_id", "box", "photo", caption=f"searched: {where}")
    for match in result.matches:
        table.add_row(
            f"{match.similarity:.3f}",
            Text(visible(match.name or match.person_id or "")),
            Text(visible(match.face_id), overflow="fold"),
            " ".join(f"{value:.0f}" for value in match.box),
            Text(visible(match.uri), overflow="fold"),
        )
    console.print(table)
