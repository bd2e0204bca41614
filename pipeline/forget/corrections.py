"""Takes what is forgotten out of the corrections; the only hand that ever rewrites them."""

import re
from dataclasses import asdict, replace

import pyarrow as pa

from pipeline import schema
from pipeline.clustering.corrections import Constraint
from pipeline.forgotten import Forgotten
from pipeline.lake import parquet_bytes
from pipeline.people.store import People

_WORD = re.compile(r"\S+")


def clean_corrections(people: People, forgotten: Forgotten) -> int:
    """Rewrite the files that speak of somebody forgotten, and return how many rows went.

    A row keeps the faces that stay. One that is left without a side goes, and so does whatever was
    said of a forgotten person: a name must not pass on to a face that once was taken for them.
    """
    files = people.constraint_files()
    cleaned = {name: [_clean(row, forgotten) for row in rows] for name, rows in files.items()}
    kept = {row.constraint_id for rows in cleaned.values() for row in rows if row is not None}
    removed = 0
    while True:  # an undo of what is gone goes, and so does the undo of that undo
        dangling = {
            row.constraint_id
            for rows in cleaned.values()
            for row in rows
            if row is not None and row.kind == "undo" and row.constraint_id in kept
            and row.value not in kept
        }  # fmt: skip
        if not dangling:
            break
        kept -= dangling
    for name, rows in files.items():
        left = [row for row in cleaned[name] if row is not None and row.constraint_id in kept]
        if left == rows:
            continue
        removed += len(rows) - len(left)
        if left:
            table = pa.Table.from_pylist([asdict(row) for row in left], schema.CONSTRAINTS)
            people.lake.folder.publish(f"constraints/{name}", parquet_bytes(table))
        else:
            people.lake.folder.remove(f"constraints/{name}")
    return removed


def _clean(row: Constraint, forgotten: Forgotten) -> Constraint | None:
    """Return a row without what is forgotten, None if nothing is left of it."""
    if row.person_id is not None and forgotten.key(row.person_id) in forgotten.persons:
        return None
    faces, others = (
        tuple(face for face in side if forgotten.key(face) not in forgotten.faces)
        for side in (row.faces, row.others)
    )
    if (row.faces and not faces) or (row.others and not others):
        return None
    if row.kind == "cover" and faces[:1] != row.faces[:1]:  # the first is the cover
        return None
    return replace(row, faces=faces, others=others, note=_note(row.note, forgotten))


def _note(note: str | None, forgotten: Forgotten) -> str | None:
    """Return the note, None if it speaks of somebody forgotten."""
    words = _WORD.findall(note or "")
    known = forgotten.faces | forgotten.persons | forgotten.images
    return None if any(forgotten.key(word) in known for word in words) else note
