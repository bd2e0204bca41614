"""Which persons are most like each other: found once, and kept up to date as persons change.

Those of most faces are compared with everybody at the start: most can be gained there. The others
are compared later, a block at each call, those seen once last.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from pipeline.arrays import Bools, Floats32, Floats64, Ints
from pipeline.clustering.algorithms.threshold import NORMAL
from pipeline.clustering.questions.persons import NOBODY, Persons

# Persons that are kept in mind for each one.
NEAREST = 16
# Pairs of a block, 4 bytes each, which every question waits for; and those that are compared before
# the first question.
BLOCK, AT_ONCE = 3_000_000, 80_000_000
# Strangers who are as similar to somebody by chance: more are not looked at.
STRANGERS = 24
# Pairs less alike by as many deviations of strangers than two large groups need are not looked at.
REACH = 3.0
# Of two persons seen once, who need more.
REACH_ALONE = 2.0


@dataclass
class Near:
    """The most similar persons of each one.

    Attributes:
        persons: who they are.
        slots: nearest slots of each, `NOBODY` where there are fewer, int64 [S, NEAREST].
        open: whether there is more to compare.
        gaps: how much more alike the two are than they need, in deviations of strangers, -inf
            where there is nobody, float32 [S, NEAREST].
    """

    persons: Persons
    slots: Ints = field(init=False)
    gaps: Floats32 = field(init=False)
    open: bool = field(init=False, default=True)
    _later: Iterator[None] = field(init=False)

    def __post_init__(self) -> None:
        """Compare those of most faces with everybody; the others come later."""
        size = len(self.persons.ids)
        self.slots = np.full((size, NEAREST), NOBODY)
        self.gaps = np.full((size, NEAREST), -np.inf, np.float32)
        everybody = np.flatnonzero(self.persons.asked)
        counts = self.persons.counts
        several = everybody[counts[everybody] >= 2]
        several = several[np.argsort(-counts[several], kind="stable")]
        now = max(1, AT_ONCE // max(1, len(everybody)))
        for _ in self._compare(several[:now], everybody):
            pass
        alone = everybody[counts[everybody] < 2]
        self._later = chain(self._compare(several[now:], everybody), self._compare(alone, alone))

    def more(self) -> bool:
        """Compare another block of persons; return whether there was one."""
        self.open = self.open and next(self._later, 0) is None
        return self.open

    def update(self, changed: Sequence[int]) -> None:
        """Compare persons who have changed with everybody."""
        more = len(self.persons.ids) - len(self.slots)
        if more:
            self.slots = np.concatenate([self.slots, np.full((more, NEAREST), NOBODY)])
            empty = np.full((more, NEAREST), -np.inf, np.float32)
            self.gaps = np.concatenate([self.gaps, empty])
        if not len(changed):
            return
        gone = np.isin(self.slots, changed) & (self.slots != NOBODY)
        self.slots[gone], self.gaps[gone] = NOBODY, -np.inf
        self.slots[list(changed)], self.gaps[list(changed)] = NOBODY, -np.inf
        asked = self.persons.asked
        rows = np.array([slot for slot in changed if asked[slot]], np.int64)
        for _ in self._compare(rows, np.flatnonzero(asked)):
            pass

    def likeness(self, slot: int, others: Ints) -> Floats64:
        """Return by how many deviations of strangers one is more like others than needed."""
        cosine = (self.persons.means[others] @ self.persons.means[slot]).astype(np.float64)
        return self._gap(cosine, np.full(len(others), slot), others)

    def _gap(self, cosine: Floats64, first: Ints, second: Ints) -> Floats64:
        threshold, counts = self.persons.clustering.threshold, self.persons.counts
        needed = threshold.cosine(counts[first], counts[second])
        result: Floats64 = (cosine - needed) / threshold.sd
        return result

    def _compare(self, rows: Ints, others: Ints) -> Iterator[None]:
        """Compare some persons with others, and keep the best of both; a block at a time."""
        alone = bool(len(others)) and bool((self.persons.counts[others] < 2).all())
        reach, least = REACH_ALONE if alone else REACH, self._least(len(others), alone)
        step = max(1, BLOCK // max(1, len(others)))
        columns = self.persons.means[others] if len(rows) else self.persons.means[:0]
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            cosine = self.persons.means[block] @ columns.T
            found = np.flatnonzero(cosine > least)
            first, second = block[found // len(others)], others[found % len(others)]
            values = cosine.reshape(-1)[found].astype(np.float64)
            gap = self._gap(values, first, second)
            keep = (first != second) & (gap > -reach)
            self.offer(first[keep], second[keep], gap[keep])
            yield None

    def _least(self, others: int, alone: bool) -> float:
        """Return the similarity below which pairs are not looked at."""
        threshold = self.persons.clustering.threshold
        needed = float(threshold.cosine(1, 1)) if alone else threshold.floor
        spread = float(threshold.spread(1, 1 if alone else 2))
        share = min(0.5, STRANGERS / max(1, others))
        common = threshold.mean - NORMAL.inv_cdf(share) * spread
        return max(common, needed - (REACH_ALONE if alone else REACH) * threshold.sd)

    def offer(self, first: Ints, second: Ints, gap: Floats64) -> None:
        """Keep pairs that are among the best of one of the two, by their gaps."""
        source, target = np.concatenate([first, second]), np.concatenate([second, first])
        values = np.concatenate([gap, gap]).astype(np.float32)
        touched = np.unique(source)
        if not len(touched):
            return
        kept = self.slots[touched]
        row, column = np.nonzero(kept != NOBODY)
        source = np.concatenate([source, touched[row]])
        target = np.concatenate([target, kept[row, column]])
        values = np.concatenate([values, self.gaps[touched][row, column]])
        _, once = np.unique(source << 32 | target, return_index=True)
        source, target, values = source[once], target[once], values[once]
        order = np.lexsort((target, -values, source))
        source, target, values = source[order], target[order], values[order]
        place = np.arange(len(source)) - np.searchsorted(source, source)
        best: Bools = place < NEAREST
        self.slots[touched], self.gaps[touched] = NOBODY, -np.inf
        self.slots[source[best], place[best]] = target[best]
        self.gaps[source[best], place[best]] = values[best]
