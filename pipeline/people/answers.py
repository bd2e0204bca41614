"""Answers to suggestions, and the suggestions that nobody has answered yet."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.people.actions import anchors
from pipeline.people.constraints import same_name
from pipeline.people.corrections import Constraint, Corrections
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
    return append(people, [parting(view(people), first, second)], note)


def parting(now: View, first: str, second: str) -> Statement:
    """Return what `different` says; see there."""
    if first == second:
        raise ConfigError("Keeping apart needs two different persons; to part one, split it")
    sides = [anchors(now, person)[:EXEMPLARS] for person in (first, second)]
    return Statement("different", sides[0], sides[1])


def apart_now(corrections: Corrections, now: View) -> AbstractSet[Pair]:
    """Return the pairs of persons who were told apart, as who they are now."""
    owner = [
        next((now.assigned[face] for face in sorted(one.faces) if face in now.assigned), None)
        for one in corrections.sets
    ]
    return _pairs((owner[i], owner[j]) for i, j in corrections.apart)


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


@dataclass(frozen=True)
class Answers:
    """What corrections say about suggestions.

    Attributes:
        apart: pairs of persons who were told apart.
        set_of: number of the confirmed set that a face belongs to.
        names: of persons; only of those about whom somebody may be asked.
    """

    apart: AbstractSet[Pair]
    set_of: Mapping[str, int]
    names: Mapping[str, str | None]

    @classmethod
    def of(
        cls,
        corrections: Corrections,
        person_of: Mapping[str, str | None],
        names: Mapping[str, str | None],
    ) -> "Answers":
        """Take corrections as they hold for persons: `person_of` tells the person of a face."""
        owners = [
            next((person_of[face] for face in sorted(one.faces) if person_of.get(face)), None)
            for one in corrections.sets
        ]
        apart = _pairs((owners[i], owners[j]) for i, j in corrections.apart)
        set_of = {face: i for i, one in enumerate(corrections.sets) for face in one.faces}
        return cls(apart, set_of, names)

    def has(self, row: Mapping[str, Any], first: str | None, second: str | None) -> bool:
        """Return whether somebody need not be asked; the persons are those of the row's sides."""
        if first is None or second is None or not {first, second} <= self.names.keys():
            return True
        if row["kind"] == "merged":
            sets = {self.set_of.get(row["face_a"]), self.set_of.get(row["face_b"])}
            return first != second or (len(sets) == 1 and None not in sets)
        names = self.names[first], self.names[second]
        differ = None not in names and not same_name(*names)
        return first == second or differ or bool(_pairs([(first, second)]) & self.apart)


def open_suggestions(people: People, now: View) -> list[dict[str, Any]]:
    """Return the rows of `suggestions` that nobody has answered, the most doubtful first.

    `person_a` and `person_b` are who they are now. Left out are hidden persons, persons who have
    become one or who have different names, pairs told apart, and joins that were confirmed.
    """
    rows: list[dict[str, Any]] = people.suggestions().to_pylist()
    corrections = people.corrections()
    shown = now.people.filter(pc.invert(now.people["hidden"])).select(["person_id", "name"])
    sides = [row[side] for row in rows for side in ("face_a", "face_b")]
    persons = now.persons_of([*sides, *corrections.faces])
    names = dict(zip(*shown.to_pydict().values(), strict=True))
    answers = Answers.of(corrections, persons, names)
    unanswered = []
    for row in rows:
        if row["kind"] == "merged":
            a, b = persons.get(row["face_a"]), persons.get(row["face_b"])
        else:
            a, b = (now.merged.get(row[side], row[side]) for side in ("person_a", "person_b"))
        if not answers.has(row, a, b):
            unanswered.append({**row, "person_a": a, "person_b": b})
    return unanswered


def _pairs(pairs: Iterable[tuple[str | None, str | None]]) -> set[Pair]:
    """Return pairs of two persons, whatever their order."""
    return {(min(a, b), max(a, b)) for a, b in pairs if a and b and a != b}
