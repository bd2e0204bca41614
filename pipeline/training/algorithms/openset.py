"""The open set: how probable is it that the person a head names is right, and when is it nobody?

The probability is a logistic function of margin and similarity (Platt, "Probabilistic outputs for
support vector machines", 1999; with a ridge, which keeps it from 0 and 1 where both kinds
separate). It is fitted to faces that the head did not learn from: those of the people it knows,
which it names rightly or wrongly, and those of strangers, for whom every name is wrong. Both
kinds weigh the same in all, so it is the probability where every second face is a stranger's.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Bools, Floats64
from pipeline.errors import ConfigError
from pipeline.models.cards.calibration import sigmoid
from pipeline.training.algorithms.heads import Evidence, sklearn

# Of the squared factors, as scikit-learn counts it: weak beside some hundred faces.
RIDGE = 10.0


@dataclass(frozen=True)
class Acceptance:
    """When the person that a head names is accepted.

    Attributes:
        margin, similarity, intercept: of the log odds.
        threshold: least probability; below it the answer is nobody.
    """

    margin: float
    similarity: float
    intercept: float
    threshold: float

    def probability(self, evidence: Evidence) -> Floats64:
        """Return the probability that each named person is right, [N]."""
        return _probability((self.margin, self.similarity, self.intercept), evidence)


def fit_acceptance(
    evidence: Evidence, right: Bools, stranger: Bools, false_alarms: float
) -> Acceptance:
    """Return when to accept, by faces [N] that the head did not learn from.

    Args:
        evidence: what the head says of them.
        right: whether it names the right person.
        stranger: whether they are nobody it knows.
        false_alarms: share of strangers who may be accepted.

    Raises:
        ConfigError: no face is named rightly, or names that are right look no better.
    """
    weights = balanced(stranger)
    for use in ((True, True), (False, True), (True, False)):
        odds = _odds(evidence, right, weights, use) if right.any() and not right.all() else None
        if odds is not None:
            break
    else:
        raise ConfigError(
            "The head cannot tell people from strangers: names that are right look no better than "
            "wrong ones. Check the labels, or give more images a person"
        )
    probability = _probability(odds, evidence)
    return Acceptance(*odds, threshold_at(probability, stranger, false_alarms))


def balanced(stranger: Bools) -> Floats64:
    """Return weights [N] by which strangers and known people weigh the same in all."""
    strangers = int(stranger.sum())
    known = len(stranger) - strangers
    if not strangers or not known:
        return np.ones(len(stranger))
    return np.where(stranger, len(stranger) / (2 * strangers), len(stranger) / (2 * known))


def threshold_at(probability: Floats64, stranger: Bools, false_alarms: float) -> float:
    """Return a threshold that at most this share of strangers' faces reach.

    It lies halfway between the last stranger below and the next face above, so that rounding
    decides nothing.

    Args:
        probability: of each face, [N].
        stranger: whether it is a stranger's, [N]; without any the threshold is 0.
        false_alarms: the share, from 0 to 1.
    """
    falling = np.sort(probability[stranger])[::-1]
    if not len(falling):
        return 0.0
    below = float(falling[int(false_alarms * len(falling))])
    above = float(np.min(probability, where=probability > below, initial=1.0))
    return max((below + above) / 2, float(np.nextafter(below, np.inf)))


def _odds(
    evidence: Evidence, right: Bools, weights: Floats64, use: tuple[bool, bool]
) -> tuple[float, float, float] | None:
    """Return factors of margin and similarity, and the intercept; None unless they rise."""
    x = np.stack([evidence.margin, evidence.similarity], axis=1)
    centre = np.average(x, axis=0, weights=weights)
    spread = np.sqrt(np.average((x - centre) ** 2, axis=0, weights=weights))
    spread = np.where(spread > 0, spread, 1.0)
    model = sklearn("linear_model").LogisticRegression(C=RIDGE)
    model.fit(((x - centre) / spread) * use, right, sample_weight=weights)
    factors = model.coef_[0] * use / spread
    if (factors < 0).any() or not factors.any():
        return None
    margin, similarity = map(float, factors)
    return margin, similarity, float(model.intercept_[0] - factors @ centre)


def _probability(odds: tuple[float, float, float], evidence: Evidence) -> Floats64:
    margin, similarity, intercept = odds
    return sigmoid(margin * evidence.margin + similarity * evidence.similarity + intercept)
