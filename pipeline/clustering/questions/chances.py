"""How likely two persons are one, and what it would be worth to know.

The chance is logistic in what clustering measures: how much more alike the two are than they need,
how much more than the next best, how many pictures there are, and how many faces have a person for
each one that is alone. The coefficients were fitted on half of the people of the development sets,
as whole lakes and as small ones (`benchmarks/reviewer.py`); every answer corrects the constant.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Bools, Floats64, Ints
from pipeline.clustering.questions.near import Near
from pipeline.clustering.questions.persons import NOBODY

# The constant, for each deviation above one below what is needed, for each deviation that the next
# best is behind (at most one) or ahead (at most `MOST_BEHIND`), and for each factor e of pictures
# of the larger one, and of the other, who is a rest of somebody and so seldom large.
BASE, GAP, LEAD, BEHIND, PICTURES, OTHER = -6.1, 2.3, 2.0, 0.55, 0.17, -1.5
LEAST_GAP, MOST_BEHIND, MOST_PICTURES, MOST_OTHER = -1.0, 1.5, 30, 4
# Of two persons seen once; of two whom a photo shows side by side.
BOTH_ALONE, SIDE_BY_SIDE = -0.25, -2.0
# Bounds of the logarithm of faces that have company by faces alone.
LEAST_RATIO, MOST_RATIO = -2.0, 3.0
# The answers of a lake shift the constant by so much, one deviation.
SHIFT = 0.7
ROUNDS = 20


@dataclass(frozen=True)
class Pairs:
    """Pairs of persons who may be one, `first` the one who has a name or else is larger.

    Attributes:
        first, second: slots, int64 [N].
        logit: of the chance without what answers have taught, float64 [N].
        chance: that they are one, float64 [N].
        gain: faces that are put right if they are, float64 [N].
    """

    first: Ints
    second: Ints
    logit: Floats64
    chance: Floats64
    gain: Floats64

    def keep(self, rows: Bools) -> "Pairs":
        """Return some of them."""
        return Pairs(**{name: values[rows] for name, values in vars(self).items()})


@dataclass
class Chances:
    """Chances of a lake, which answers correct.

    Attributes:
        shift: of the constant.
    """

    shift: float = 0.0

    def learn(self, answers: Sequence[tuple[float, bool]]) -> None:
        """Take all answers so far: the logit before, and whether the two are one."""
        self.shift = 0.0
        if not answers:
            return
        asked, yes = np.array(answers, np.float64).T
        for _ in range(ROUNDS):
            chance = logistic(asked + self.shift)
            slope = (chance * (1 - chance)).sum() + 1 / SHIFT**2
            self.shift += float(((yes - chance).sum() - self.shift / SHIFT**2) / slope)

    def pairs(self, near: Near, apart: Ints) -> Pairs:
        """Return all pairs that anybody may be asked about.

        Args:
            near: who is like whom.
            apart: keys of pairs of slots that are two people, ascending.
        """
        persons = near.persons
        row, column = np.nonzero(near.slots != NOBODY)
        other = near.slots[row, column]
        _, once = np.unique(persons.keys(row, other), return_index=True)
        row, other, gap = row[once], other[once], near.gaps[row, column][once].astype(np.float64)
        rank = np.where(persons.name != NOBODY, 1e12, 0.0) + persons.faces
        swap = (rank[row] < rank[other]) | ((rank[row] == rank[other]) & (row > other))
        first, second = np.where(swap, other, row), np.where(swap, row, other)
        names = persons.name[first], persons.name[second]
        named_apart = (names[0] != NOBODY) & (names[1] != NOBODY) & (names[0] != names[1])
        keys = persons.keys(first, second)
        open_pair = persons.asked[first] & persons.asked[second] & ~named_apart
        open_pair &= ~np.isin(keys, apart)
        first, second, gap = first[open_pair], second[open_pair], gap[open_pair]
        logit = self.logit(near, first, second, gap)
        a, b = persons.faces[first], persons.faces[second]
        gain = 2 * a * b / np.maximum(1, a + b)
        return Pairs(first, second, logit, logistic(logit + self.shift), gain)

    def logit(self, near: Near, first: Ints, second: Ints, gap: Floats64) -> Floats64:
        """Return the logit of the chance of pairs, without what answers have taught."""
        persons = near.persons
        small = np.where(persons.counts[first] < persons.counts[second], first, second)
        large = first + second - small
        best = np.where(near.slots[small, 0] == large, 1, 0)
        lead = gap - np.maximum(near.gaps[small, best], -9.0)
        values = BASE + GAP * (np.maximum(gap, LEAST_GAP) - LEAST_GAP)
        values += LEAD * np.clip(lead, 0, 1) + BEHIND * np.clip(lead, -MOST_BEHIND, 0)
        counts = np.maximum(persons.counts, 1)
        values += PICTURES * np.log(np.minimum(counts[large], MOST_PICTURES))
        values += OTHER * np.log(np.minimum(counts[small], MOST_OTHER))
        values += BOTH_ALONE * (counts[large] < 2) + ratio(near)
        beside = np.isin(persons.keys(first, second), persons.beside)
        result: Floats64 = values + SIDE_BY_SIDE * beside
        return result


def ratio(near: Near) -> float:
    """Return the logarithm of faces with company by faces alone: who is likely to have some."""
    counts = near.persons.counts[near.persons.asked]
    several, alone = counts[counts >= 2].sum(), (counts < 2).sum()
    return float(np.clip(np.log((several + 1) / (alone + 1)), LEAST_RATIO, MOST_RATIO))


def logistic(values: Floats64) -> Floats64:
    """Return probabilities of logits."""
    result: Floats64 = 1 / (1 + np.exp(-values))
    return result
