"""Bootstrap intervals over people or photos: what is independent is drawn, not what follows.

Pairs of one person, and all pairs with the same person on one side, rise and fall together:
drawing pairs gives intervals that are too narrow. People are drawn with replacement instead; a pair
of one person counts as often as the person was drawn, a pair of two as the product of both
(the vertex bootstrap: Snijders and Borgatti, Connections 22, 1999; for 1:1 matching Fogliato et
al., IJCV 2024). Where each person is in few pairs of two, this is wider than it need be.
"""

from collections.abc import Callable, Mapping

import numpy as np

from pipeline.arrays import Bools, Floats64, Ints

TAILS = ((1 - 0.95) / 2, (1 + 0.95) / 2)
Interval = tuple[float, float]


def intervals(
    measure: Callable[[Floats64], Mapping[str, float]], units: int, samples: int, seed: int = 0
) -> dict[str, Interval]:
    """Return 95 % percentile intervals of what `measure` says of weights [units].

    A measure that a sample cannot tell is NaN there and left out of its interval.
    """
    random = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {}
    for _ in range(samples):
        weights = np.bincount(random.integers(0, units, units), minlength=units)
        for name, value in measure(weights.astype(np.float64)).items():
            if np.isfinite(value):
                drawn.setdefault(name, []).append(value)
    bounds = {name: np.quantile(values, TAILS) for name, values in drawn.items()}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}


def pair_weights(people: Floats64, first: Ints, second: Ints, same: Bools) -> Floats64:
    """Return how often each pair [P] counts when each person [I] counts `people` times."""
    weights: Floats64 = np.where(same, people[first], people[first] * people[second])
    return weights
