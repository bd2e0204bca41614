"""The table of people: ids that survive, names, covers, and what is known of each."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Bools, Ints
from pipeline.clustering.algorithms.grid import from_grid
from pipeline.clustering.algorithms.identity import CONFIRMED_WEIGHT, new_id, transfer
from pipeline.clustering.algorithms.linkage import NOBODY
from pipeline.clustering.algorithms.tiers import CORE
from pipeline.clustering.confidence import Certainty
from pipeline.clustering.gather import strings
from pipeline.clustering.outcome import Outcome
from pipeline.clustering.past import Past, among
from pipeline.lake import schema
from pipeline.lake.moves import replaced
from pipeline.people.constraints import ConfirmedSet
from pipeline.people.person import EXEMPLARS, Corrected, Person, people_table

# Persons whose rows are made at once: with their means some kilobytes each.
PIECE = 50_000


def confirmed_sets(outcome: Outcome, past: Past) -> dict[int, list[ConfirmedSet]]:
    """Return the confirmed sets of each person who has any."""
    sets: dict[int, list[ConfirmedSet]] = defaultdict(list)
    elsewhere: dict[str, ConfirmedSet] = {}
    corrections = outcome.confirmed
    for confirmed, rows in zip(corrections.corrections.sets, corrections.rows, strict=True):
        if rows:
            sets[int(outcome.person[rows[0]])].append(confirmed)
        else:  # of somebody whose faces this run does not touch
            elsewhere.update(dict.fromkeys(confirmed.faces, confirmed))
    if elsewhere and past.clusters is not None:
        place = {
            person: int(now) for person, now in zip(past.people, outcome.past_person, strict=True)
        }
        rows = among(past.clusters, elsewhere).sort_by("face_id")
        for face, was in zip(
            rows["face_id"].to_pylist(), rows["person_id"].to_pylist(), strict=True
        ):
            confirmed = elsewhere[face]
            if was in place and confirmed not in sets[place[was]]:
                sets[place[was]].append(confirmed)
    return sets


def person_ids(outcome: Outcome, past: Past) -> list[str]:
    """Return the id of each person: pinned, inherited, or new."""
    pinned: dict[int, str] = {}
    for person, sets in confirmed_sets(outcome, past).items():
        for confirmed in sets:
            if confirmed.person_id and confirmed.person_id not in pinned.values():
                pinned.setdefault(person, confirmed.person_id)
    ids = inherited_ids(outcome, past, pinned)
    taken = set(ids.values())
    if past.clusters is not None:
        taken |= set(pc.unique(past.clusters["person_id"]).drop_null().to_pylist())
    faces, rows = outcome.faces, np.flatnonzero(outcome.person != NOBODY)
    first = np.full(len(outcome.sizes), len(outcome.person))
    np.minimum.at(first, outcome.person[rows], faces.rank[rows])
    by_face = np.argsort(first, kind="stable")
    for person in by_face[first[by_face] < len(outcome.person)].tolist():
        if person not in ids:
            face = faces.face_id[faces.order[first[person]]].decode()
            ids[person] = new_id(face, taken)
            taken.add(ids[person])
    return [ids.get(person, "") for person in range(len(outcome.sizes))]


def inherited_ids(outcome: Outcome, past: Past, pinned: Mapping[int, str]) -> dict[int, str]:
    """Return the ids that persons have from corrections, or from the people of the past."""
    if past.clusters is None:
        return dict(pinned)
    weights = np.where(outcome.tiers.tier == CORE, 1.0, 0.5)
    weights[outcome.confirmed.faces] = CONFIRMED_WEIGHT
    rows = np.flatnonzero(outcome.person != NOBODY)
    faces = strings(outcome.faces.face_id[rows])
    left = outcome.confirmed.corrections.left
    inherited = past.persons_of(faces).to_pylist()
    if left:
        inherited = [
            None if (face, person_id) in left else person_id
            for face, person_id in zip(faces.to_pylist(), inherited, strict=True)
        ]
    return transfer(
        np.concatenate([outcome.person[rows], outcome.past_person]),
        [*inherited, *past.people],
        np.concatenate([weights[rows], past.counts]),
        pinned,
    )


@dataclass(frozen=True)
class PeopleRows:
    """The rows of `people`: those that stay as they were, and those that this run makes.

    Attributes:
        outcome, past: of the run.
        ids: of all persons.
        sets: confirmed sets of each person who has any.
        kept: rows of persons whom this run did not touch.
        former: earlier rows of each other person who has any.
        numbers: persons whose rows are made, in the order of their ids, int64 [R].
        faces: rows of the faces that have a person, by person, int64 [M].
        starts: first face of each person, and the total, int64 [P + 1].
    """

    outcome: Outcome
    past: Past
    ids: list[str]
    sets: Mapping[int, list[ConfirmedSet]]
    kept: pa.Table
    former: Mapping[int, list[Person]]
    numbers: Ints
    faces: Ints
    starts: Ints

    @staticmethod
    def of(outcome: Outcome, past: Past, ids: list[str], run_id: str) -> "PeopleRows":
        """Return the rows, of which only those that are kept are there yet."""
        sets = confirmed_sets(outcome, past)
        with_person = np.flatnonzero(outcome.person != NOBODY)
        order = np.argsort(outcome.person[with_person], kind="stable")
        counts = np.bincount(outcome.person[with_person], minlength=len(ids))
        touched = counts > 0
        touched[list(sets)] = True
        former: dict[int, list[Person]] = defaultdict(list)
        kept = schema.people_schema(past.means.shape[1]).empty_table()
        if past.table is not None:
            stays = kept_people(past, outcome, touched, ids)
            kept = past.table.filter(pa.array(stays))
            kept = replaced(kept, "run_id", [run_id] * len(kept))
            changed = np.flatnonzero(~stays)
            rows = past.table.drop_columns("mean").take(changed).to_pylist()
            for number, row in zip(outcome.past_person[changed].tolist(), rows, strict=True):
                former[number].append(Person(**row))
        made = counts > 0
        made[list(former)] = True
        numbers = np.array(sorted(np.flatnonzero(made).tolist(), key=ids.__getitem__), np.int64)
        return PeopleRows(
            outcome, past, ids, sets, kept, former, numbers,
            with_person[order], np.cumsum([0, *counts]),
        )  # fmt: skip

    @property
    def alone(self) -> int:
        """How many persons are seen once."""
        faces = np.diff(self.starts)
        for number, former in self.former.items():
            faces[number] += sum(one.faces for one in former)
        kept = (np.asarray(self.kept["faces"]) == 1).sum()
        return int((faces[self.numbers] == 1).sum() + kept)

    def visible_names(self, wanted: Collection[str]) -> dict[str, str | None]:
        """Return the names of those of some persons who are not hidden."""
        rows = self.kept.filter(pc.is_in(self.kept["person_id"], pa.array(wanted, pa.string())))
        rows = rows.filter(pc.invert(rows["hidden"])).select(["person_id", "name"])
        names = dict(zip(*rows.to_pydict().values(), strict=True))
        for number in self.numbers.tolist():
            if self.ids[number] in wanted:
                corrected = Corrected.by(self.sets.get(number, ()))
                if not corrected.hidden:
                    names[self.ids[number]] = corrected.name
        return names

    def made(self, sure: Certainty, run_id: str, schema: pa.Schema) -> Iterator[pa.Table]:
        """Yield the rows that this run makes, in the order of their ids, in pieces."""
        for start in range(0, len(self.numbers), PIECE):
            numbers = self.numbers[start : start + PIECE]
            persons = [
                replace(
                    self._described(number, sure), person_id=self.ids[number],
                    core_faces=int(self.outcome.sizes[number]), run_id=run_id,
                )
                for number in numbers.tolist()
            ]  # fmt: skip
            yield people_table(persons, from_grid(self.outcome.means[numbers]), schema)

    def _described(self, number: int, sure: Certainty) -> Person:
        faces = self.faces[self.starts[number] : self.starts[number + 1]]
        former, sets = self.former.get(number, ()), self.sets.get(number, ())
        if len(faces) == 1 and not former and not sets:
            return described_alone(self.outcome, int(faces[0]), sure)
        return described(self.outcome, faces, sure, former, sets)


def kept_people(past: Past, outcome: Outcome, touched: Bools, ids: Sequence[str]) -> Bools:
    """Return which persons of the past are what they were: their rows stay, bool [P]."""
    now = outcome.past_person
    alone = np.bincount(now, minlength=len(ids))[now] == 1
    same = [ids[number] == was for number, was in zip(now.tolist(), past.people, strict=True)]
    kept: Bools = alone & ~touched[now] & np.array(same, bool)
    return kept


def described_alone(outcome: Outcome, face: int, sure: Certainty) -> Person:
    """Return what `described` does for somebody seen once: most people of a large archive."""
    name, taken = outcome.faces.face_id[face].decode(), outcome.faces.taken_at[face]
    date = None if np.isnan(taken) else np.datetime64(int(taken), "ms")
    return Person(
        "", faces=1, images=1, cover_face_id=name, exemplars=[name], first_taken_at=date,
        last_taken_at=date, confidence=float(sure.confidence[face]),
    )  # fmt: skip


def described(
    outcome: Outcome, rows: Ints, sure: Certainty, former: Sequence[Person],
    sets: Sequence[ConfirmedSet],
) -> Person:  # fmt: skip
    """Return a person, without its id, from its faces here and from its earlier rows."""
    corrected = Corrected.by(sets)
    exemplars = exemplars_of(outcome, rows, sure)
    for one in sorted(former, key=lambda one: -one.faces)[::-1]:
        exemplars = [*one.exemplars, *exemplars][:EXEMPLARS]
    exemplars = corrected.exemplars(exemplars)
    taken = outcome.faces.taken_at[rows]
    dates = [np.datetime64(int(date), "ms") for date in taken[~np.isnan(taken)]]
    for one in former:
        ends = (one.first_taken_at, one.last_taken_at)
        dates += [np.datetime64(date, "ms") for date in ends if date is not None]
    faces = len(rows) + sum(one.faces for one in former)
    confidence = float(np.nansum(sure.confidence[rows]))
    confidence += sum(one.confidence * one.faces for one in former)
    photos = len(np.unique(outcome.faces.photo[rows]))
    return Person(
        "",
        name=corrected.name,
        hidden=corrected.hidden,
        faces=faces,
        images=photos + sum(one.images for one in former),
        cover_face_id=exemplars[0],
        exemplars=exemplars,
        first_taken_at=min(dates, default=None),
        last_taken_at=max(dates, default=None),
        confidence=min(1.0, confidence / faces),
    )


def exemplars_of(outcome: Outcome, rows: Ints, sure: Certainty) -> list[str]:
    """Return faces from the most central to the least, evenly: what the person can look like."""
    faces = outcome.faces
    core = rows[outcome.tiers.tier[rows] == CORE]
    pool = core if len(core) else rows
    worth = np.nan_to_num(sure.similarity[pool], nan=0.0)
    worth += 0.1 * np.nan_to_num(faces.quality[pool])
    best = pool[np.lexsort((faces.face_id[pool], -worth))]
    chosen = np.linspace(0, len(best) - 1, min(EXEMPLARS, len(best))).astype(int)
    return [faces.face_id[row].decode() for row in best[np.unique(chosen)]]
