"""Persons as vectors: those of the last clustering, changed as corrections have it.

A person of the last clustering is a sum of vectors and a number of faces. Who was merged since is a
sum of such sums, so that vectors of single faces are read only where somebody moved them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Bools, Floats32, Floats64, Ints
from pipeline.clustering.algorithms.threshold import (
    LEAST_GROUPS,
    PRIOR_MEAN,
    PRIOR_SD,
    Threshold,
    deviations,
)
from pipeline.lake.columns import matrix
from pipeline.people.constraints import name_key
from pipeline.people.person import CORE
from pipeline.people.store import People
from pipeline.people.view import View

Vectors = Callable[[Collection[str]], Mapping[str, Floats32]]
NOBODY = -1
# Photos of more persons say little of who is who; see `evidence.MOST_FACES`.
MOST_BESIDE = 100
# Who is but a part of somebody is seldom large: how the chance falls with the number of faces.
SELDOM_LARGE = -2.5
# Chance that somebody has other faces, where nobody is seen once.
LEAST_ELSEWHERE = 0.05


def threshold_of(about: Mapping[str, Any], persons: int) -> Threshold:
    """Return the threshold of groups that the last clustering used, a usual one if unknown."""
    known = about.get("threshold_of_groups") or about.get("threshold") or {}
    names = {one.name for one in fields(Threshold)}
    values = {name: value for name, value in known.items() if name in names}
    usual = {"mean": PRIOR_MEAN, "sd": PRIOR_SD, "z": deviations(max(persons, LEAST_GROUPS))}
    return Threshold(**usual | values)


@dataclass(frozen=True)
class Clustering:
    """What the last clustering left.

    Attributes:
        run_id: of it.
        threshold: what groups needed to be one person.
        place: row of each person.
        sums: of the vectors of the core faces, float32 [P, D].
        counts: core faces, float64 [P].
        beside: pairs of persons whom one photo shows, int64 [C, 2].
        elsewhere: chance that each has other faces: of those seen once what clustering says, and
            less the more faces there are, float64 [P].
    """

    run_id: str
    threshold: Threshold
    place: Mapping[str, int]
    sums: Floats32
    counts: Floats64
    beside: Ints
    elsewhere: Floats64

    @classmethod
    def read(cls, people: People) -> "Clustering":
        """Read the current generation.

        Raises:
            ConfigError: nobody has clustered this lake yet.
        """
        table = people.people(["person_id", "mean", "core_faces", "faces", "confidence"])
        about = people.current() or {}
        place = {person: row for row, person in enumerate(table["person_id"].to_pylist())}
        counts = table["core_faces"].to_numpy().astype(np.float64)
        sums = matrix(table["mean"]) * counts[:, None].astype(np.float32)
        threshold = threshold_of(about, len(place))
        run_id = str(about.get("run_id"))
        faces = np.maximum(1.0, table["faces"].to_numpy())
        elsewhere = np.where(faces < 2, 1.0 - table["confidence"].to_numpy(), 0.0)
        usual = float(elsewhere[faces < 2].mean()) if (faces < 2).any() else LEAST_ELSEWHERE
        elsewhere[faces >= 2] = usual * faces[faces >= 2] ** SELDOM_LARGE
        return cls(run_id, threshold, place, sums, counts, _beside(people, place), elsewhere)


def _beside(people: People, place: Mapping[str, int]) -> Ints:
    """Return pairs of persons whom one photo shows side by side."""
    rows = people.clusters(["image_id", "person_id"], pc.field("person_id").is_valid())
    if not len(rows):
        return np.zeros((0, 2), np.int64)
    ids = pa.array(list(place), pa.string())
    person = pc.fill_null(pc.index_in(rows["person_id"], value_set=ids), NOBODY)
    image = rows["image_id"].combine_chunks().dictionary_encode().indices
    keys = np.stack([np.asarray(image), np.asarray(person)], axis=1).astype(np.int64)
    keys = np.unique(keys[keys[:, 1] != NOBODY], axis=0)
    pairs = []
    for step in range(1, min(len(keys), MOST_BESIDE)):  # those next to each other, then ...
        same = keys[step:, 0] == keys[:-step, 0]
        if not same.any():
            break
        pairs.append(np.stack([keys[:-step, 1][same], keys[step:, 1][same]], axis=1))
    return np.concatenate([np.zeros((0, 2), np.int64), *pairs])


@dataclass(frozen=True)
class _Made:
    """What a person is made of: persons of the last clustering, faces that came, that went."""

    persons: frozenset[str]
    came: frozenset[str] = frozenset()
    went: frozenset[str] = frozenset()


@dataclass
class Persons:
    """Who there is now, a slot each; slots are kept while corrections change who is who.

    Attributes:
        clustering: the last one.
        read: returns the vectors of faces.
        ids: of the person of each slot.
        slot: of each person who is there now.
        means: average vectors, float32 [S, D].
        counts: faces that these are averages of, float64 [S].
        faces: all faces, float64 [S].
        elsewhere: see `Clustering`.
        asked: whether anybody is asked about the person, bool [S]: there now, not hidden, and
            with a mean.
        name: number of the person's name, `NOBODY` where there is none, int64 [S].
        beside: keys of pairs of slots whom one photo shows, see `keys`, sorted.
    """

    people: People
    clustering: Clustering
    read: Vectors
    ids: list[str] = field(default_factory=list)
    slot: dict[str, int] = field(default_factory=dict)
    means: Floats32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    counts: Floats64 = field(default_factory=lambda: np.zeros(0))
    faces: Floats64 = field(default_factory=lambda: np.zeros(0))
    elsewhere: Floats64 = field(default_factory=lambda: np.zeros(0))
    asked: Bools = field(default_factory=lambda: np.zeros(0, bool))
    name: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    beside: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    _made: dict[str, _Made] = field(default_factory=dict)
    _former: dict[str, tuple[str | None, bool]] = field(default_factory=dict)
    _vectors: dict[str, Floats32] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with everybody of the last clustering."""
        self.ids = list(self.clustering.place)
        self.slot = dict(self.clustering.place)
        self.counts = self.clustering.counts.copy()
        divisor = np.maximum(self.counts, 1)[:, None].astype(np.float32)
        self.means = self.clustering.sums / divisor
        size = len(self.ids)
        self.faces, self.asked = np.zeros(size), np.zeros(size, bool)
        self.name = np.full(size, NOBODY)
        self.elsewhere = self.clustering.elsewhere.copy()

    def refresh(self, now: View) -> list[int]:
        """Take over who is who; return the slots of persons who have other faces than before."""
        made = self._made_of(now)
        changed = [p for p in self._made.keys() | made.keys()
                   if self._made.get(p) != made.get(p)]  # fmt: skip
        self._made = made
        table = now.people
        ids = table["person_id"].to_pylist()
        self._grow([person for person in ids if person not in self.slot])
        rows = np.array([self.slot[person] for person in ids], np.int64)
        was = self.asked.copy()
        self.faces[:], self.asked[:], self.name[:] = 0, False, NOBODY
        self.faces[rows] = table["faces"].to_numpy()
        for person in changed:
            if person in self.slot:
                self._sum(self.slot[person], made.get(person, _Made(frozenset({person}))))
        self.asked[rows] = ~np.asarray(table["hidden"]) & (self.counts[rows] > 0)
        self.name[rows] = _numbered(table["name"].to_pylist())
        self.beside = self._beside_now(now)
        slots = {self.slot[person] for person in changed if person in self.slot}
        return sorted(slots | set(np.flatnonzero(was != self.asked).tolist()))

    def keys(self, first: Ints, second: Ints) -> Ints:
        """Return a number for each pair of slots, whatever its order."""
        result: Ints = np.minimum(first, second) * np.int64(1 << 32) + np.maximum(first, second)
        return result

    def vectors(self, faces: Iterable[str]) -> Mapping[str, Floats32]:
        """Return the vectors of faces, read once."""
        wanted = [face for face in faces if face not in self._vectors]
        if wanted:
            self._vectors |= self.read(wanted)
        return self._vectors

    def _grow(self, new: list[str]) -> None:
        if not new:
            return
        for person in new:
            self.slot[person] = len(self.ids)
            self.ids.append(person)
        more = len(new)
        self.means = np.concatenate([self.means, np.zeros((more, self.means.shape[1]), np.float32)])
        self.counts = np.concatenate([self.counts, np.zeros(more)])
        self.faces = np.concatenate([self.faces, np.zeros(more)])
        self.asked = np.concatenate([self.asked, np.zeros(more, bool)])
        self.name = np.concatenate([self.name, np.full(more, NOBODY)])
        usual = float(self.elsewhere.mean()) if len(self.elsewhere) else LEAST_ELSEWHERE
        self.elsewhere = np.concatenate([self.elsewhere, np.full(more, usual)])

    def _made_of(self, now: View) -> dict[str, _Made]:
        """Return what those persons are made of who are not what they were."""
        self._look_up([*now.assigned, *now.rejected])
        persons: dict[str, set[str]] = {}
        for old, new in now.merged.items():
            persons.setdefault(new, {new}).add(old)
        came: dict[str, set[str]] = {}
        went: dict[str, set[str]] = {}
        for face in {**dict.fromkeys(now.rejected), **now.assigned}:
            former = self._former[face][0] if face in self._former else None
            before = None if former is None else now.merged.get(former, former)
            after = None if face in now.rejected else now.assigned.get(face)
            if before != after:
                if before is not None:
                    went.setdefault(before, set()).add(face)
                if after is not None:
                    came.setdefault(after, set()).add(face)
        return {
            person: _Made(
                frozenset(persons.get(person, {person})),
                frozenset(came.get(person, ())),
                frozenset(went.get(person, ())),
            )
            for person in persons.keys() | came.keys() | went.keys()
        }

    def _look_up(self, faces: Iterable[str]) -> None:
        """Find the person and tier of faces that were not looked up yet."""
        new = [face for face in faces if face not in self._former]
        if new:
            where = pc.field("face_id").isin(pa.array(new, pa.string()))
            rows = self.people.clusters(["face_id", "person_id", "tier"], where).to_pydict()
            for face, person, tier in zip(*rows.values(), strict=True):
                self._former[face] = (person, tier == CORE)

    def _sum(self, slot: int, made: _Made) -> None:
        """Make the mean of a slot anew."""
        base = self.clustering
        rows = [base.place[one] for one in sorted(made.persons) if one in base.place]
        total = base.sums[rows].sum(axis=0, dtype=np.float64)
        count = float(base.counts[rows].sum())
        # A face that is not core is not in its former person's mean, and counts where it came to.
        went = [face for face in sorted(made.went) if self._former[face][1]]
        vectors = self.vectors([*made.came, *went])
        for face in (face for face in sorted(made.came) if face in vectors):
            total, count = total + vectors[face], count + 1
        for face in (face for face in went if face in vectors):
            total, count = total - vectors[face], count - 1
        self.counts[slot] = max(0.0, round(count, 6))
        self.means[slot] = total / max(1.0, count)

    def _beside_now(self, now: View) -> Ints:
        if not len(self.clustering.beside):
            return np.zeros(0, np.int64)
        slots = np.arange(len(self.ids))
        for old, new in now.merged.items():
            if old in self.slot and new in self.slot:
                slots[self.slot[old]] = self.slot[new]
        pairs = slots[self.clustering.beside]
        return np.unique(self.keys(*pairs[pairs[:, 0] != pairs[:, 1]].T))


def _numbered(names: list[str | None]) -> Ints:
    """Return a number for each name, `NOBODY` where there is none."""
    known: dict[str, int] = {}
    return np.array(
        [NOBODY if one is None else known.setdefault(name_key(one), len(known)) for one in names],
        np.int64,
    )
