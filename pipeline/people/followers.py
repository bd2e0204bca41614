"""Which faces of a person go along with those that somebody takes out: the rest of the same sister.

Two people whom clustering took for one are told apart by a few ticked faces. The others follow one
after the other, the surest first: whoever is more like those that left than like those that stay.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Bools, Floats64

# By how much the average similarity to those that left must be larger than to those that stay.
# Both constants were chosen on half of the development people (`benchmarks/splits.py`,
# docs/people.md has the figures of the other half).
MARGIN = 0.03
# By how much both sides must be more alike inside than across: pairs of people are by 0.33 and more
# on LFW, by 0.14 on the wild set; the sides of one person seldom are.
LEAST_GAP = 0.15
# Faces follow one at a time, of many several at once.
ROUNDS, LAST_LOOKS = 256, 10


@dataclass(frozen=True)
class Parting:
    """What becomes of the other faces of a person when some are taken out.

    Attributes:
        follow: faces that are more like those taken out, the surest first.
        stay: the others, those most unlike the ones taken out first.
        apart: those of `stay` that are surely not theirs: less like them than like each other, or
            all of them where the two sides do not differ and only somebody could tell.
    """

    follow: list[str]
    stay: list[str]
    apart: list[str]


def part(
    vectors: Mapping[str, npt.NDArray[np.floating[Any]]],
    taken: Collection[str],
    kept: Collection[str] = (),
    least_gap: float = LEAST_GAP,
) -> Parting:
    """Return which faces of a person follow others that are taken out.

    Args:
        vectors: unit vector of each of the person's faces, [D].
        taken: faces that are taken out.
        kept: faces that stay, whatever they are like.
        least_gap: nobody follows if the sides differ less.
    """
    faces = list(vectors)
    out = np.array([face in taken for face in faces], bool)
    if not out.any() or out.all():
        rest = [face for face in faces if face not in taken]
        return Parting([], rest, rest)
    every = np.stack([vectors[face] for face in faces]).astype(np.float64)
    free = ~out & np.array([face not in kept for face in faces], bool)
    side = _grown(every, out, free)
    distinct = _gap(every, side) >= least_gap
    if not distinct:
        side = out
    lead = _lead(every, side)
    order = np.argsort(lead, kind="stable")
    stay = [i for i in order if not side[i]]
    return Parting(
        follow=[faces[i] for i in order[::-1] if side[i] and not out[i]],
        stay=[faces[i] for i in stay],
        apart=[faces[i] for i in stay if lead[i] < 0 or not distinct],
    )


def _grown(every: Floats64, out: Bools, free: Bools) -> Bools:
    """Return who has left when all have followed who will."""
    side = out.copy()
    step = max(1, len(every) // ROUNDS)
    while True:
        lead = np.where(free & ~side, _lead(every, side), -np.inf)
        best = np.argsort(-lead, kind="stable")[:step]
        best = best[lead[best] > MARGIN]
        if not len(best) or len(best) == (~side).sum():
            break
        side[best] = True
    for _ in range(LAST_LOOKS):  # who followed early is judged by the whole as well
        new = out | (free & (_lead(every, side) > MARGIN))
        if (new == side).all() or new.all():
            break
        side = new
    return side


def _lead(every: Floats64, side: Bools) -> Floats64:
    """Return how much more each face is like those of `side` than like the others, on average."""
    like = []
    for group in (side, ~side):
        others = group.sum() - group
        total = every @ every[group].sum(axis=0) - group
        like.append(total / np.maximum(others, 1))
    lead: Floats64 = like[0] - like[1]
    return lead


def _gap(every: Floats64, side: Bools) -> float:
    """Return how much more alike two faces of one side are than two of both, on average."""
    sums = [every[group].sum(axis=0) for group in (side, ~side)]
    sizes = np.array([side.sum(), (~side).sum()])
    pairs = (sizes * (sizes - 1)).sum()
    inside = sum(float(one @ one) for one in sums) - len(every)
    across = float(sums[0] @ sums[1]) / int(sizes.prod())
    return inside / max(1, int(pairs)) - across
