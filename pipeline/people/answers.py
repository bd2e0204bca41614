"""Answers to suggestions, and the suggestions that nobody has answered yet."""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.people.actions import anchors
from pipeline.people.constraints import same_name
from pipeline.people.corrections import Constraint, resolve
from pipeline.people.log import Statement, append
from pipeline.people.person import EXEMPLARS
from pipeline.people.store import People
from pipeline.people.view import View, view
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
    return append(people, [Statement("different", sides[0], sides[1])], note)


def together(
    people: People, person_id: str, face_ids: Sequence[str], note: str | None = None
) -> Constraint:
    """Say that faces of a person are this one person.

    Raises:
        ConfigError: a face is not theirs.
    """
    persons = view(people).persons_of(face_ids)
    for face in face_ids:
        if persons.get(face) != person_id:
            raise ConfigError(f"Face {visible(face)} is not of {visible(person_id)} (any more)")
    return append(people, [Statement("same", face_ids, (), person_id)], note)


def open_suggestions(people: People, now: View) -> list[dict[str, Any]]:
    """Return the rows of `suggestions` that nobody has answered, the most doubtful first.

    `person_a` and `person_b` are who they are now. Left out are hidden persons, persons who have
    become one or who have different names, pairs told apart, and joins that were confirmed.
    """
    rows: list[dict[str, Any]] = people.suggestions().to_pylist()
    corrections = resolve(people.constraints())
    visible_people = now.people.filter(pc.invert(now.people["hidden"])).select(
        ["person_id", "name"]
    )
    names: dict[str, str | None] = dict(zip(*visible_people.to_pydict().values(), strict=True))
    first_faces = [min(one.faces) for one in corrections.sets]
    persons = now.persons_of(
        [*(row[side] for row in rows for side in ("face_a", "face_b")), *first_faces]
    )
    set_persons = [persons.get(face) for face in first_faces]
    apart = _pairs((set_persons[i], set_persons[j]) for i, j in corrections.apart)
    confirmed = {face: number for number, one in enumerate(corrections.sets) for face in one.faces}
    unanswered = []
    for row in rows:
        if row["kind"] == "merged":
            a, b = persons.get(row["face_a"]), persons.get(row["face_b"])
            sets = {confirmed.get(row["face_a"]), confirmed.get(row["face_b"])}
            answered = a != b or (len(sets) == 1 and None not in sets)
        else:
            a, b = (now.merged.get(row[side], row[side]) for side in ("person_a", "person_b"))
            both_names = names.get(a), names.get(b)
            answered = a == b or bool(_pairs([(a, b)]) & apart)
            answered |= None not in both_names and not same_name(*both_names)
        if a in names and b in names and not answered:
            unanswered.append({**row, "person_a": a, "person_b": b})
    return unanswered


def _pairs(pairs: Iterable[tuple[str | None, str | None]]) -> set[Pair]:
    """Return pairs of two persons, whatever their order."""
    return {(min(a, b), max(a, b)) for a, b in pairs if a and b and a != b}
