"""Compiled loops of clustering: the best scores of each row, and edges of groups that changed.

A sort, or a library's top k, looks at every score several times; of a face nearly all scores are
those of strangers.
"""

import numpy as np

from pipeline.arrays import Bools, Floats32, Floats64, Ints
from pipeline.models.compiled import compiled

# Scores that are compared with the lowest that counts in one step.
STRIDE = 64


@compiled
def _insert(score: np.float32, at: int, value: Floats32, column: Ints) -> None:
    """Put a score and its column into a row of the best, before the first that is lower."""
    place = len(value) - 1
    while place > 0 and value[place - 1] < score:
        value[place], column[place] = value[place - 1], column[place - 1]
        place -= 1
    value[place], column[place] = score, at


@compiled
def keep_best(scores: Floats32, first: int, lowest: float, value: Floats32, column: Ints) -> None:
    """Merge a block of scores into the best of each row; of equal ones the first columns stay.

    Args:
        scores: float32 [Q, M].
        first: column of the first of them.
        lowest: score that counts.
        value: best scores so far, falling, -inf where there are none, float32 [Q, k].
        column: of each, int64 [Q, k].
    """
    rows, columns = scores.shape
    floor = np.float32(lowest)
    for row in range(rows):
        for start in range(0, columns, STRIDE):
            end = min(columns, start + STRIDE)
            last = value[row, -1]
            many = 0
            for at in range(start, end):
                score = scores[row, at]
                many += (score >= floor) & (score > last)
            if many:
                for at in range(start, end):
                    score = scores[row, at]
                    if score >= floor and score > value[row, -1]:
                        _insert(score, first + at, value[row], column[row])


@compiled
def keep_best_of(
    scores: Floats32, columns: Ints, lowest: float, value: Floats32, column: Ints
) -> None:
    """Merge likewise the scores of some columns, int64 [Q, M]; of equal ones the first stay."""
    for row in range(len(scores)):
        for at in range(scores.shape[1]):
            score = scores[row, at]
            if score >= np.float32(lowest) and score > value[row, -1]:
                _insert(score, columns[row, at], value[row], column[row])


@compiled
def part_stale(
    edges: Ints, cosine: Floats64, strength: Floats64, changed: Bools, stale: Ints
) -> int:
    """Move what stays to the front, in its order, and return how many edges stay.

    Args:
        edges: pairs of nodes, int64 [E, 2].
        cosine: of each, float64 [E].
        strength: likewise.
        changed: nodes whose edges do not stay, bool [N].
        stale: gets those edges, in order, int64 [E, 2].
    """
    kept = 0
    for edge in range(len(edges)):
        a, b = edges[edge, 0], edges[edge, 1]
        if changed[a] or changed[b]:
            stale[edge - kept, 0], stale[edge - kept, 1] = a, b
        else:
            edges[kept, 0], edges[kept, 1] = a, b
            cosine[kept], strength[kept] = cosine[edge], strength[edge]
            kept += 1
    return kept
