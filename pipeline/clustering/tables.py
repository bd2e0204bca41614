"""Writes what a clustering found as a new generation of tables."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Floats64
from pipeline.clustering.algorithms.linkage import NOBODY
from pipeline.clustering.algorithms.tiers import NAMES
from pipeline.clustering.confidence import Certainty, certainty
from pipeline.clustering.gather import strings
from pipeline.clustering.outcome import Outcome
from pipeline.clustering.past import Past, among
from pipeline.clustering.persons import PeopleRows, person_ids
from pipeline.clustering.suggestions import suggest
from pipeline.lake import schema
from pipeline.lake.generations import PART_ROWS, pieces
from pipeline.lake.moves import replaced
from pipeline.people.answers import Answers
from pipeline.people.store import People


def publish(
    people: People, run_id: str, outcome: Outcome, past: Past, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the tables as a new generation, and return `about` with their figures."""
    ids = person_ids(outcome, past)
    sure = certainty(outcome)
    models = people.lake.models()
    assert models is not None  # without them the run would have ended before
    persons = PeopleRows.of(outcome, past, ids, run_id)
    kept, moved = kept_rows(outcome, past, ids)
    suggestions = unanswered(suggest(outcome, past, ids, run_id), outcome, kept, persons)
    tiers = Counter({k["values"]: k["counts"] for k in kept["tier"].value_counts().to_pylist()})
    tiers.update(dict(zip(NAMES, np.bincount(outcome.tiers.tier).tolist(), strict=False)))
    new_faces = len(outcome.faces.face_id)
    about = dict(about) | {
        "faces": len(kept) + new_faces,
        "new_faces": new_faces,
        "people": len(persons.kept) + len(persons.numbers),
        "people_of_one_face": persons.alone,
        "tiers": {name: count for name, count in tiers.items() if count},
        "suggestions": len(suggestions),
        "ids_changed": moved + changed(outcome, past, ids),
        "incremental": bool(past.people),
    }
    clusters = merged(kept, cluster_rows(outcome, ids, sure, run_id), "face_id")
    rows = persons.made(sure, run_id, schema.people_schema(models.dimension))
    people.publish(run_id, clusters, merged(persons.kept, rows, "person_id"), suggestions, about)
    return about


def merged(kept: pa.Table, made: Iterable[pa.Table], key: str) -> Iterator[pa.Table]:
    """Yield pieces in the order of a key, with the rows that are kept where they belong.

    Args:
        kept: in order.
        made: pieces in order, and in order among each other, of the same schema but for metadata.
        key: column of text.
    """
    keys, start = kept[key], 0
    following = iter(made)
    piece = next(following, kept.slice(0, 0))
    while piece is not None:
        after, end = next(following, None), len(kept)
        if after is not None:
            last = piece[key][-1].as_py()
            end = bisect_right(range(end), last, lo=start, key=lambda row: keys[row].as_py())
        between = kept.slice(start, end - start)
        rows = pa.concat_tables([between.select(piece.column_names).cast(piece.schema), piece])
        yield from pieces(rows.sort_by(key) if len(between) and len(piece) else rows)
        piece, start = after, end


def unanswered(
    suggestions: pa.Table, outcome: Outcome, kept: pa.Table, persons: PeopleRows
) -> pa.Table:
    """Return the suggestions that no correction has answered."""
    corrections = outcome.confirmed.corrections
    shown = {face for name in ("face_a", "face_b") for face in suggestions[name].to_pylist()}
    wanted = corrections.faces | shown
    rows = among(kept, wanted)
    person_of = dict(zip(rows["face_id"].to_pylist(), rows["person_id"].to_pylist(), strict=True))
    for face, row in outcome.faces.rows_of(wanted).items():
        person = int(outcome.person[row])
        person_of[face] = None if person == NOBODY else persons.ids[person]
    about = {p for name in ("person_a", "person_b") for p in suggestions[name].to_pylist()}
    answers = Answers.of(corrections, person_of, persons.visible_names(about))
    keep = [
        not answers.has(row, row["person_a"], row["person_b"]) for row in suggestions.to_pylist()
    ]
    return suggestions.filter(pa.array(keep, pa.bool_()))


def publish_unchanged(people: People, run_id: str, past: Past) -> dict[str, Any]:
    """Return the figures of the generation before; marks that were taken back leave its tables."""
    current = people.current() or {}
    if past.withdrawn:
        assert past.clusters is not None
        assert past.table is not None
        ids = past.table["person_id"].combine_chunks()
        suggestions = people.suggestions()
        for side in ("person_a", "person_b"):
            suggestions = suggestions.filter(pc.is_in(suggestions[side], ids))
        alone = int((np.asarray(past.table["faces"]) == 1).sum())
        current |= {
            "faces": len(past.clusters), "people": len(past.table), "people_of_one_face": alone,
            "suggestions": len(suggestions),
        }  # fmt: skip
        about = {k: v for k, v in current.items() if k not in ("run_id", "tables")}
        persons = pieces(past.table)
        people.publish(run_id, pieces(past.clusters), persons, suggestions, about)
    return current | {"new_faces": 0, "incremental": True}


def publish_nobody(people: People, run_id: str) -> dict[str, Any]:
    """Write a generation without anybody, for photos on which no face was found."""
    models = people.lake.existing_models()
    # Without settings the next run builds on nothing of this one.
    about: dict[str, Any] = {
        "faces": 0, "new_faces": 0, "people": 0, "people_of_one_face": 0, "tiers": {},
        "suggestions": 0, "ids_changed": 0, "incremental": False, "threshold": {}, "settings": None,
    }  # fmt: skip
    persons = schema.people_schema(models.dimension).empty_table()
    nobody = schema.CLUSTERS.empty_table()
    people.publish(run_id, [nobody], [persons], schema.SUGGESTIONS.empty_table(), about)
    return about


def nullable(values: Floats64, kind: pa.DataType) -> pa.Array:
    """Return an array in which NaN is null."""
    return pa.array(values, mask=np.isnan(values)).cast(kind)


def cluster_rows(
    outcome: Outcome, ids: list[str], sure: Certainty, run_id: str
) -> Iterator[pa.Table]:
    """Yield a row of `clusters` for each face of the run, in their order, in pieces."""
    faces, names, tier_names = outcome.faces, pa.array(ids, pa.string()), pa.array(NAMES)
    confirmed = np.zeros(len(faces.face_id), bool)
    for one, rows in zip(outcome.confirmed.corrections.sets, outcome.confirmed.rows, strict=True):
        confirmed[rows] = len(one.faces) > 1 or one.person_id is not None
    for start in range(0, len(faces.order), PART_ROWS):
        some = np.asarray(faces.order[start : start + PART_ROWS])
        person = outcome.person[some]
        reasons = [outcome.tiers.reasons.get(row) for row in some.tolist()]
        yield pa.table(
            {
                "face_id": strings(faces.face_id[some]),
                "image_id": strings(faces.image_id[some]),
                "person_id": names.take(pa.array(person, mask=person == NOBODY)),
                "tier": tier_names.take(pa.array(outcome.tiers.tier[some])),
                "reason": pa.array(reasons, pa.string()),
                "similarity": nullable(sure.similarity[some], pa.float32()),
                "confidence": nullable(sure.confidence[some], pa.float32()),
                "confirmed": pa.array(confirmed[some]),
                "run_id": pa.repeat(pa.scalar(run_id), len(some)),
            },
            schema=schema.CLUSTERS,
        )


def kept_rows(outcome: Outcome, past: Past, ids: list[str]) -> tuple[pa.Table, int]:
    """Return the rows of earlier runs that stay, and how many have another person now."""
    if past.clusters is None or not past.people:
        return schema.CLUSTERS.empty_table(), 0
    clustered = strings(outcome.faces.face_id)
    kept = past.clusters.filter(pc.invert(pc.is_in(past.clusters["face_id"], clustered)))
    now = {
        was: ids[person]
        for was, person in zip(past.people, outcome.past_person.tolist(), strict=True)
        if ids[person] != was
    }
    if not now:
        return kept, 0
    before = kept["person_id"].to_pylist()
    kept = replaced(kept, "person_id", [now.get(was, was) for was in before])
    return kept, sum(was in now for was in before)


def changed(outcome: Outcome, past: Past, ids: list[str]) -> int:
    """Return how many faces of the run had another person before."""
    if past.clusters is None:
        return 0
    was = past.persons_of(strings(outcome.faces.face_id))
    mask = outcome.person == NOBODY
    person = pa.array(ids, pa.string()).take(pa.array(outcome.person, mask=mask))
    return pc.sum(pc.not_equal(was, person)).as_py() or 0
