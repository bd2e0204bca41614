"""How good a head is: rates of each person and of all, and the open set, with intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.arrays import Bools, Floats64, Ints
from pipeline.evaluation.measures.bootstrap import intervals
from pipeline.evaluation.measures.calibrate import reliability, scores_of
from pipeline.training.algorithms.openset import balanced, threshold_at

Z = 1.959963984540054  # of a 95 % interval
MACRO = ("precision", "recall", "f1")
# Bootstrapped F1 of single people in memory: above it they have no interval.
MOST_DRAWN = 2_000_000


def wilson(successes: int, trials: int) -> tuple[float, float] | None:
    """Return the 95 % interval of a share (Wilson, JASA 22, 1927); None without trials."""
    if not trials:
        return None
    share, z2 = successes / trials, Z * Z
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z / (1 + z2 / trials) * np.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    # The bounds at 0 and 1 are exact; rounding must not push them off.
    low = 0.0 if not successes else float(centre - half)
    return low, 1.0 if successes == trials else float(centre + half)


@dataclass(frozen=True)
class Rates:
    """Rates of C people, each [C]; precision is 0 for somebody who is never named."""

    precision: Floats64
    recall: Floats64
    f1: Floats64
    tested: Floats64
    named: Floats64
    right: Floats64


def rates(true: Ints, named: Ints, people: int, weights: Floats64 | None = None) -> Rates:
    """Return the rates of people by faces [N]: who they are, and whom the head names."""
    each = np.ones(len(true)) if weights is None else weights
    right, tested, count = (
        np.bincount(of, by, people).astype(np.float64)
        for of, by in ((true, each * (true == named)), (true, each), (named, each))
    )
    precision = right / np.where(count > 0, count, 1)
    recall = right / np.where(tested > 0, tested, 1)
    f1 = 2 * right / np.where(tested + count > 0, tested + count, 1)
    return Rates(precision, recall, f1, tested, count, right)


def closed_set(
    true: Ints, named: Ints, image: Ints, people: int, samples: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return measures of all, and of each person, for faces of known people, no threshold.

    Macro measures are means over the people who have faces in the test. Intervals of shares of
    faces (accuracy, precision, recall) are Wilson's; those of F1 and of macro measures are
    bootstrap intervals over images.

    Args:
        true: number of the person of each face, [N].
        named: whom the head names, [N].
        image: of each face, [N].
        people: how many were learnt.
        samples: of the bootstrap.
    """
    _, unit = np.unique(image, return_inverse=True)

    def measure(weights: Floats64) -> dict[str, float]:
        one = rates(true, named, people, weights[unit])
        shown = np.flatnonzero(one.tested) if people * samples <= MOST_DRAWN else ()
        return _macro(one) | {f"f1 {k}": float(one.f1[k]) for k in shown}

    whole = rates(true, named, people)
    drawn = intervals(measure, int(unit.max()) + 1, samples) if samples else {}
    # Images that all agree show no spread, which does not mean that there is none.
    bounds = {name: ends for name, ends in drawn.items() if ends[0] < ends[1]}
    right = int(whole.right.sum())
    summary: dict[str, Any] = {"accuracy": right / len(true), **_macro(whole)}
    macro = {name: bounds[name] for name in summary if name in bounds}
    summary["intervals"] = {"accuracy": wilson(right, len(true)), **macro}
    summary |= {"faces": len(true), "people": int((whole.tested > 0).sum())}
    return summary, [_person(whole, k, bounds) for k in range(people)]


def _macro(one: Rates) -> dict[str, float]:
    there = one.tested > 0
    return {f"macro_{name}": float(getattr(one, name)[there].mean()) for name in MACRO}


def _person(whole: Rates, k: int, bounds: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    tested, named, right = (int(of[k]) for of in (whole.tested, whole.named, whole.right))
    there = {name: float(getattr(whole, name)[k]) if tested else None for name in MACRO}
    ends = {
        "precision": wilson(right, named),
        "recall": wilson(right, tested),
        "f1": bounds.get(f"f1 {k}"),
    }
    sides = {
        f"{name}_{side}": ends[name][at] if ends[name] and tested else None  # type: ignore[index]
        for name in MACRO
        for at, side in enumerate(("low", "high"))
    }
    return {"tested": tested, "named": named, "right": right, **there, **sides}


def open_set(
    probability: Floats64, right: Bools, stranger: Bools, threshold: float, false_alarms: float
) -> dict[str, Any]:
    """Return how known people and strangers [N] fare at a threshold, and how true p is.

    `detected` is the detection and identification rate: the share of known people's faces that
    are accepted under the right name. `detected_at_false_alarms` is the same at the threshold that
    these very strangers would have set, as benchmarks report it. None: no strangers to tell it by.
    """
    accepted = probability >= threshold
    known, strangers = int((~stranger).sum()), int(stranger.sum())
    detected, alarms = int((accepted & right).sum()), int((accepted & stranger).sum())
    wrong = int((accepted & ~right & ~stranger).sum())
    ideal = threshold_at(probability, stranger, false_alarms)
    weights = balanced(stranger)
    return {
        "known_faces": known,
        "stranger_faces": strangers,
        "detected": detected / known if known else None,
        "taken_for_another": wrong / known if known else None,
        "false_alarms": alarms / strangers if strangers else None,
        "detected_at_false_alarms": float((right & (probability >= ideal)).sum() / known)
        if strangers and known
        else None,
        "intervals": {
            "detected": wilson(detected, known),
            "false_alarms": wilson(alarms, strangers),
        },
        "probabilities": scores_of(probability, right, weights) if len(right) else None,
        "reliability": reliability(probability, right) if len(right) else [],
    }
