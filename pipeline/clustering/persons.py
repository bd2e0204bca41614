"""The table of people: ids that survive, names, covers, and what is known of each."""

from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Floats64, Ints
from pipeline.clustering.algorithms.grid import from_grid
from pipeline.clustering.algorithms.identity import CONFIRMED_WEIGHT, new_id, transfer
from pipeline.clustering.algorithms.linkage import NOBODY
from pipeline.clustering.algorithms.tiers import CORE
from pipeline.clustering.outcome import Outcome
from pipeline.clustering.past import Past
from pipeline.lake import schema
from pipeline.lake.columns import fixed_lists
from pipeline.people.constraints import ConfirmedSet
from pipeline.people.store import People

EXEMPLARS = 8


def confirmed_sets(outcome: Outcome, past: Past) -> dict[int, list[ConfirmedSet]]:
    """Return what people said of each person; those that nothing was said of are left out."""
    sets: dict[int, list[ConfirmedSet]] = defaultdict(list)
    elsewhere: dict[str, ConfirmedSet] = {}
    for one, rows in zip(outcome.confirmed.corrections.sets, outcome.confirmed.rows, strict=True):
        if rows:
            sets[int(outcome.of[rows[0]])].append(one)
        else:  # of somebody whose faces this run does not touch
            elsewhere.update(dict.fromkeys(one.faces, one))
    if elsewhere and past.clusters is not None:
        place = {person: int(now) for person, now in zip(past.people, outcome.old, strict=True)}
        faces = pc.is_in(past.clusters["face_id"], pa.array(sorted(elsewhere), pa.string()))
        rows = past.clusters.filter(faces).sort_by("face_id")
        for face, was in zip(
            rows["face_id"].to_pylist(), rows["person_id"].to_pylist(), strict=True
        ):
            one = elsewhere[face]
            if was in place and one not in sets[place[was]]:
                sets[place[was]].append(one)
    return sets


def person_ids(outcome: Outcome, past: Past) -> list[str]:
    """Return the id of each person: pinned, inherited, or new."""
    face_ids = outcome.faces.face_id
    pinned: dict[int, str] = {}
    weights = np.where(outcome.tier == CORE, 1.0, 0.5)
    for known in outcome.confirmed.rows:
        weights[known] = CONFIRMED_WEIGHT
    for person, sets in confirmed_sets(outcome, past).items():
        for one in sets:
            if one.person_id and one.person_id not in pinned.values():
                pinned.setdefault(person, one.person_id)
    before: dict[str, str] = {}
    if past.clusters is not None:
        named = past.clusters.select(["face_id", "person_id"]).to_pydict()
        before = dict(zip(named["face_id"], named["person_id"], strict=True))
    mine = np.flatnonzero(outcome.of != NOBODY)
    old = [before.get(face_ids[i].decode()) for i in mine]
    left = outcome.confirmed.corrections.left
    for at, i in enumerate(mine):
        if (face_ids[i].decode(), old[at]) in left:
            old[at] = None
    found = transfer(
        np.concatenate([outcome.of[mine], outcome.old]),
        [*old, *past.people],
        np.concatenate([weights[mine], past.counts]),
        pinned,
    )
    taken = set(found.values()) | {p for p in before.values() if p}
    for at in sorted(mine.tolist(), key=lambda at: str(face_ids[at])):
        person = int(outcome.of[at])
        if person not in found:
            found[person] = new_id(face_ids[at].decode(), taken)
            taken.add(found[person])
    return [found.get(p, "") for p in range(len(outcome.sizes))]


def people_rows(
    people: People, outcome: Outcome, past: Past, ids: list[str],
    similar: Floats64, confidence: Floats64, run_id: str,
) -> pa.Table:  # fmt: skip
    """Return a row of `people` for each person."""
    models = people.lake.models()
    assert models is not None  # the run began with asking
    kind = schema.people_schema(models.dimension)
    sets = confirmed_sets(outcome, past)
    old_rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    if past.table is not None:
        columns = [f.name for f in kind if f.name != "mean"]
        for person, row in zip(
            outcome.old.tolist(), past.table.select(columns).to_pylist(), strict=True
        ):
            old_rows[person].append(row)
    mine = np.flatnonzero(outcome.of != NOBODY)
    mine = mine[np.argsort(outcome.of[mine], kind="stable")]
    persons, starts = np.unique(outcome.of[mine], return_index=True)
    members = dict(zip(persons.tolist(), np.split(mine, starts[1:]), strict=True))
    result: list[dict[str, Any]] = []
    for person in range(len(ids)):
        rows = members.get(person, mine[:0])
        if not len(rows) and not old_rows[person]:
            continue
        if len(rows) == 1 and not old_rows[person] and not sets.get(person, []):
            row = described_alone(outcome, int(rows[0]), confidence)
        else:
            row = described(
                outcome, rows, similar, confidence, old_rows[person], sets.get(person, [])
            )
        row |= {"person_id": ids[person], "core_faces": int(outcome.sizes[person]), "at": person,
                "run_id": run_id}  # fmt: skip
        result.append(row)
    result.sort(key=lambda row: row["person_id"])
    mean = fixed_lists(
        from_grid(outcome.means[[row.pop("at") for row in result]]).reshape(len(result), -1),
        kind.field("mean").type,
    ) if result else pa.array([], kind.field("mean").type)  # fmt: skip
    arrays = {
        f.name: mean if f.name == "mean" else pa.array([one[f.name] for one in result], f.type)
        for f in kind
    }
    return pa.table(arrays, schema=kind)


def described_alone(outcome: Outcome, face: int, confidence: Floats64) -> dict[str, Any]:
    """Return what `described` says of somebody seen once: most people of a large archive."""
    name, taken = outcome.faces.face_id[face].decode(), outcome.faces.taken_at[face]
    when = None if np.isnan(taken) else np.datetime64(int(taken), "ms")
    return {
        "name": None, "hidden": False, "faces": 1, "images": 1, "cover_face_id": name,
        "exemplars": [name], "first_taken_at": when, "last_taken_at": when,
        "confidence": float(confidence[face]),
    }  # fmt: skip


def described(
    outcome: Outcome, rows: Ints, similar: Floats64, confidence: Floats64,
    old: list[dict[str, Any]], sets: list[ConfirmedSet],
) -> dict[str, Any]:  # fmt: skip
    """Return what is to be said about one person, from its faces here and its rows of before."""
    faces = outcome.faces
    core = rows[outcome.tier[rows] == CORE]
    pool = core if len(core) else rows
    worth = np.nan_to_num(similar[pool], nan=0.0) + 0.1 * np.nan_to_num(
        faces.measures["quality"][pool]
    )
    best = pool[np.lexsort((faces.face_id[pool], -worth))]
    # Evenly from the most central to the least: what the person can look like.
    chosen = best[np.unique(np.linspace(0, len(best) - 1, min(EXEMPLARS, len(best))).astype(int))]
    exemplars = [faces.face_id[i].decode() for i in chosen]
    for row in sorted(old, key=lambda row: -row["faces"])[::-1]:
        exemplars = [*row["exemplars"], *exemplars][:EXEMPLARS]
    cover = next((one.cover for one in sets if one.cover), None)
    exemplars = list(dict.fromkeys([cover, *exemplars] if cover else exemplars))[:EXEMPLARS]
    dates = faces.taken_at[rows]
    dates = dates[~np.isnan(dates)].tolist()
    stamps = [int(d) for d in dates]
    for row in old:
        stamps += [
            int(np.datetime64(row[k], "ms").astype(np.int64))
            for k in ("first_taken_at", "last_taken_at") if row[k] is not None
        ]  # fmt: skip
    count = len(rows) + sum(row["faces"] for row in old)
    sure = float(np.nansum(confidence[rows])) + sum(row["confidence"] * row["faces"] for row in old)
    name = next((one.name for one in sets if one.name), None)
    return {
        "name": name,
        "hidden": any(one.hidden for one in sets),
        "faces": count,
        "images": len(np.unique(faces.photo[rows])) + sum(row["images"] for row in old),
        "cover_face_id": exemplars[0],
        "exemplars": exemplars,
        "first_taken_at": np.datetime64(min(stamps), "ms") if stamps else None,
        "last_taken_at": np.datetime64(max(stamps), "ms") if stamps else None,
        "confidence": min(1.0, sure / count),
    }
