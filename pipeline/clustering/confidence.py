"""How sure one can be of what a clustering found: the share of such faces that is right.

A face is right when it is the person whom most faces of its group are of; somebody seen once, when
no other face of the lake is that person. Both are logistic in what can be seen without labels. The
coefficients were fitted on half of the people of the development sets, as whole lakes and as small
ones (`benchmarks/small_lakes.py`, docs/people.md); the curves of the other half are reported there.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Bools, Floats64
from pipeline.clustering.algorithms.linkage import NOBODY
from pipeline.clustering.algorithms.threshold import LEAST_FACES
from pipeline.clustering.algorithms.tiers import CORE
from pipeline.clustering.outcome import Outcome
from pipeline.lake.shelf import chunks

# At the similarity that is needed; for each deviation above it, at most `MOST_GAP`; and for each
# factor e of strangers who could be taken for the person.
SEVERAL, SEVERAL_GAP, STRANGERS = 1.8, 2.3, -1.2
LEAST_GAP, MOST_GAP = -1.0, 3.0
# Of a face alone: for each deviation below what it needs to the nearest person, at most
# `MOST_DISTANCE`; and for each factor e of hard pictures among the faces that are alone.
ALONE, ALONE_GAP, HARD = -7.1, 1.2, -2.3
MOST_DISTANCE = 2.0
# As many faces of people would be too hard to be with their person as are within `EDGE` deviations
# of not being; `PRIOR_HARD` of `PRIOR_FACES` where few are seen. `LEAST_HARD` is for lakes of
# nobody but faces alone.
EDGE, PRIOR_HARD, PRIOR_FACES, LEAST_HARD = 0.5, 2, 100, 0.03


@dataclass(frozen=True)
class Certainty:
    """How sure each face's person is, NaN where it has none.

    Attributes:
        similarity: average cosine to the other faces of the person, float64 [N].
        confidence: from 0 to 1, float64 [N].
    """

    similarity: Floats64
    confidence: Floats64


@dataclass(frozen=True)
class Margins:
    """By how much some faces have their person, in deviations of strangers, float64 [N] each.

    Attributes:
        similarity: as in `Certainty`.
        gap: above what is needed, and above the best other person.
        distance: of the best other person from what is needed.
        edge: of core faces of people of several, whether each hardly has its person, bool [M].
    """

    similarity: Floats64
    gap: Floats64
    distance: Floats64
    edge: Bools

    @staticmethod
    def of(outcome: Outcome, rows: slice) -> "Margins":
        """Measure some faces."""
        threshold, person, own = outcome.groups.threshold, outcome.person[rows], outcome.own[rows]
        has_person = person != NOBODY
        size = np.ones(len(person))
        size[has_person] = outcome.sizes[person[has_person]]
        core = outcome.tiers.tier[rows] == CORE
        others = np.where(core, size - 1, size)
        with np.errstate(invalid="ignore", divide="ignore"):
            without = np.where(core, (own * size - 1) / others, own)
        similarity = np.where(has_person & (others > 0), np.clip(without, -1, 1), np.nan)
        needed = threshold.cosine(1, np.maximum(others, 1))
        above = (similarity - needed) / threshold.sd
        best_other = np.nan_to_num(outcome.other[rows], nan=-1.0)
        return Margins(
            similarity,
            gap=np.fmin(above, (similarity - best_other) / threshold.sd),
            distance=(needed - best_other) / threshold.sd,
            edge=above[core & (size > 2)] < EDGE,
        )


def certainty(outcome: Outcome) -> Certainty:
    """Return how sure each face's person is."""
    count, sizes = len(outcome.person), outcome.sizes
    edges = [Margins.of(outcome, rows).edge for rows in chunks(count)]
    edge = np.concatenate([np.zeros(0, bool), *edges])
    sure = Certainty(np.empty(count), np.empty(count))
    of_person = np.append(of_halves(outcome), 1.0)  # the last is of nobody
    for rows in chunks(count):
        margins, person = Margins.of(outcome, rows), outcome.person[rows]
        sure.similarity[rows] = margins.similarity
        sure.confidence[rows] = np.where(
            np.isnan(margins.similarity), of_alone(margins.distance, edge, sizes),
            np.minimum(of_several(margins.gap, sizes), of_person[person]),
        )  # fmt: skip
    sure.confidence[outcome.confirmed.faces] = 1.0
    sure.confidence[outcome.person == NOBODY] = np.nan
    return sure


def of_several(gap: Floats64, sizes: Floats64) -> Floats64:
    """Return how sure faces are to be with their person.

    Args:
        gap: above what is needed, and above the best other person, in deviations of strangers.
        sizes: of all people: a small lake needs more than its few faces would.
    """
    strangers = np.log(min(1.0, max(1.0, sizes.sum()) / LEAST_FACES))
    return _logistic(SEVERAL + SEVERAL_GAP * np.clip(gap, LEAST_GAP, MOST_GAP)
                     + STRANGERS * strangers)  # fmt: skip


def of_halves(outcome: Outcome) -> Floats64:
    """Return how sure it is that both halves of each person are one person, float64 [P].

    Here the small lake is not surer: relatives, whom photos of few people show, look alike.
    """
    halves, threshold = outcome.halves, outcome.groups.threshold
    sure = np.ones(len(outcome.sizes))
    gap = (halves.cosine - threshold.cosine(*halves.sizes.T)) / threshold.sd
    sure[halves.person] = _logistic(SEVERAL + SEVERAL_GAP * np.clip(gap, LEAST_GAP, MOST_GAP))
    return sure


def of_alone(distance: Floats64, edge: np.ndarray, sizes: Floats64) -> Floats64:
    """Return how sure faces alone are to be somebody whom no other face shows.

    Args:
        distance: to what the nearest person needs, in deviations of strangers.
        edge: whether each face that has a person hardly has it.
        sizes: of all people.
    """
    share = (edge.sum() + PRIOR_HARD) / (len(edge) + PRIOR_FACES)
    hard = share * sizes[sizes > 2].sum() + LEAST_HARD
    ratio = np.log(hard / ((sizes == 1).sum() + 1))
    return _logistic(ALONE + ALONE_GAP * np.clip(distance, LEAST_GAP, MOST_DISTANCE) + HARD * ratio)


def _logistic(values: Floats64) -> Floats64:
    result: Floats64 = 1 / (1 + np.exp(-values))
    return result
