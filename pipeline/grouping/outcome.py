"""What a clustering found, as tables: who is who, how sure that is, and what to look at."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.clustering.constraints import ConfirmedSet
from pipeline.clustering.grid import Ints, from_grid, similarity
from pipeline.clustering.identity import CONFIRMED_WEIGHT, new_id, transfer
from pipeline.clustering.linkage import NOBODY
from pipeline.clustering.threshold import Threshold, Values
from pipeline.clustering.tiers import CORE, NAMES
from pipeline.columns import fixed_lists
from pipeline.grouping.evidence import Confirmed
from pipeline.grouping.gather import Faces
from pipeline.grouping.past import Past
from pipeline.people.store import People

PART_ROWS = 500_000
EXEMPLARS = 8
MOST_SUGGESTIONS = 10_000
# Confidence is one half where a face is as near to others as to its person; a deviation of
# strangers away from that, it is 0.88.
SLOPE = 2.0


@dataclass(frozen=True)
class Outcome:
    """Persons are numbered 0 to P-1; faces as in `faces`.

    Attributes:
        tier, reasons: of each face.
        of: person of each face, or `NOBODY`.
        own, other: average cosine to it, the face itself included, and to the best other one.
        sizes: core faces of each person.
        means: of each person, grid vectors.
        old: person that each of the past became.
        level: threshold of groups.
        merges: doubtful joins: group, group, cosine, needed.
        to_person, nearest, group_means, group_counts, group_faces: of the groups they came from.
        confirmed: corrections.
    """

    faces: Faces
    tier: np.ndarray
    reasons: list[str | None]
    of: Ints
    own: Values
    other: Values
    sizes: Values
    means: np.ndarray
    old: Ints
    level: Threshold
    merges: Values
    to_person: Ints
    nearest: Ints
    group_means: np.ndarray
    group_counts: Values
    group_faces: Ints
    confirmed: Confirmed


def publish(
    people: People, run_id: str, outcome: Outcome, past: Past, about: dict[str, Any]
) -> None:
    """Write the tables as a new generation; adds its figures to `about`."""
    ids = person_ids(outcome, past)
    similar, confidence = certainty(outcome)
    rows = cluster_rows(outcome, ids, similar, confidence, run_id)
    persons = people_rows(people, outcome, past, ids, similar, confidence, run_id)
    kept = kept_rows(outcome, past, ids)
    clusters = pa.concat_tables([kept, rows]).sort_by("face_id")
    suggestions = suggest(outcome, past, ids, run_id)
    alone = int((np.asarray(persons["faces"]) == 1).sum())
    about |= {
        "faces": len(clusters),
        "new_faces": len(rows),
        "people": len(persons),
        "people_of_one_face": alone,
        "tiers": {k["values"]: k["counts"] for k in clusters["tier"].value_counts().to_pylist()},
        "suggestions": len(suggestions),
        "ids_changed": changed(kept, rows, past),
        "constraints": [row.constraint_id for row in people.constraints()],
        "incremental": bool(past.people),
    }
    people.publish(run_id, pieces(clusters), pieces(persons), suggestions, about)


def pieces(table: pa.Table) -> Iterator[pa.Table]:
    """Yield a table in parts."""
    for start in range(0, len(table), PART_ROWS):
        yield table.slice(start, PART_ROWS)


def person_ids(outcome: Outcome, past: Past) -> list[str]:
    """Return the id of each person: pinned, inherited, or new."""
    face_ids = outcome.faces.face_id
    pinned: dict[int, str] = {}
    left: dict[int, set[str]] = defaultdict(set)
    weights = np.where(outcome.tier == CORE, 1.0, 0.5)
    for one, rows in zip(outcome.confirmed.corrections.sets, outcome.confirmed.rows, strict=True):
        weights[rows] = CONFIRMED_WEIGHT
        if not rows:
            continue
        person = int(outcome.of[rows[0]])
        left[person] |= one.left
        if one.person_id and one.person_id not in pinned.values():
            pinned.setdefault(person, one.person_id)
    before: dict[str, str] = {}
    if past.clusters is not None:
        named = past.clusters.select(["face_id", "person_id"]).to_pydict()
        before = dict(zip(named["face_id"], named["person_id"], strict=True))
    mine = np.flatnonzero(outcome.of != NOBODY)
    old = [before.get(face_ids[i].decode()) for i in mine]
    old = [
        None if p in left.get(int(g), ()) else p for p, g in zip(old, outcome.of[mine], strict=True)
    ]
    found = transfer(
        np.concatenate([outcome.of[mine], outcome.old]),
        [*old, *past.people],
        np.concatenate([weights[mine], past.counts]),
        pinned,
    )
    taken = set(found.values()) | {p for p in before.values() if p}
    first = np.full(len(outcome.sizes), len(face_ids))
    np.minimum.at(first, outcome.of[mine], mine)
    order = sorted(mine.tolist(), key=lambda i: face_ids[i])
    for i in order:
        person = int(outcome.of[i])
        if person not in found:
            found[person] = new_id(face_ids[i].decode(), taken)
            taken.add(found[person])
    return [found.get(p, "") for p in range(len(outcome.sizes))]


def certainty(outcome: Outcome) -> tuple[Values, Values]:
    """Return each face's average cosine to the others of its person, and its confidence.

    Confidence compares how far the face is above what it needs, and above the best other person,
    in deviations of strangers, with a logistic curve.
    """
    mine = outcome.of != NOBODY
    size = np.where(
        mine, outcome.sizes[np.where(mine, outcome.of, 0)] if len(outcome.sizes) else 1, 1
    )
    core = outcome.tier == CORE
    others = np.where(core, size - 1, size)
    with np.errstate(invalid="ignore", divide="ignore"):
        without = np.where(core, (outcome.own * size - 1) / others, outcome.own)
    similar = np.where(mine & (others > 0), np.clip(without, -1, 1), np.nan)
    needed = outcome.level.cosine(1, np.maximum(others, 1))
    rival = np.fmax(np.nan_to_num(outcome.other, nan=-1.0), needed)
    # Someone alone is sure to be alone as far as nobody else is near.
    gap = np.where(np.isnan(similar), needed - np.nan_to_num(outcome.other, nan=-1.0),
                   similar - rival)  # fmt: skip
    confidence = 1 / (1 + np.exp(-SLOPE * gap / outcome.level.sd))
    for rows in outcome.confirmed.rows:
        confidence[rows] = 1.0
    return similar, np.where(mine, confidence, np.nan)


def nullable(values: Values, kind: pa.DataType) -> pa.Array:
    """Return an array in which NaN is null."""
    return pa.array(values, mask=np.isnan(values)).cast(kind)


def cluster_rows(
    outcome: Outcome, ids: list[str], similar: Values, confidence: Values, run_id: str
) -> pa.Table:
    """Return a row of `clusters` for each face of the run."""
    faces = outcome.faces
    confirmed = np.zeros(len(faces.face_id), bool)
    for one, rows in zip(outcome.confirmed.corrections.sets, outcome.confirmed.rows, strict=True):
        confirmed[rows] = len(one.faces) > 1 or one.person_id is not None
    return pa.table(
        {
            "face_id": pa.array([f.decode() for f in faces.face_id], pa.string()),
            "image_id": pa.array([f.decode() for f in faces.image_id], pa.string()),
            "person_id": pa.array(
                [None if p == NOBODY else ids[p] for p in outcome.of], pa.string()
            ),
            "tier": pa.array([NAMES[t] for t in outcome.tier], pa.string()),
            "reason": pa.array(outcome.reasons, pa.string()),
            "similarity": nullable(similar, pa.float32()),
            "confidence": nullable(confidence, pa.float32()),
            "confirmed": pa.array(confirmed),
            "run_id": pa.array([run_id] * len(confirmed), pa.string()),
        },
        schema=schema.CLUSTERS,
    )


def kept_rows(outcome: Outcome, past: Past, ids: list[str]) -> pa.Table:
    """Return the rows of earlier runs that stay, under the ids that their persons now have."""
    if past.clusters is None or not past.people:
        return schema.CLUSTERS.empty_table()
    done = pa.array([f.decode() for f in outcome.faces.face_id], pa.string())
    kept = past.clusters.filter(pc.invert(pc.is_in(past.clusters["face_id"], done)))
    now = {
        was: ids[person]
        for was, person in zip(past.people, outcome.old.tolist(), strict=True)
        if ids[person] != was
    }
    if now:
        person = [now.get(p, p) for p in kept["person_id"].to_pylist()]
        at = kept.schema.get_field_index("person_id")
        kept = kept.set_column(
            at, schema.CLUSTERS.field("person_id"), pa.array(person, pa.string())
        )
    return kept


def changed(kept: pa.Table, rows: pa.Table, past: Past) -> int:
    """Return how many faces that had a person before have another one now."""
    if past.clusters is None:
        return 0
    before = dict(
        zip(*past.clusters.select(["face_id", "person_id"]).to_pydict().values(), strict=True)
    )
    count = 0
    for table in (kept, rows):
        for face, person in zip(
            table["face_id"].to_pylist(), table["person_id"].to_pylist(), strict=True
        ):
            was = before.get(face)
            count += was is not None and person is not None and was != person
    return count


def people_rows(
    people: People, outcome: Outcome, past: Past, ids: list[str],
    similar: Values, confidence: Values, run_id: str,
) -> pa.Table:  # fmt: skip
    """Return a row of `people` for each person."""
    models = people.lake.models()
    assert models is not None  # the run began with asking
    kind = schema.people_schema(models.dimension)
    sets: dict[int, list[ConfirmedSet]] = defaultdict(list)
    for one, rows in zip(outcome.confirmed.corrections.sets, outcome.confirmed.rows, strict=True):
        if rows:
            sets[int(outcome.of[rows[0]])].append(one)
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
        if len(rows) == 1 and not old_rows[person] and not sets[person]:
            row = described_alone(outcome, int(rows[0]), confidence)
        else:
            row = described(outcome, rows, similar, confidence, old_rows[person], sets[person])
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


def described_alone(outcome: Outcome, face: int, confidence: Values) -> dict[str, Any]:
    """Return what `described` says of somebody seen once: most people of a large archive."""
    name, taken = outcome.faces.face_id[face].decode(), outcome.faces.taken_at[face]
    when = None if np.isnan(taken) else np.datetime64(int(taken), "ms")
    return {
        "name": None, "hidden": False, "faces": 1, "images": 1, "cover_face_id": name,
        "exemplars": [name], "first_taken_at": when, "last_taken_at": when,
        "confidence": float(confidence[face]),
    }  # fmt: skip


def described(
    outcome: Outcome, rows: Ints, similar: Values, confidence: Values,
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
            int(row[k].timestamp() * 1000) if row[k].tzinfo else int(np.datetime64(row[k], "ms").astype(np.int64))
            for k in ("first_taken_at", "last_taken_at") if row[k] is not None
        ]  # fmt: skip
    count = len(rows) + sum(row["faces"] for row in old)
    sure = float(np.nansum(confidence[rows])) + sum(row["confidence"] * row["faces"] for row in old)
    name = next((one.name for one in sets if one.name), None)
    return {
        "name": name or next((row["name"] for row in old if row["name"]), None),
        "hidden": any(one.hidden for one in sets) or any(row["hidden"] for row in old),
        "faces": count,
        "images": len(np.unique(faces.image_id[rows])) + sum(row["images"] for row in old),
        "cover_face_id": exemplars[0],
        "exemplars": exemplars,
        "first_taken_at": np.datetime64(min(stamps), "ms") if stamps else None,
        "last_taken_at": np.datetime64(max(stamps), "ms") if stamps else None,
        "confidence": min(1.0, sure / count),
    }


def suggest(outcome: Outcome, past: Past, ids: list[str], run_id: str) -> pa.Table:
    """Return the most doubtful decisions: pairs just apart, and joins just made."""
    rows: list[dict[str, Any]] = []
    face_ids = [f.decode() for f in outcome.faces.face_id]
    covers = past.table["cover_face_id"].to_pylist() if past.table is not None else []
    every = [*face_ids, *covers]  # a group of the past is shown by its cover
    to, level = outcome.to_person, outcome.level

    def add(a: int, b: int, cosine: float, needed: float, kind: str) -> None:
        doubt = max(0.0, 1 - abs(cosine - needed) / level.sd)
        if outcome.group_counts[a] < outcome.group_counts[b]:
            a, b = b, a
        if doubt > 0:
            rows.append({
                "person_a": ids[to[a]], "person_b": ids[to[b]], "kind": kind,
                "face_a": every[outcome.group_faces[a]], "face_b": every[outcome.group_faces[b]],
                "similarity": cosine, "threshold": needed, "doubt": doubt, "run_id": run_id,
            })  # fmt: skip

    for first, second, cosine, needed in outcome.merges.tolist():
        if to[int(first)] == to[int(second)]:
            add(int(first), int(second), cosine, needed, "merged")
    near = outcome.nearest[:, :1]
    source = np.flatnonzero(near[:, 0] != NOBODY)
    pairs = np.unique(np.sort(np.stack([to[source], to[near[source, 0]]], axis=1), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    face_of = np.full(len(ids), NOBODY)
    face_of[to[::-1]] = np.arange(len(to))[::-1]
    cosines = similarity(outcome.means[pairs[:, 0]], outcome.means[pairs[:, 1]])
    needs = level.cosine(outcome.sizes[pairs[:, 0]], outcome.sizes[pairs[:, 1]])
    for (a, b), cosine, needed in zip(
        pairs.tolist(), cosines.tolist(), needs.tolist(), strict=True
    ):
        add(int(face_of[a]), int(face_of[b]), cosine, needed, "apart")
    rows.sort(key=lambda row: (-row["doubt"], row["person_a"], row["person_b"], row["face_a"]))
    return pa.Table.from_pylist(rows[:MOST_SUGGESTIONS], schema.SUGGESTIONS)
