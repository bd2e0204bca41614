"""A second look at each person: its faces in two halves, and how much alike the halves are.

Linkage joins two groups on their average similarity, whatever they are like inside. Two people who
resemble each other leave a group of two halves. These are cut along the direction in which faces
differ most; then each face goes to the half that it is more similar to (2-means).
"""

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Bools, Floats64, Ints
from pipeline.clustering.algorithms.grid import UNIT
from pipeline.clustering.shards import mix
from pipeline.clustering.singles import Assignment

# Both halves have at least two faces: one face that is unlike the others is no second person.
LEAST_HALF = 2
# Of each person; more faces say the same.
MOST_FACES = 100
ROUNDS, OUTLIERS = 10, 3
CHUNK = 50_000


@dataclass(frozen=True)
class Halves:
    """The halves of each person who has some.

    Attributes:
        person: ascending, int64 [H].
        cosine: average between the halves, float64 [H].
        faces: of each half the most central one, larger half first, int64 [H, 2].
        sizes: of the halves, float64 [H, 2].
    """

    person: Ints
    cosine: Floats64
    faces: Ints
    sizes: Floats64


def halves(people: Assignment) -> Halves:
    """Return the halves of all people with enough core faces, all of them in this run."""
    whole = np.bincount(people.person, minlength=len(people.sizes)) == people.sizes
    order = np.lexsort((mix(people.faces.rank[people.core]), people.person))
    person = people.person[order]
    place = np.arange(len(order)) - np.searchsorted(person, person)
    order = order[(place < MOST_FACES) & whole[person]]
    starts = np.flatnonzero(np.diff(people.person[order], prepend=-1))
    ends = np.append(starts[1:], len(order))
    enough = ends - starts >= 2 * LEAST_HALF
    starts, ends = starts[enough], ends[enough]
    found: list[tuple[int, float, Ints, Floats64]] = []
    for block in np.split(np.arange(len(starts)), np.flatnonzero(np.diff(starts // CHUNK)) + 1):
        if not len(block):
            continue
        first = starts[block[0]]
        vectors = people.vectors(order[first : ends[block[-1]]]).astype(np.float64)
        for a, b in zip(starts[block], ends[block], strict=True):
            gram = vectors[a - first : b - first] @ vectors[a - first : b - first].T / UNIT
            side = two_halves(gram)
            if side is not None:
                rows = people.core[order[a:b]]
                found.append((people.person[order[a]], *_described(gram, side, rows)))
    return Halves(
        np.array([one[0] for one in found], np.int64), np.array([one[1] for one in found]),
        np.array([one[2] for one in found], np.int64).reshape(-1, 2),
        np.array([one[3] for one in found]).reshape(-1, 2),
    )  # fmt: skip


def two_halves(gram: Floats64) -> Ints | None:
    """Return the half, 0 or 1, of each face, -1 for outliers; None where no half has two faces.

    Args:
        gram: cosines of the faces, float64 [N, N].
    """
    side = np.full(len(gram), -1, np.int64)
    inside = np.arange(len(gram))
    for _ in range(OUTLIERS + 1):
        if len(inside) < 2 * LEAST_HALF:
            return None
        one = _cut(gram[np.ix_(inside, inside)])
        sizes = one.sum(), (~one).sum()
        if min(sizes) >= LEAST_HALF:
            side[inside] = one
            return side
        inside = inside[one if sizes[0] > sizes[1] else ~one]
    return None


def _cut(gram: Floats64) -> Bools:
    """Return which faces are in the second half."""
    centred = gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean()
    side: Bools = np.linalg.eigh(centred)[1][:, -1] > 0
    for _ in range(ROUNDS):
        sums = np.stack([gram[:, ~side].sum(axis=1), gram[:, side].sum(axis=1)], axis=1)
        own = side.astype(int)
        counts = np.stack([np.full(len(side), (~side).sum()), np.full(len(side), side.sum())], 1)
        at = np.arange(len(side))
        sums[at, own] -= 1  # a face is no evidence for its own half
        counts[at, own] -= 1
        average = sums / np.maximum(counts, 1)
        new = average[:, 1] > average[:, 0]
        if (new == side).all() or new.all() or not new.any():
            break
        side = new
    return side


def _described(gram: Floats64, side: Ints, rows: Ints) -> tuple[float, Ints, Floats64]:
    parts = [np.flatnonzero(side == half) for half in (0, 1)]
    parts.sort(key=lambda part: (-len(part), rows[part].min()))
    central = [part[gram[np.ix_(part, part)].sum(axis=1).argmax()] for part in parts]
    cosine = float(gram[np.ix_(parts[0], parts[1])].mean())
    return cosine, rows[central], np.array([float(len(part)) for part in parts])
