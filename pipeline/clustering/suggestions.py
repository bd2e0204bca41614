"""The table of suggestions: decisions that somebody should look at first."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.clustering.algorithms.grid import similarity
from pipeline.clustering.algorithms.linkage import NOBODY
from pipeline.clustering.outcome import Outcome
from pipeline.clustering.past import Past
from pipeline.lake import schema

MOST_SUGGESTIONS = 10_000


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
    now = {was: ids[person] for was, person in zip(past.people, outcome.old.tolist(), strict=True)}
    rows += list(carried(rows, past, now))
    rows.sort(key=lambda row: (-row["doubt"], row["person_a"], row["person_b"], row["face_a"]))
    return pa.Table.from_pylist(rows[:MOST_SUGGESTIONS], schema.SUGGESTIONS)


def carried(
    rows: list[dict[str, Any]], past: Past, now: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Yield the suggestions of before about persons who are kept, under the ids that they have now.

    A run that adds looks at what is new alone: what was doubtful among the others still is.
    """
    known = {(row["kind"], frozenset((row["person_a"], row["person_b"]))) for row in rows}
    for row in past.suggestions.to_pylist() if past.suggestions is not None else ():
        a, b = now.get(row["person_a"]), now.get(row["person_b"])
        if a is None or b is None or (row["kind"] == "apart") == (a == b):
            continue  # made again, or one person since
        if (row["kind"], frozenset((a, b))) not in known:
            yield row | {"person_a": a, "person_b": b}
