"""Fits similarity to probability, and measures how true the probabilities are.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, for the reliability table and
the expected calibration error. The method with the lower log loss on held-out folds is taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.arrays import Bools, Floats64, Ints
from pipeline.errors import ConfigError
from pipeline.models.cards.calibration import ISOTONIC, LOGISTIC, METHODS, Calibration, sigmoid

BINS = 10


def fit(method: str, similarity: Floats64, same: Bools) -> Calibration:
    """Return the calibration of pairs [P]; its prior is their share of one person.

    Raises:
        ConfigError: pairs of one kind only, or similarities that do not rise with sameness.
    """
    ones = int(same.sum())
    if not 0 < ones < len(same):
        raise ConfigError(
            f"{ones} of {len(same)} pairs are of one person; a calibration needs pairs of both "
            "kinds"
        )
    made = Calibration(method, ones / len(same), "", len(same))
    knots = isotonic(similarity, same) if method == ISOTONIC else ()
    slope, intercept = logistic(similarity, same)
    if slope <= 0 or len(knots) == 1:
        raise ConfigError(
            "Pairs of one person are not more similar than pairs of two; check the column same"
        )
    if method == ISOTONIC:
        return replace(made, knots=knots)
    return replace(made, slope=slope, intercept=intercept)


def logistic(similarity: Floats64, same: Bools) -> tuple[float, float]:
    """Return slope and intercept of log odds, by Newton's method on Platt's smoothed targets.

    (N1 + 1) / (N1 + 2) and 1 / (N0 + 2) instead of 1 and 0 (Platt, "Probabilistic outputs for
    support vector machines", 1999) keep the slope finite where both kinds separate.
    """
    ones, zeros = int(same.sum()), int((~same).sum())
    target = np.where(same, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    centre, spread = similarity.mean(), similarity.std() or 1.0
    x = np.stack([(similarity - centre) / spread, np.ones(len(similarity))], axis=1)

    def loss(w: Floats64) -> float:
        odds = x @ w
        return float(np.sum(np.logaddexp(0, odds) - target * odds))

    weights = np.zeros(2)
    for _ in range(100):
        p = sigmoid(x @ weights)
        gradient = x.T @ (p - target)
        curvature = (x * (p * (1 - p))[:, None]).T @ x
        step = np.linalg.solve(curvature + 1e-12 * np.eye(2), gradient)
        size, before = 1.0, loss(weights)
        while size > 1e-8 and loss(weights - size * step) > before:
            size /= 2  # far from the minimum a whole step may overshoot
        weights = weights - size * step
        if np.abs(size * step).max() < 1e-10:
            break
    return float(weights[0] / spread), float(weights[1] - weights[0] * centre / spread)


def isotonic(similarity: Floats64, same: Bools) -> tuple[tuple[float, float], ...]:
    """Return knots of a rising curve: mean similarity and share of one person of each pool.

    Pools are those of isotonic regression, adjacent violators pooled (Zadrozny and Elkan, KDD
    2002). A knot at the centre of each instead of a step keeps the order of pairs in a pool
    (Oron and Flournoy, Statistics in Biopharmaceutical Research 9, 2017). No probability is nearer
    to 0 or 1 than 1 / (P + 2): P pairs without an exception do not show that there is none.
    """
    values, inverse, counts = np.unique(similarity, return_inverse=True, return_counts=True)
    ones = np.bincount(inverse, same)
    pools: list[tuple[float, int, float]] = []  # pairs of one person, pairs, sum of similarities
    for value, positive, total in zip(values.tolist(), ones.tolist(), counts.tolist(), strict=True):
        pool = (positive, total, value * total)
        while pools and pools[-1][0] * pool[1] >= pool[0] * pools[-1][1]:
            last = pools.pop()
            pool = (last[0] + pool[0], last[1] + pool[1], last[2] + pool[2])
        pools.append(pool)
    least = 1 / (len(same) + 2)
    return tuple(
        (at / total, float(np.clip(positive / total, least, 1 - least)))
        for positive, total, at in pools
    )


def log_loss(p: Floats64, same: Bools, weights: Floats64 | None = None) -> float:
    """Return the mean of -log of the probability that was given to what is true."""
    given = np.maximum(np.where(same, p, 1 - p), 1e-15)
    return float(-np.average(np.log(given), weights=weights))


def brier(p: Floats64, same: Bools, weights: Floats64 | None = None) -> float:
    """Return the mean squared difference between probability and truth."""
    return float(np.average((p - same) ** 2, weights=weights))


def reliability(p: Floats64, same: Bools, bins: int = BINS) -> list[dict[str, Any]]:
    """Return pairs, mean probability and share of one person in bins of equal width."""
    place = _bin(p, bins)
    return [
        {
            "from": k / bins,
            "to": (k + 1) / bins,
            "pairs": int(inside.sum()),
            "probability": float(p[inside].mean()),
            "share": float(same[inside].mean()),
        }
        for k in range(bins)
        if (inside := place == k).any()
    ]


def expected_error(
    p: Floats64, same: Bools, weights: Floats64 | None = None, bins: int = BINS
) -> float:
    """Return the expected calibration error: mean gap of the bins, by their pairs."""
    each = np.ones(len(p)) if weights is None else weights
    gaps = np.bincount(_bin(p, bins), (p - same) * each, bins)
    return float(np.abs(gaps).sum() / each.sum())


def _bin(p: Floats64, bins: int) -> Ints:
    place: Ints = np.minimum((p * bins).astype(np.int64), bins - 1)
    return place


def scores_of(p: Floats64, same: Bools, weights: Floats64 | None = None) -> dict[str, float]:
    """Return log loss, Brier score and expected calibration error."""
    return {
        "log_loss": log_loss(p, same, weights),
        "brier": brier(p, same, weights),
        "ece": expected_error(p, same, weights),
    }


@dataclass(frozen=True)
class Fitted:
    """A calibration of all pairs, and what held-out pairs say of each method.

    Attributes:
        held_out: log_loss, brier and ece by method, each fold predicted from the others.
        probabilities: of each pair from the other folds, by the chosen method, [P].
    """

    calibration: Calibration
    held_out: Mapping[str, Mapping[str, float]]
    probabilities: Floats64


def calibrate(similarity: Floats64, same: Bools, fold: Ints, method: str | None = None) -> Fitted:
    """Fit every method on folds, and the best one, or `method`, on all pairs."""
    predicted = {}
    for name in METHODS:
        p = np.empty(len(same))
        for k in np.unique(fold):
            test = fold == k
            p[test] = fit(name, similarity[~test], same[~test]).probabilities(similarity[test])
        predicted[name] = p
    held_out = {name: scores_of(p, same) for name, p in predicted.items()}
    # of equals the one with two numbers
    chosen = method or min((LOGISTIC, ISOTONIC), key=lambda name: held_out[name]["log_loss"])
    measured: Mapping[str, Any] = held_out[chosen]
    made = replace(fit(chosen, similarity, same), **measured)
    return Fitted(made, held_out, predicted[chosen])
