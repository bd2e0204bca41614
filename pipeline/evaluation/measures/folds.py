"""k-fold protocol of Labeled Faces in the Wild.

Huang et al., "Labeled Faces in the Wild", UMass TR 07-49, 2007: the threshold that is best on all
other folds is applied to each fold; mean of the folds' accuracies with its standard error.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Bools, Floats64, Ints
from pipeline.errors import ConfigError


@dataclass(frozen=True)
class Folds:
    """Accuracy and threshold of each fold."""

    accuracies: Floats64
    thresholds: Floats64

    @property
    def accuracy(self) -> float:
        """Mean accuracy."""
        return float(self.accuracies.mean())

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return float(self.accuracies.std(ddof=1) / np.sqrt(len(self.accuracies)))

    @property
    def threshold(self) -> float:
        """Mean threshold."""
        return float(self.thresholds.mean())


def best_threshold(scores: Floats64, same: Bools) -> float:
    """Return the threshold with most right decisions, halfway between two scores.

    Pairs without a score are wrong whatever the threshold. Of thresholds that are equally good
    the middle one is taken.
    """
    scored = ~np.isnan(scores)
    order = np.argsort(-scores[scored], kind="stable")
    ordered, kind = scores[scored][order], same[scored][order]
    if not len(ordered):
        return 0.0
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    # the first candidate accepts nothing: every impostor is right
    gain = np.concatenate([[0], np.cumsum(np.where(kind, 1, -1))[ends]])
    values = ordered[ends]
    cuts = np.concatenate([[np.nextafter(values[0], np.inf)], (values[:-1] + values[1:]) / 2,
                           values[-1:]])  # fmt: skip
    best = np.flatnonzero(gain == gain.max())
    return float(cuts[best[len(best) // 2]])


def k_fold(scores: Floats64, same: Bools, fold: Ints) -> Folds:
    """Return the accuracy of each fold at the threshold that is best on the others.

    Args:
        scores: [P], or [F, P] where the score depends on the fold that is left out.
        same: [P].
        fold: [P], numbered from 0.

    Raises:
        ConfigError: fewer than two folds.
    """
    count = int(fold.max()) + 1 if len(fold) else 0
    if count < 2:
        raise ConfigError(f"{count} folds; the protocol needs two or more")
    each = np.broadcast_to(scores, (count, len(same)))
    accuracies, thresholds = np.empty(count), np.empty(count)
    for k in range(count):
        test = fold == k
        thresholds[k] = best_threshold(each[k, ~test], same[~test])
        accuracies[k] = right(each[k, test], same[test], thresholds[k]).mean()
    return Folds(accuracies, thresholds)


def right(scores: Floats64, same: Bools, threshold: float) -> Bools:
    """Return which decisions are right; none without a score."""
    decided: Bools = ((scores >= threshold) == same) & ~np.isnan(scores)
    return decided


def assign_folds(same: Bools, count: int, seed: int = 0) -> Ints:
    """Return a fold for each pair: drawn, with as many pairs of both kinds in each as can be."""
    random = np.random.default_rng(seed)
    fold = np.empty(len(same), dtype=np.int64)
    for kind in (True, False):
        at = np.flatnonzero(same == kind)
        fold[random.permutation(at)] = np.arange(len(at)) % count
    return fold
