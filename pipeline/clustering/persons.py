"""The table of people: ids that survive, names, covers, and what is known of each."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

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
from pipeline.clustering.past import Past
from pipeline.people.constraints import ConfirmedSet
from pipeline.people.person import EXEMPLARS, Corrected, Person, people_table


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
        faces = pc.is_in(past.clusters["face_id"], pa.array(sorted(elsewhere), pa.string()))
        rows = past.clusters.filter(faces).sort_by("face_id")
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
    ids = transfer(
        np.concatenate([outcome.person[rows], outcome.past_person]),
        [*inherited, *past.people],
        np.concatenate([weights[rows], past.counts]),
        pinned,
    )
    taken = set(ids.values())
    if past.clusters is not None:
        taken |= set(pc.unique(past.clusters["person_id"]).drop_null().to_pylist())
    fresh = np.flatnonzero(~np.isin(outcome.person[rows], list(ids)))
    persons = outcome.person[rows[fresh]].tolist()
    for face, person in sorted(zip(faces.take(fresh).to_pylist(), persons, strict=True)):
        if person not in ids:
            ids[person] = new_id(face, taken)
            taken.add(ids[person])
    return [ids.get(person, "") for person in range(len(outcome.sizes))]


def people_rows(
    outcome: Outcome, past: Past, ids: list[str], sure: Certainty, run_id: str, schema: pa.Schema
) -> pa.Table:
    """Return a row of `people` for each person."""
    sets = confirmed_sets(outcome, past)
    members = members_of(outcome)
    kept = kept_people(past, outcome, {*members, *sets}, ids)
    former: dict[int, list[Person]] = defaultdict(list)
    if past.table is not None:
        columns = [name for name in schema.names if name != "mean"]
        changed = np.flatnonzero(~kept)
        rows = past.table.select(columns).take(changed).to_pylist()
        for number, row in zip(outcome.past_person[changed].tolist(), rows, strict=True):
            former[number].append(Person(**row))
    persons: dict[int, Person] = {}
    for number in sorted({*members, *former}):
        faces = members.get(number, np.zeros(0, np.int64))
        if len(faces) == 1 and not former[number] and not sets.get(number):
            person = described_alone(outcome, int(faces[0]), sure)
        else:
            person = described(outcome, faces, sure, former[number], sets.get(number, []))
        core_faces = int(outcome.sizes[number])
        persons[number] = replace(
            person, person_id=ids[number], core_faces=core_faces, run_id=run_id
        )
    means = from_grid(outcome.means[list(persons)])
    table = people_table(list(persons.values()), means, schema)
    if past.table is not None:
        rows = past.table.filter(pa.array(kept)).select(schema.names).cast(schema)
        runs = pa.repeat(pa.scalar(run_id), len(rows))
        at = schema.get_field_index("run_id")
        table = pa.concat_tables([rows.set_column(at, schema.field(at), runs), table])
    return table.sort_by("person_id")


def kept_people(
    past: Past, outcome: Outcome, touched: Collection[int], ids: Sequence[str]
) -> Bools:
    """Return which persons of the past are what they were: their rows stay, bool [P]."""
    now = outcome.past_person
    alone = np.bincount(now, minlength=len(ids))[now] == 1
    same = [ids[number] == was for number, was in zip(now.tolist(), past.people, strict=True)]
    kept: Bools = alone & ~np.isin(now, list(touched)) & np.array(same, bool)
    return kept


def members_of(outcome: Outcome) -> dict[int, Ints]:
    """Return the rows of each person's faces."""
    rows = np.flatnonzero(outcome.person != NOBODY)
    rows = rows[np.argsort(outcome.person[rows], kind="stable")]
    persons, starts = np.unique(outcome.person[rows], return_index=True)
    if not len(persons):  # splitting nothing gives one piece
        return {}
    return dict(zip(persons.tolist(), np.split(rows, starts[1:]), strict=True))


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
