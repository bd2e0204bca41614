"""From chances to questions: which pairs are asked together, and what each click is worth.

A batch shows many who may be one person; ticking and unticking cost a click each, looking a little.
Of several that may be asked together, those are that gain most for each click.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Bools, Floats64, Ints
from pipeline.clustering.questions.chances import Pairs
from pipeline.clustering.questions.persons import NOBODY, Persons
from pipeline.clustering.questions.question import Kind

# Pictures of a batch, and persons to choose from: what fits a screen.
MOST_TOGETHER, MOST_CHOICES = 24, 40
# Looking at somebody, in clicks.
LOOK = 0.04
# Less likely ones are not asked about together.
LEAST_CHANCE = 0.01


@dataclass(frozen=True, slots=True)
class Proposal:
    """What may be asked: slots, not yet a question.

    Attributes:
        kind: of the question.
        left: slot.
        others: slots, the likeliest first.
        chances: of each.
        gain: expected faces put right.
        rate: for each click.
    """

    kind: Kind
    left: int
    others: Ints
    chances: Floats64
    gain: float
    rate: float


def single_rates(pairs: Pairs) -> Floats64:
    """Return what asking each pair by itself gains for a click."""
    rates: Floats64 = pairs.chance * pairs.gain / (1 + 2 * LOOK)
    return rates


@dataclass(frozen=True)
class Groups:
    """Pairs in groups that share a person, the best of each group first.

    Attributes:
        order: rows of the pairs, int64 [N].
        starts: where each group begins, int64 [G].
        size: how many of each are asked together, int64 [G].
        rate: what that gains for a click, float64 [G].
    """

    order: Ints
    starts: Ints
    size: Ints
    rate: Floats64

    @classmethod
    def of(cls, shared: Ints, gain: Floats64, cost: Floats64, most: int) -> "Groups":
        """Choose how many of each group to ask together.

        Args:
            shared: what makes a group, int64 [N].
            gain: expected faces put right, float64 [N].
            cost: clicks beside the first, float64 [N].
            most: how many at most.
        """
        order = np.lexsort((-gain / cost, shared))
        shared, gain, cost = shared[order], gain[order], cost[order]
        starts = np.flatnonzero(np.diff(shared, prepend=-1))
        if not len(starts):
            return cls(order, starts, starts, np.zeros(0))
        lengths = np.diff(np.append(starts, len(order)))
        before = np.repeat(np.arange(len(starts)), lengths)
        total_gain = np.cumsum(gain) - (np.cumsum(gain) - gain)[starts][before]
        total_cost = np.cumsum(cost) - (np.cumsum(cost) - cost)[starts][before]
        place = np.arange(len(order)) - starts[before]
        rate = np.where(place < most, total_gain / (1 + total_cost), -np.inf)
        best = np.maximum.reduceat(rate, starts)
        is_best = np.flatnonzero(rate == best[before])
        _, first = np.unique(before[is_best], return_index=True)
        return cls(order, starts, place[is_best[first]] + 1, best)

    def rows(self, group: int) -> Ints:
        """Return the pairs of a group that are asked together."""
        start = self.starts[group]
        return self.order[start : start + self.size[group]]

    def rows_of(self, groups: Bools) -> Ints:
        """Return the pairs of some groups that are asked together."""
        lengths = np.diff(np.append(self.starts, len(self.order)))
        place = np.arange(len(self.order)) - np.repeat(self.starts, lengths)
        return self.order[np.repeat(groups, lengths) & (place < np.repeat(self.size, lengths))]


def batches(persons: Persons, pairs: Pairs) -> tuple[Pairs, Groups]:
    """Return the pairs that may be asked in batches, and the batches, by the first of each pair."""
    fit = pairs.keep(_of_a_batch(persons, pairs))
    cost = np.minimum(fit.chance, 1 - fit.chance) + LOOK
    return fit, Groups.of(fit.first, fit.chance * fit.gain, cost, MOST_TOGETHER)


def _of_a_batch(persons: Persons, pairs: Pairs) -> Bools:
    """Return which pairs are of somebody without a name, and somebody seen often or named."""
    known = (persons.faces[pairs.first] >= 2) | (persons.name[pairs.first] != NOBODY)
    result: Bools = (persons.name[pairs.second] == NOBODY) & known & (pairs.chance > LEAST_CHANCE)
    return result


def choices(persons: Persons, pairs: Pairs) -> tuple[Pairs, Groups]:
    """Return pairs, and groups of them by the second of each pair: whom it may be."""
    fit = pairs.keep(_of_a_batch(persons, pairs))
    # Somebody is one person at most.
    total = np.bincount(fit.second, fit.chance, minlength=len(persons.ids))[fit.second]
    share = fit.chance / np.maximum(1.0, total)
    fit = Pairs(fit.first, fit.second, fit.logit, share, fit.gain)
    cost = np.full(len(share), LOOK)
    return fit, Groups.of(fit.second, share * fit.gain, cost, MOST_CHOICES)
