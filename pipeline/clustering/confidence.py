"""How sure one can be of what a clustering found: the share of such faces that is right.

A face is right when it is the person whom most faces of its group are of; somebody seen once, when
no other face of the lake is that person. Both are logistic in what can be seen without labels. The
coefficients were fitted on half of the people of the development sets, as whole lakes and as small
ones (`benchmarks/small_lakes.py`, docs/people.md); the curves of the other half are reported there.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats64
from pipeline.clustering.algorithms.linkage import NOBODY
from pipeline.clustering.algorithms.threshold import LEAST_FACES
from pipeline.clustering.algorithms.tiers import CORE
from pipeline.clustering.outcome import Outcome

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


def certainty(outcome: Outcome) -> Certainty:
    """Return how sure each face's person is."""
    threshold = outcome.groups.threshold
    has_person = outcome.person != NOBODY
    size = np.ones(len(has_person))
    size[has_person] = outcome.sizes[outcome.person[has_person]]
    core = outcome.tiers.tier == CORE
    others = np.where(core, size - 1, size)
    with np.errstate(invalid="ignore", divide="ignore"):
        without = np.where(core, (outcome.own * size - 1) / others, outcome.own)
    similarity = np.where(has_person & (others > 0), np.clip(without, -1, 1), np.nan)
    needed = threshold.cosine(1, np.maximum(others, 1))
    above = (similarity - needed) / threshold.sd
    best_other = np.nan_to_num(outcome.other, nan=-1.0)
    gap = np.fmin(above, (similarity - best_other) / threshold.sd)
    distance = (needed - best_other) / threshold.sd
    edge = above[core & (size > 2)] < EDGE
    confidence = np.where(
        np.isnan(similarity), of_alone(distance, edge, outcome.sizes),
        np.minimum(of_several(gap, outcome.sizes), of_halves(outcome)),
    )  # fmt: skip
    confidence[outcome.confirmed.faces] = 1.0
    return Certainty(similarity, np.where(has_person, confidence, np.nan))


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
    """Return how sure it is that both halves of each face's person are one person, float64 [N].

    Here the small lake is not surer: relatives, whom photos of few people show, look alike.
    """
    halves, threshold = outcome.halves, outcome.groups.threshold
    sure = np.ones(len(outcome.sizes) + 1)  # the last is of nobody
    gap = (halves.cosine - threshold.cosine(*halves.sizes.T)) / threshold.sd
    sure[halves.person] = _logistic(SEVERAL + SEVERAL_GAP * np.clip(gap, LEAST_GAP, MOST_GAP))
    return sure[outcome.person]


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
