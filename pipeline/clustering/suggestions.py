"""The table of suggestions: decisions that somebody should look at first."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.clustering.algorithms.grid import similarity
from pipeline.clustering.algorithms.linkage import NOBODY
from pipeline.clustering.outcome import Outcome
from pipeline.clustering.past import Past
from pipeline.lake import schema

MOST_SUGGESTIONS = 10_000


@dataclass(frozen=True, slots=True)
class Decision:
    """Two groups that were merged, or were not: their cosine, and what it had to reach."""

    first: int
    second: int
    cosine: float
    needed: float


def suggest(outcome: Outcome, past: Past, ids: list[str], run_id: str) -> pa.Table:
    """Return the most doubtful decisions: pairs just apart, and joins just made."""
    groups, person_of = outcome.groups, outcome.person_of_group
    face_ids = [f.decode() for f in outcome.faces.face_id]
    covers = past.table["cover_face_id"].to_pylist() if past.table is not None else []
    faces = [*face_ids, *covers]  # a group of the past is shown by its cover
    rows: list[dict[str, Any]] = []

    def add(decision: Decision, kind: str) -> None:
        doubt = max(0.0, 1 - abs(decision.cosine - decision.needed) / groups.threshold.sd)
        a, b = decision.first, decision.second
        if groups.counts[a] < groups.counts[b]:
            a, b = b, a
        if doubt > 0:
            rows.append({
                "person_a": ids[person_of[a]], "person_b": ids[person_of[b]], "kind": kind,
                "face_a": faces[outcome.face_of_group[a]],
                "face_b": faces[outcome.face_of_group[b]],
                "similarity": decision.cosine, "threshold": decision.needed, "doubt": doubt,
                "run_id": run_id,
            })  # fmt: skip

    for first, second, cosine, needed in groups.merges.tolist():
        if person_of[int(first)] == person_of[int(second)]:
            add(Decision(int(first), int(second), cosine, needed), "merged")
    for decision in pairs_apart(outcome, len(ids)):
        add(decision, "apart")
    now = {
        was: ids[person]
        for was, person in zip(past.people, outcome.past_person.tolist(), strict=True)
    }
    rows += list(carried(rows, past, now))
    rows.sort(key=lambda row: (-row["doubt"], row["person_a"], row["person_b"], row["face_a"]))
    return pa.Table.from_pylist(rows[:MOST_SUGGESTIONS], schema.SUGGESTIONS)


def pairs_apart(outcome: Outcome, persons: int) -> Iterator[Decision]:
    """Yield persons who are most similar to each other, by a group each."""
    person_of, nearest = outcome.person_of_group, outcome.groups.nearest[:, 0]
    source = np.flatnonzero(nearest != NOBODY)
    pairs = np.sort(np.stack([person_of[source], person_of[nearest[source]]], axis=1), axis=1)
    pairs = np.unique(pairs, axis=0)
    a, b = pairs[pairs[:, 0] != pairs[:, 1]].T
    group_of = np.full(persons, NOBODY)
    group_of[person_of[::-1]] = np.arange(len(person_of))[::-1]
    cosines = similarity(outcome.means[a], outcome.means[b]).tolist()
    needs = outcome.groups.threshold.cosine(outcome.sizes[a], outcome.sizes[b]).tolist()
    groups = (group_of[a].tolist(), group_of[b].tolist())
    yield from map(Decision, *groups, cosines, needs)


def carried(
    rows: list[dict[str, Any]], past: Past, now: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Yield the earlier suggestions about persons who are kept, under the ids that they have now.

    A run that adds faces only looks at those: what was doubtful among the others still is.
    """
    new = {(row["kind"], frozenset((row["person_a"], row["person_b"]))) for row in rows}
    for row in past.suggestions.to_pylist() if past.suggestions is not None else ():
        a, b = now.get(row["person_a"]), now.get(row["person_b"])
        if a is None or b is None or (row["kind"] == "apart") == (a == b):
            continue  # made again, or one person since
        if (row["kind"], frozenset((a, b))) not in new:
            yield row | {"person_a": a, "person_b": b}
