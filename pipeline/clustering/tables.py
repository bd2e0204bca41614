"""Writes what a clustering found as a new generation of tables."""

from collections.abc import Mapping
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
from pipeline.clustering.past import Past
from pipeline.clustering.persons import people_rows, person_ids
from pipeline.clustering.suggestions import suggest
from pipeline.lake import schema
from pipeline.lake.generations import pieces
from pipeline.people.answers import Answers
from pipeline.people.store import People


def publish(
    people: People, run_id: str, outcome: Outcome, past: Past, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the tables as a new generation, and return `about` with their figures."""
    ids = person_ids(outcome, past)
    sure = certainty(outcome)
    rows = cluster_rows(outcome, ids, sure, run_id)
    models = people.lake.models()
    assert models is not None  # without them the run would have ended before
    persons = people_rows(outcome, past, ids, sure, run_id, schema.people_schema(models.dimension))
    kept = kept_rows(outcome, past, ids)
    clusters = pa.concat_tables([kept, rows]).sort_by("face_id")
    suggestions = unanswered(suggest(outcome, past, ids, run_id), outcome, clusters, persons)
    alone = int((np.asarray(persons["faces"]) == 1).sum())
    about = dict(about) | {
        "faces": len(clusters),
        "new_faces": len(rows),
        "people": len(persons),
        "people_of_one_face": alone,
        "tiers": {k["values"]: k["counts"] for k in clusters["tier"].value_counts().to_pylist()},
        "suggestions": len(suggestions),
        "ids_changed": changed(kept, rows, past),
        "incremental": bool(past.people),
    }
    people.publish(run_id, pieces(clusters), pieces(persons), suggestions, about)
    return about


def unanswered(
    suggestions: pa.Table, outcome: Outcome, clusters: pa.Table, persons: pa.Table
) -> pa.Table:
    """Return the suggestions that no correction has answered."""
    corrections = outcome.confirmed.corrections
    shown = {face for name in ("face_a", "face_b") for face in suggestions[name].to_pylist()}
    wanted = pa.array(sorted(corrections.faces | shown), pa.string())
    rows = clusters.filter(pc.is_in(clusters["face_id"], wanted))
    person_of = dict(zip(rows["face_id"].to_pylist(), rows["person_id"].to_pylist(), strict=True))
    visible = persons.filter(pc.invert(persons["hidden"]))
    names = dict(zip(*visible.select(["person_id", "name"]).to_pydict().values(), strict=True))
    answers = Answers.of(corrections, person_of, names)
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


def cluster_rows(outcome: Outcome, ids: list[str], sure: Certainty, run_id: str) -> pa.Table:
    """Return a row of `clusters` for each face of the run."""
    faces = outcome.faces
    confirmed = np.zeros(len(faces.face_id), bool)
    for one, rows in zip(outcome.confirmed.corrections.sets, outcome.confirmed.rows, strict=True):
        confirmed[rows] = len(one.faces) > 1 or one.person_id is not None
    return pa.table(
        {
            "face_id": strings(faces.face_id),
            "image_id": strings(faces.image_id),
            "person_id": pa.array(ids, pa.string()).take(
                pa.array(outcome.person, mask=outcome.person == NOBODY)
            ),
            "tier": pa.array(NAMES).take(pa.array(outcome.tiers.tier)),
            "reason": pa.array(outcome.tiers.reasons, pa.string()),
            "similarity": nullable(sure.similarity, pa.float32()),
            "confidence": nullable(sure.confidence, pa.float32()),
            "confirmed": pa.array(confirmed),
            "run_id": pa.repeat(pa.scalar(run_id), len(confirmed)),
        },
        schema=schema.CLUSTERS,
    )


def kept_rows(outcome: Outcome, past: Past, ids: list[str]) -> pa.Table:
    """Return the rows of earlier runs that stay, under the ids that their persons now have."""
    if past.clusters is None or not past.people:
        return schema.CLUSTERS.empty_table()
    clustered = strings(outcome.faces.face_id)
    kept = past.clusters.filter(pc.invert(pc.is_in(past.clusters["face_id"], clustered)))
    now = {
        was: ids[person]
        for was, person in zip(past.people, outcome.past_person.tolist(), strict=True)
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
    count = 0
    for table in (kept, rows):
        was = past.persons_of(table["face_id"])
        count += pc.sum(pc.not_equal(was, table["person_id"])).as_py() or 0
    return count
