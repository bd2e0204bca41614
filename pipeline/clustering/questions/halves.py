"""Persons who may be two: halves that are hardly alike, and faces that hardly fit their person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from pipeline.clustering.questions.chances import logistic
from pipeline.clustering.questions.persons import Persons
from pipeline.people.actions import MOST_COMPARED
from pipeline.people.followers import part
from pipeline.people.person import CORE
from pipeline.people.store import People
from pipeline.people.view import View

# Chance that halves just alike enough are two people, as a logit, and for each deviation above.
# Fitted as those of `chances`.
HALVES, HALVES_GAP = -0.3, -2.5
# Faces that are less sure than this are asked about, the least sure ones.
LEAST_SURE, MOST_UNSURE = 0.97, 5_000


@dataclass(frozen=True, slots=True)
class Doubt:
    """A person who may be two.

    Attributes:
        person_id: of the last clustering.
        faces: one of each side.
        chance: that they are two people.
    """

    person_id: str
    faces: tuple[str, str]
    chance: float


@dataclass(frozen=True)
class Doubts:
    """What the last clustering was unsure of inside of persons.

    Attributes:
        halves: persons in two halves.
        apart: pairs of persons who were nearly one: both, and how much more alike they are than
            they need, in deviations of strangers.
        unsure: faces that hardly fit, by person: face and the chance that it is somebody else.
    """

    halves: Sequence[Doubt]
    apart: Sequence[tuple[str, str, float]]
    unsure: Mapping[str, Sequence[tuple[str, float]]]

    @classmethod
    def read(cls, people: People, sd: float) -> "Doubts":
        """Read the current generation; `sd` is the deviation of strangers."""
        rows = people.suggestions().to_pylist()
        merged = [row for row in rows if row["kind"] == "merged"]
        gaps = np.array([max(0.0, row["similarity"] - row["threshold"]) for row in merged]) / sd
        chances = logistic(HALVES + HALVES_GAP * gaps).tolist()
        halves = [
            Doubt(row["person_a"], (row["face_a"], row["face_b"]), chance)
            for row, chance in zip(merged, chances, strict=True)
        ]
        apart = [
            (row["person_a"], row["person_b"], (row["similarity"] - row["threshold"]) / sd)
            for row in rows if row["kind"] != "merged"
        ]  # fmt: skip
        where = (pc.field("confidence") < LEAST_SURE) & ~pc.field("confirmed")
        where &= pc.field("similarity").is_valid() & (pc.field("tier") == CORE)
        table = people.clusters(["person_id", "face_id", "confidence"], where)
        table = table.sort_by([("confidence", "ascending"), ("face_id", "ascending")])
        table = table.slice(0, MOST_UNSURE)
        unsure: dict[str, list[tuple[str, float]]] = {}
        for person, face, confidence in zip(*table.to_pydict().values(), strict=True):
            unsure.setdefault(person, []).append((face, 1 - confidence))
        return cls(halves, apart, unsure)

    def open(self, now: View) -> tuple[list[Doubt], dict[str, list[tuple[str, float]]]]:
        """Return what nobody has said yet, under the persons of now."""
        halves = []
        for one in self.halves:
            persons = {_person(now, one.person_id, face) for face in one.faces}
            person = persons.pop()
            if not persons and person and not set(one.faces) <= _confirmed(now, person):
                halves.append(Doubt(person, one.faces, one.chance))
        known = {one.person_id for one in halves}
        unsure: dict[str, list[tuple[str, float]]] = {}
        for was, faces in self.unsure.items():
            for face, chance in faces:
                person = _person(now, was, face)
                if person and person not in known and face not in _confirmed(now, person):
                    unsure.setdefault(person, []).append((face, chance))
        return halves, unsure


def _person(now: View, was: str, face: str) -> str | None:
    """Return the person of a face who was of `was` in the last clustering."""
    return None if face in now.rejected else now.assigned.get(face, now.merged.get(was, was))


def _confirmed(now: View, person: str) -> frozenset[str]:
    return now.confirmed.get(person, frozenset())


def sides(persons: Persons, now: View, doubt: Doubt) -> tuple[list[str], list[str]] | None:
    """Return the faces of both sides, those asked about first; None if one has gone."""
    first, second = doubt.faces
    own = [face["face_id"] for face in now.faces(doubt.person_id)]
    if not {first, second} <= set(own):
        return None
    compared = list(dict.fromkeys([first, second, *own]))[:MOST_COMPARED]
    found = persons.read(compared)
    if not {first, second} <= found.keys():
        return None
    parting = part({face: found[face] for face in compared if face in found}, [second], [first],
                   least_gap=-1.0)  # fmt: skip
    stay = [first, *(face for face in parting.stay if face != first)]
    return stay, [second, *parting.follow]
