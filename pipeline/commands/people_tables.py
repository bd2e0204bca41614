"""What `facelake people` prints: tables for people, JSON for programs."""

import json
import sys
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.box import SIMPLE
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from pipeline.commands.output import Terminal, tell
from pipeline.people import People
from pipeline.people.corrections import Constraint, undone
from pipeline.people.log import by_action
from pipeline.people.names import uris_of
from pipeline.people.view import ORDERS, View
from pipeline.storage.folder import visible

PIPE_WIDTH = 250
NUMBERS = frozenset({"faces", "photos", "similarity", "confidence"})


def show_list(
    people: pa.Table, order: str, hidden_too: bool, limit: int | None, as_json: bool
) -> None:
    """Print persons in one of `ORDERS`."""
    if not hidden_too:
        people = people.filter(pc.invert(people["hidden"]))
    total, hidden = len(people), pc.sum(people["hidden"].cast(pa.int64())).as_py() or 0
    rows = people.sort_by(ORDERS[order]).slice(0, limit).to_pylist()
    if as_json:
        tell(json.dumps(rows, indent=2, default=str))
        return
    table = _table("person", "name", "faces", "photos", "first", "last", "confidence", "")
    for row in rows:
        table.add_row(
            row["person_id"],
            _text(row["name"]),
            f"{row['faces']:,}",
            f"{row['images']:,}",
            _day(row["first_taken_at"]),
            _day(row["last_taken_at"]),
            f"{row['confidence']:.2f}",
            "hidden" if row["hidden"] else "",
        )
    more = f", {len(rows):,} shown" if len(rows) < total else ""
    table.caption = f"{total:,} persons{f', {hidden:,} hidden' if hidden else ''}{more}"
    _print(table)


def show_person(people: People, view: View, person_id: str, as_json: bool) -> None:
    """Print a person and all their faces."""
    person = view.person(person_id)
    assert person is not None
    faces = view.faces(person_id)
    uris = uris_of(people, [face["face_id"] for face in faces])
    for face in faces:
        face["uri"] = uris.get(face["face_id"])
    if as_json:
        tell(json.dumps(person | {"members": faces}, indent=2, default=str))
        return
    tell(f"person      {person_id}")
    tell(f"name        {visible(person['name'] or '-')}{'  (hidden)' if person['hidden'] else ''}")
    tell(f"faces       {person['faces']:,} in {person['images']:,} photos")
    tell(f"taken       {_day(person['first_taken_at'])} to {_day(person['last_taken_at'])}")
    tell(f"cover       {person['cover_face_id']}")
    tell(f"exemplars   {', '.join(person['exemplars'])}")
    table = _table("face", "tier", "similarity", "confidence", "", "photo")
    for face in faces:
        table.add_row(
            face["face_id"],
            face["tier"],
            _share(face["similarity"]),
            _share(face["confidence"]),
            "confirmed" if face["confirmed"] else "",
            _text(face["uri"]),
        )
    _print(table)


def show_history(rows: list[Constraint], as_json: bool) -> None:
    """Print all corrections, the corrections of one action in one line."""
    gone = undone(rows)
    lines: list[dict[str, Any]] = [
        {
            "id": of[-1].constraint_id,
            "created_at": of[0].created_at.isoformat(timespec="seconds"),
            "made_by": of[0].made_by,
            "kinds": list(dict.fromkeys(row.kind for row in of)),
            "person_id": of[-1].person_id or of[0].person_id,
            "faces": len({face for row in of for face in row.faces}),
            "note": of[-1].note,
            "undone": all(row.constraint_id in gone for row in of),
        }
        for of in by_action(rows)
    ]
    if as_json:
        tell(json.dumps(lines, indent=2))
        return
    table = _table("correction", "when (UTC)", "by", "what", "")
    for line in lines:
        what = line["note"] or f"{'+'.join(line['kinds'])} {line['person_id'] or ''}".strip()
        table.add_row(
            line["id"],
            line["created_at"][:19].replace("T", " "),
            _text(line["made_by"]),
            _text(what),
            "undone" if line["undone"] else "",
        )
    _print(table)


def _table(*headings: str) -> Table:
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), caption_justify="left")
    for heading in headings:
        side: JustifyMethod = "right" if heading in NUMBERS else "left"
        # Ids are copied from here: they are never cut.
        whole = heading in {"person", "face", "correction"}
        table.add_column(heading, justify=side, no_wrap=whole, overflow="fold")
    return table


def _print(table: Table) -> None:
    # In a pipe or file there is no width to fit into.
    console = Terminal() if sys.stdout.isatty() else Terminal(width=PIPE_WIDTH)
    console.print(table)


def _text(text: str | None) -> Text:
    return Text(visible(text or ""), overflow="fold")


def _day(moment: Any) -> str:
    return f"{moment:%Y-%m-%d}" if moment is not None else "-"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
