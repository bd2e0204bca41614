"""`facelake people LAKE photos`: the photos of some persons together, listed, packed or linked."""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from typing import Any

from rich.table import Table
from rich.text import Text

from pipeline.commands import options as opt
from pipeline.commands.output import Terminal, tell
from pipeline.errors import ConfigError
from pipeline.lake.manifest import read_config
from pipeline.people.albums import linked, zipped
from pipeline.people.table import PeopleTable
from pipeline.sources.originals import Originals
from pipeline.storage.folder import visible


def add_parser(
    add: Callable[[str, Callable[[PeopleTable, argparse.Namespace], None], str], Any],
) -> None:
    """Add it; `add` makes a parser from a name, a function and a help text."""
    about = "find the photos on which all of some persons are; list, pack or link them"
    finding = add("photos", _photos, about)
    finding.add_argument("persons", nargs="*", metavar="PERSON", help="ids, or exact names")
    finding.add_argument(
        "--without", action="append", default=[], metavar="PERSON",
        help="who must not be on them; may be repeated",
    )  # fmt: skip
    finding.add_argument("--year", type=int, metavar="YEAR", help="in which they were taken")
    finding.add_argument("--camera", default="", metavar="NAME", help="with which")
    finding.add_argument(
        "--least-faces", type=int, default=0, metavar="N", help="so many faces or more on them"
    )
    finding.add_argument("--json", action="store_true", help="print JSON")
    finding.add_argument("--list", metavar="FILE", help="write their places, a line each")
    finding.add_argument("--zip", metavar="FILE", help="pack the original photos")
    finding.add_argument(
        "--links", metavar="FOLDER", help="make links to them; nothing there is changed"
    )


def _photos(people: PeopleTable, options: argparse.Namespace) -> None:
    if sum(map(bool, (options.json, options.list, options.zip, options.links))) > 1:
        raise ConfigError("Give only one of --json, --list, --zip and --links")
    rows = people.photos(
        *options.persons, without=options.without, year=options.year, camera=options.camera,
        least_faces=options.least_faces,
    ).to_pylist()  # fmt: skip
    count = f"{len(rows):,} photo{'' if len(rows) == 1 else 's'}"
    if options.json:
        shown = ("image_id", "uri", "camera", "faces")
        tell(json.dumps([
            {key: row[key] for key in shown} | {"taken_at": _when(row) or None} for row in rows
        ], indent=2))  # fmt: skip
    elif options.list:
        _write(options.list, [f"{row['uri']}\n".encode(errors="surrogateescape") for row in rows])
        tell(f"{count} listed in {visible(options.list)}")
    elif options.zip:
        config = read_config(people.store.lake)
        with Originals(opt.storage_of(options), config) as originals:
            _write(options.zip, zipped(originals, rows))
        tell(f"{count} packed into {visible(options.zip)}")
    elif options.links:
        done = linked(rows, options.links)
        tell(f"{done.links:,} of {count} linked in {visible(options.links)}")
        for why, number in sorted(done.skipped.items()):
            tell(f"passed over: {number:,} {why}")
    else:
        _show(rows, count)


def _when(row: dict[str, Any]) -> str:
    return row["taken_at"].isoformat(sep=" ", timespec="minutes") if row["taken_at"] else ""


def _show(rows: list[dict[str, Any]], count: str) -> None:
    table = Table("taken", "faces", "photo", caption=count)
    for row in rows:
        place = Text(visible(row["uri"]), overflow="fold")
        table.add_row(_when(row)[:16], str(row["faces"]), place)
    Terminal().print(table)


def _write(file: str, pieces: Any) -> None:
    """Write a file as a whole, or not at all."""
    path = os.path.abspath(os.path.expanduser(file))
    try:
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(path), delete=False) as aside:
            try:
                for piece in pieces:
                    aside.write(piece)
                aside.close()
                os.replace(aside.name, path)
            except BaseException:
                os.unlink(aside.name)
                raise
    except OSError as error:
        raise ConfigError(f"{visible(file)} cannot be written: {error.strerror}") from error
