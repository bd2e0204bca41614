"""Error rates over all thresholds, from the scores of genuine and impostor trials.

A trial is accepted where its score is at least the threshold. FAR and FRR are those of ISO/IEC
19795-1: of impostor trials the share accepted, of genuine ones the share rejected. A trial without
a score (NaN: no face was found) is accepted at no threshold.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Bools, Floats64, Ints
from pipeline.errors import ConfigError

# A share such as 1e-3 of 3,000 must allow three errors although 0.001 is a little more or less.
SLACK = 1e-9


@dataclass(frozen=True)
class Curve:
    """Rates at falling thresholds; the first accepts nothing, the last everything.

    Attributes:
        thresholds: [K], from infinity down; minus infinity where trials have no score.
        far: share of impostor trials accepted, rising from 0 to 1.
        tar: share of genuine trials accepted, rising from 0 to 1.
    """

    thresholds: Floats64
    far: Floats64
    tar: Floats64

    def auc(self) -> float:
        """Return the area under the ROC curve; trials of equal score count half."""
        return float(np.trapezoid(self.tar, self.far))

    def eer(self) -> tuple[float, float]:
        """Return the rate at which FAR equals FRR, and the threshold there.

        Between two thresholds both rates are taken as straight lines.
        """
        gap = self.far - (1 - self.tar)
        after = int(np.argmax(gap >= 0))  # the first gap is -1, the last 1
        before = after - 1
        part = gap[before] / (gap[before] - gap[after])
        rate = self.far[before] + part * (self.far[after] - self.far[before])
        high, low = float(self.thresholds[before]), float(self.thresholds[after])
        # the ends of the curve are at infinity: then the threshold is its neighbour
        if np.isinf(high):
            high = low
        threshold = high if np.isinf(low) else high + part * (low - high)
        return float(rate), float(threshold)

    def at_far(self, far: float) -> int:
        """Return the index of the lowest threshold at which FAR is at most `far`."""
        return int(np.flatnonzero(self.far <= far + SLACK)[-1])

    def tar_at_far(self, far: float) -> tuple[float, float]:
        """Return the largest TAR at a FAR of at most `far`, and the threshold there."""
        at = self.at_far(far)
        return float(self.tar[at]), float(self.thresholds[at])

    def at(self, threshold: float) -> tuple[float, float]:
        """Return FAR and TAR at a threshold."""
        last = int(np.flatnonzero(self.thresholds >= threshold)[-1])
        return float(self.far[last]), float(self.tar[last])

    def lean(self, most: int = 2000) -> "Curve":
        """Return the curve without points inside straight lines, and of at most about `most`."""
        corner = np.ones(len(self.far), dtype=bool)
        corner[1:-1] = ~(
            ((self.far[1:-1] == self.far[:-2]) & (self.far[1:-1] == self.far[2:]))
            | ((self.tar[1:-1] == self.tar[:-2]) & (self.tar[1:-1] == self.tar[2:]))
        )
        index = np.flatnonzero(corner)
        if len(index) > most:  # even steps of rank keep both ends
            index = index[np.unique(np.linspace(0, len(index) - 1, most).astype(int))]
        return Curve(self.thresholds[index], self.far[index], self.tar[index])


class Sweep:
    """Trials in order of their scores, ready for curves with many weights.

    Args:
        scores: [P], NaN for a trial without a score.
        genuine: [P], whether the trial is one of a person with themselves.

    Raises:
        ConfigError: there are no genuine or no impostor trials.
    """

    def __init__(self, scores: Floats64, genuine: Bools) -> None:
        count = int(genuine.sum())
        if not 0 < count < len(genuine):
            raise ConfigError(
                f"{count} trials of one person and {len(genuine) - count} of two people; rates "
                "need both kinds"
            )
        ranked = np.where(np.isnan(scores), -np.inf, scores)
        self.order: Ints = np.argsort(-ranked, kind="stable")
        ordered = ranked[self.order]
        self.ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        self.thresholds = np.concatenate([[np.inf], ordered[self.ends]])
        self.genuine = genuine[self.order]

    def curve(self, weights: Floats64 | None = None) -> Curve | None:
        """Return the curve, trials counting `weights` times (default once); None without a kind."""
        each = np.ones(len(self.order)) if weights is None else weights[self.order]
        accepted = [
            np.concatenate([[0.0], np.cumsum(np.where(kind, each, 0.0))[self.ends]])
            for kind in (~self.genuine, self.genuine)
        ]
        if any(total[-1] <= 0 for total in accepted):
            return None
        far, tar = (total / total[-1] for total in accepted)
        return Curve(self.thresholds, far, tar)


def curve_of(scores: Floats64, genuine: Bools) -> Curve:
    """Return the curve of trials that count once each."""
    curve = Sweep(scores, genuine).curve()
    assert curve is not None  # a Sweep has both kinds
    return curve


def resolvable(far: float, impostors: int) -> bool:
    """Return whether so many impostor trials allow an error at a FAR."""
    return far * impostors + SLACK >= 1


def resolution(far: float, impostors: int) -> str | None:
    """Say what is wrong with a rate among so many impostor trials; None where nothing is.

    Below 1 / trials no threshold but that of zero errors has the rate; a rate seen on fewer than
    30 errors is off by a third or more (Doddington's rule of 30, ISO/IEC 19795-1).
    """
    errors = int(far * impostors + SLACK)
    if not resolvable(far, impostors):
        return f"cannot be resolved: {impostors:,} impostor trials, it takes {1 / far:,.0f} or more"
    if errors < 30:
        return f"rests on {errors} of {impostors:,} impostor trials"
    return None


def leave_out_unresolved(
    names: Mapping[float, str],
    impostors: int,
    what: str,
    measures: dict[str, float],
    bounds: dict[str, tuple[float, float]],
) -> dict[float, str]:
    """Say what is wrong with rates among so many impostor trials, and take out those that are none.

    Args:
        names: of the measure, by the rate of false accepts that it is reported at.
        impostors: trials.
        what: is measured, "TAR" or "FNIR".
        measures: by name; NaN is put where a rate cannot be resolved.
        bounds: by name; those go.

    Returns:
        What is wrong, by rate; rates that are sound are not in it.
    """
    problems = {}
    for rate, name in names.items():
        problem = resolution(rate, impostors)
        if not resolvable(rate, impostors):
            problem = f"{problem}; where none is accepted, {what} is {measures[name]:.4f}"
            measures[name] = float("nan")
            bounds.pop(name, None)
        if problem:
            problems[rate] = problem
    return problems
