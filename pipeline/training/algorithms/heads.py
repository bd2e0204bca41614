"""Heads: who of the people that were learnt does a vector look like?

scikit-learn fits `logistic` (multinomial, L2) and `svm` (linear, squared hinge, one against the
rest); people weigh the same however many faces they have. What is kept is plain arrays, and what
applies them is NumPy.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Floats64, Ints
from pipeline.training.extra import extra

Kind = Literal["logistic", "svm", "centroid", "knn"]
KINDS: tuple[str, ...] = get_args(Kind)
MOST_STEPS = 10_000
# Similarities in memory at once: 128 MB.
AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Evidence:
    """What a head says of N vectors.

    Attributes:
        person: the most likely one, [N].
        margin: by how much the score leads the next person's, [N]; 0 where there is no other.
        similarity: cosine to the mean of the person, or for `knn` the mean cosine to the person's
            nearest faces, [N].
    """

    person: Ints
    margin: Floats64
    similarity: Floats64


@dataclass(frozen=True)
class Head:
    """What was learnt of C people.

    Attributes:
        kind: one of `KINDS`.
        people: their numbers, [C].
        centres: unit mean of each, [C, D].
        weights, bias: [C, D] and [C]; the score is their product and sum. Empty for `knn`.
        faces: vectors that were learnt from, [M, D], and `owner`: row of `people` of each, [M],
            rising. Empty but for `knn`.
        neighbours: how many faces of a person `knn` compares.
    """

    kind: str
    people: Ints
    centres: Floats64
    weights: Floats64
    bias: Floats64
    faces: Floats64
    owner: Ints
    neighbours: int = 1

    def evidence(self, vectors: npt.ArrayLike) -> Evidence:
        """Return what the head says of unit vectors [N, D]."""
        rows: Floats64 = np.asarray(vectors, np.float64)
        step = max(1, AT_ONCE // max(len(self.people), len(self.faces)))
        parts = [self._evidence(rows[at : at + step]) for at in range(0, len(rows), step)]
        if not parts:
            return Evidence(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
        return Evidence(*(np.concatenate([getattr(part, name) for part in parts])
                          for name in ("person", "margin", "similarity")))  # fmt: skip

    def _evidence(self, rows: Floats64) -> Evidence:
        scores = self._nearest(rows) if self.kind == "knn" else rows @ self.weights.T + self.bias
        best = scores.argmax(axis=1)
        at = np.arange(len(rows))
        top = scores[at, best]
        if len(self.people) > 1:
            others = scores.copy()
            others[at, best] = -np.inf
            margin = top - others.max(axis=1)
        else:
            margin = np.zeros(len(rows))
        similarity = top if self.kind == "knn" else (rows * self.centres[best]).sum(axis=1)
        return Evidence(self.people[best], margin, similarity)

    def _nearest(self, rows: Floats64) -> Floats64:
        """Return the mean cosine to the nearest faces of each person, [N, C]."""
        cosines = rows @ self.faces.T
        starts = np.searchsorted(self.owner, np.arange(len(self.people) + 1))
        scores = np.empty((len(rows), len(self.people)))
        for k, (start, end) in enumerate(pairwise(starts.tolist())):
            own = cosines[:, start:end]
            count = min(self.neighbours, end - start)
            scores[:, k] = np.partition(own, end - start - count, axis=1)[:, -count:].mean(axis=1)
        return scores

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by the names of the attributes."""
        return {name: getattr(self, name) for name in ARRAYS}


ARRAYS = ("people", "centres", "weights", "bias", "faces", "owner")


def check_arrays(kind: str, arrays: Mapping[str, np.ndarray], dimension: int) -> None:
    """Raise ValueError unless arrays are those of a head for vectors of `dimension` numbers."""
    count = len(arrays["people"])
    linear = 0 if kind == "knn" else count
    shapes = {
        "people": (count,), "centres": (count, dimension), "weights": (linear, dimension),
        "bias": (linear,), "owner": (len(arrays["faces"]),),
        "faces": (len(arrays["faces"]) if kind == "knn" else 0, dimension),
    }  # fmt: skip
    for name, shape in shapes.items():
        kinds = "iu" if name in ("people", "owner") else "f"
        if arrays[name].shape != shape or arrays[name].dtype.kind not in kinds:
            raise ValueError(f"{name} has the shape {arrays[name].shape}, {shape} is needed")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} is not finite")
    if kind == "knn" and not np.array_equal(np.unique(arrays["owner"]), np.arange(count)):
        raise ValueError("owner does not name every person")


def fit(
    kind: str, vectors: Floats64, person: Ints, *, cost: float = 10.0, neighbours: int = 3
) -> Head:
    """Learn a head.

    Args:
        kind: one of `KINDS`.
        vectors: unit vectors [N, D].
        person: number of the person of each, [N]; the head knows those that are there.
        cost: of an error, `C` of scikit-learn.
        neighbours: for `knn`.

    Raises:
        ConfigError: scikit-learn is needed and not installed.
    """
    people, owner = np.unique(person, return_inverse=True)
    dimension = vectors.shape[1]
    none, no_bias, nobody = np.zeros((0, dimension)), np.zeros(0), np.zeros(0, np.int64)
    centres = np.stack([_unit(vectors[owner == k].mean(axis=0)) for k in range(len(people))])
    if kind == "knn":
        order = np.argsort(owner, kind="stable")
        return Head(kind, people, centres, none, no_bias, vectors[order], owner[order], neighbours)
    if kind == "centroid":
        weights, bias = centres, np.zeros(len(people))
    elif len(people) == 1:  # nobody to tell from: every score is the same
        weights, bias = np.zeros((1, dimension)), np.zeros(1)
    else:
        weights, bias = _linear(kind, vectors, owner, cost)
    return Head(kind, people, centres, weights, bias, none, nobody)


def _unit(vector: Floats64) -> Floats64:
    unit: Floats64 = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return unit


def _linear(kind: str, vectors: Floats64, owner: Ints, cost: float) -> tuple[Floats64, Floats64]:
    linear, exceptions = sklearn("linear_model"), sklearn("exceptions")
    common = {"C": cost, "class_weight": "balanced", "max_iter": MOST_STEPS}
    estimator = (
        linear.LogisticRegression(**common)
        if kind == "logistic"
        else sklearn("svm").LinearSVC(dual=False, **common)
    )
    with warnings.catch_warnings():
        # A head that is not at its very best is measured as it is.
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        estimator.fit(vectors, owner)
    weights, bias = np.asarray(estimator.coef_), np.asarray(estimator.intercept_)
    if len(weights) == 1:  # two people have one row, for the second against the first
        first = -1.0 if kind == "svm" else 0.0
        weights, bias = np.stack([first * weights[0], weights[0]]), np.array([first, 1.0]) * bias
    return weights, bias


def sklearn(module: str) -> Any:
    """Return a module of scikit-learn.

    Raises:
        ConfigError: it is not installed.
    """
    return extra(f"sklearn.{module}")
