"""Verification: are two faces one person? Accuracy by folds, rates by threshold, by group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.arrays import Bools, Floats64, Ints
from pipeline.evaluation.measures.bootstrap import intervals, pair_weights
from pipeline.evaluation.measures.curves import Curve, Sweep, curve_of, leave_out_unresolved
from pipeline.evaluation.measures.folds import Folds, k_fold, right

FARS = (1e-1, 1e-2, 1e-3, 1e-4)
Metric = Literal["cosine", "euclidean"]


@dataclass(frozen=True)
class Pairs:
    """Pairs of faces.

    Attributes:
        first, second: row of each side in the vectors, -1 for a photo without a face, int64 [P].
        same: whether both are one person.
        fold: from 0.
        person_first, person_second: number of the person on each side, from 0.
    """

    first: Ints
    second: Ints
    same: Bools
    fold: Ints
    person_first: Ints
    person_second: Ints

    def __len__(self) -> int:
        return len(self.same)

    @property
    def people(self) -> int:
        """How many people there are."""
        return int(max(self.person_first.max(), self.person_second.max())) + 1


def pair_scores(
    vectors: Floats64, pairs: Pairs, metric: Metric = "cosine", subtract_mean: bool = False
) -> Floats64:
    """Return the score of each pair by fold left out, [F, P]; one row does for all without mean.

    Cosine, or minus the Euclidean distance of unit vectors. With `subtract_mean` the mean of the
    vectors in the other folds' pairs is taken off, and vectors are brought back to unit length.
    A pair without a face has NaN.
    """
    if not subtract_mean:
        return _scores(vectors, pairs, metric)[None]
    rows = []
    for k in range(int(pairs.fold.max()) + 1):
        other = pairs.fold != k
        used = np.concatenate([pairs.first[other], pairs.second[other]])
        used = used[used >= 0]
        moved = vectors - (vectors[used].mean(axis=0) if len(used) else 0)
        length = np.linalg.norm(moved, axis=1, keepdims=True)
        rows.append(_scores(moved / np.maximum(length, 1e-12), pairs, metric))
    return np.stack(rows)


def _scores(vectors: Floats64, pairs: Pairs, metric: Metric) -> Floats64:
    cosine = np.einsum("pd,pd->p", vectors[pairs.first], vectors[pairs.second])
    # of unit vectors: |a - b|^2 = 2 - 2 cos
    score = cosine if metric == "cosine" else -np.sqrt(np.maximum(2 - 2 * cosine, 0))
    return np.where((pairs.first >= 0) & (pairs.second >= 0), score, np.nan)


@dataclass(frozen=True)
class Verification:
    """What was measured.

    Attributes:
        scores: [P], of each pair with its own fold left out.
        measures: accuracy, auc, eer, and tar_at_far_1e-03 ..., by name; NaN where the pairs are
            too few.
        intervals: 95 %, by name of the measure.
        resolved: what limits each FAR, where something does.
    """

    scores: Floats64
    folds: Folds
    curve: Curve
    measures: Mapping[str, float]
    thresholds: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    resolved: Mapping[float, str]


def verification(
    scores: Floats64, pairs: Pairs, bootstrap: int = 1000, fars: Sequence[float] = FARS
) -> Verification:
    """Return accuracy by folds, and the rates of all pairs together, with intervals over people.

    Args:
        scores: [1, P] or [F, P], see `pair_scores`.
        pairs: P of them.
        bootstrap: samples of the intervals; 0: none.
        fars: at which TAR is reported.
    """
    Sweep(scores[0], pairs.same)  # raises unless there are pairs of both kinds
    folds = k_fold(scores, pairs.same, pairs.fold)
    own = np.broadcast_to(scores, (len(folds.accuracies), len(pairs)))
    own = own[pairs.fold, np.arange(len(pairs))]
    sweep = Sweep(own, pairs.same)
    curve = curve_of(own, pairs.same)
    correct = right(own, pairs.same, 0.0).astype(np.float64)
    for k, threshold in enumerate(folds.thresholds):
        in_fold = pairs.fold == k
        correct[in_fold] = right(own[in_fold], pairs.same[in_fold], threshold)

    def resampled(people: Floats64) -> dict[str, float]:
        weights = pair_weights(people, pairs.person_first, pairs.person_second, pairs.same)
        drawn = sweep.curve(weights)
        if drawn is None:
            return {}
        return {"accuracy": float(correct @ weights / weights.sum())} | _rates(drawn, fars)

    impostors = int((~pairs.same).sum())
    measures = {"accuracy": folds.accuracy} | _rates(curve, fars)
    bounds = intervals(resampled, pairs.people, bootstrap)
    names = {far: tar_name(far) for far in fars}
    problems = leave_out_unresolved(names, impostors, "TAR", measures, bounds)
    return Verification(
        own,
        folds,
        curve,
        measures,
        {"accuracy": folds.threshold, "eer": curve.eer()[1]}
        | {tar_name(far): curve.tar_at_far(far)[1] for far in fars},
        bounds,
        problems,
    )


def tar_name(far: float) -> str:
    """Return the name of the measure TAR at a FAR."""
    return f"tar_at_far_{far:.0e}"


def _rates(curve: Curve, fars: Sequence[float]) -> dict[str, float]:
    rates = {tar_name(far): curve.tar_at_far(far)[0] for far in fars}
    return {"auc": curve.auc(), "eer": curve.eer()[0]} | rates


def threshold_table(
    scores: Floats64, same: Bools, named: Mapping[str, float], step: float = 0.05
) -> list[dict[str, Any]]:
    """Return threshold, FAR, FRR and accuracy at even steps and at the named thresholds."""
    curve = curve_of(scores, same)
    finite = scores[~np.isnan(scores)]
    rows: list[tuple[float, str]] = [(t, n) for n, t in named.items() if np.isfinite(t)]
    if len(finite):
        low, high = np.floor(finite.min() / step), np.ceil(finite.max() / step)
        rows += [(float(k * step), "") for k in np.arange(low, high + 1)]
    return [
        {
            "threshold": threshold,
            "far": curve.at(threshold)[0],
            "frr": 1 - curve.at(threshold)[1],
            "accuracy": float(right(scores, same, threshold).mean()),
            "name": name,
        }
        for threshold, name in sorted(rows)
    ]


def by_group(
    scores: Floats64, same: Bools, groups: Sequence[str | None], threshold: float
) -> dict[str, dict[str, Any]]:
    """Return rates of the pairs of each group, at one threshold for all; None: in no group.

    AUC and EER only where the group has pairs of both kinds, else None; so with FAR and FRR.
    """
    result = {}
    names = np.array([group if group is not None else "" for group in groups], dtype=object)
    inside = np.array([group is not None for group in groups], dtype=bool)
    for name in sorted(set(names[inside])):
        in_group = inside & (names == name)
        score, kind = scores[in_group], same[in_group]
        accepted = np.nan_to_num(score, nan=-np.inf) >= threshold
        row: dict[str, Any] = {
            "pairs": int(in_group.sum()),
            "same": int(kind.sum()),
            "accuracy": float(right(score, kind, threshold).mean()),
            "far": float(accepted[~kind].mean()) if (~kind).any() else None,
            "frr": float(1 - accepted[kind].mean()) if kind.any() else None,
            "auc": None,
            "eer": None,
        }
        if 0 < kind.sum() < len(kind):
            curve = curve_of(score, kind)
            row |= {"auc": curve.auc(), "eer": curve.eer()[0]}
        result[str(name)] = row
    return result
