"""Answers to suggestions: what somebody said of two groups of faces, and which are still open."""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.people.actions import anchors
from pipeline.people.corrections import Constraint, resolve
from pipeline.people.log import append
from pipeline.people.store import People
from pipeline.people.view import EXEMPLARS, View, view
from pipeline.storage.folder import visible

Pair = tuple[str, str]


def different(people: People, first: str, second: str, note: str | None = None) -> Constraint:
    """Say that two persons are two people, whatever clustering finds.

    Raises:
        ConfigError: no such person, or one and the same.
    """
    if first == second:
        raise ConfigError("Keeping apart needs two different persons; to part one, split it")
    now = view(people)
    sides = [anchors(now, person)[:EXEMPLARS] for person in (first, second)]
    return append(people, [("different", sides[0], sides[1], None, None)], note)


def together(
    people: People, person_id: str, face_ids: Sequence[str], note: str | None = None
) -> Constraint:
    """Say that faces of a person are this one person.

    Raises:
        ConfigError: a face is not theirs.
    """
    where = view(people).persons_of(face_ids)
    for face in face_ids:
        if where.get(face) != person_id:
            raise ConfigError(f"Face {visible(face)} is not of {visible(person_id)} (any more)")
    return append(people, [("same", face_ids, (), person_id, None)], note)


def open_suggestions(people: People, now: View) -> list[dict[str, Any]]:
    """Return the rows of `suggestions` that nobody has answered, the most doubtful first.

    `person_a` and `person_b` are who they are now. Left out are hidden persons, persons who have
    become one or who have different names, pairs told apart, and joins that were confirmed.
    """
    rows: list[dict[str, Any]] = people.suggestions().to_pylist()
    corrections = resolve(people.constraints())
    shown = now.people.filter(pc.invert(now.people["hidden"])).select(["person_id", "name"])
    names: dict[str, str | None] = dict(zip(*shown.to_pydict().values(), strict=True))
    spoken = [min(one.faces) for one in corrections.sets]
    where = now.persons_of([*(row[side] for row in rows for side in ("face_a", "face_b")), *spoken])
    of_set = [where.get(face) for face in spoken]
    told = _pairs((of_set[i], of_set[j]) for i, j in corrections.apart)
    confirmed = {face: at for at, one in enumerate(corrections.sets) for face in one.faces}
    left = []
    for row in rows:
        if row["kind"] == "merged":
            a, b = where.get(row["face_a"]), where.get(row["face_b"])
            sets = {confirmed.get(row["face_a"]), confirmed.get(row["face_b"])}
            answered = a != b or (len(sets) == 1 and None not in sets)
        else:
            a, b = (now.merged.get(row[side], row[side]) for side in ("person_a", "person_b"))
            both = names.get(a), names.get(b)
            answered = a == b or bool(_pairs([(a, b)]) & told)
            answered |= None not in both and both[0] != both[1]
        if a in names and b in names and not answered:
            left.append({**row, "person_a": a, "person_b": b})
    return left


def _pairs(pairs: Iterable[tuple[str | None, str | None]]) -> set[Pair]:
    """Return pairs of two persons, whatever their order."""
    return {(min(a, b), max(a, b)) for a, b in pairs if a and b and a != b}
