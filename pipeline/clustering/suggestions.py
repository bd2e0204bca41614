"""The table of suggestions: decisions that somebody should look at first."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.arrays import Ints
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
    """Return the most doubtful decisions: pairs just apart, joins just made, and people in halves.

    A person in two halves is asked about as a join, whatever came of the steps that made it.
    """
    groups, person_of = outcome.groups, outcome.person_of_group
    rows: list[dict[str, Any]] = []

    def add(kind: str, persons: Ints, of_faces: Ints, cosine: float, needed: float) -> None:
        gap = abs(cosine - needed) if kind == "apart" else max(0.0, cosine - needed)
        doubt = max(0.0, 1 - gap / groups.threshold.sd)
        if doubt > 0:
            rows.append({
                "person_a": ids[persons[0]], "person_b": ids[persons[1]], "kind": kind,
                "face_a": shown(outcome, past, of_faces[0]),
                "face_b": shown(outcome, past, of_faces[1]),
                "similarity": cosine, "threshold": needed, "doubt": doubt, "run_id": run_id,
            })  # fmt: skip

    def add_groups(kind: str, one: Decision) -> None:
        pair = np.array([one.first, one.second])
        if groups.counts[one.first] < groups.counts[one.second]:
            pair = pair[::-1]
        add(kind, person_of[pair], outcome.face_of_group[pair], one.cosine, one.needed)

    halves = outcome.halves
    needs = groups.threshold.cosine(*halves.sizes.T)
    for row, person in enumerate(halves.person.tolist()):
        cosine, needed = float(halves.cosine[row]), float(needs[row])
        add("merged", np.array([person, person]), halves.faces[row], cosine, needed)
    halved = set(halves.person.tolist())
    for first, second, cosine, needed in groups.merges.tolist():
        one = Decision(int(first), int(second), cosine, needed)
        person, other = person_of[[one.first, one.second]].tolist()
        several = min(groups.counts[[one.first, one.second]]) >= 2
        if person == other and not (several and person in halved):
            add_groups("merged", one)
    for one in pairs_apart(outcome, len(ids)):
        add_groups("apart", one)
    now = {
        was: ids[person]
        for was, person in zip(past.people, outcome.past_person.tolist(), strict=True)
    }
    rows += list(carried(rows, past, now))
    rows.sort(key=lambda row: (-row["doubt"], row["person_a"], row["person_b"], row["face_a"]))
    return pa.Table.from_pylist(rows[:MOST_SUGGESTIONS], schema.SUGGESTIONS)


def shown(outcome: Outcome, past: Past, face: int) -> str:
    """Return the id of a face; behind them are the people of the past, shown by their covers."""
    face_ids = outcome.faces.face_id
    if face < len(face_ids):
        return str(face_ids[face].decode())
    assert past.table is not None
    return str(past.table["cover_face_id"][face - len(face_ids)].as_py())


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
