"""Which persons are most like each other: found once, and kept up to date as persons change.

Persons of several faces are compared with everybody at the start. Two persons seen once gain little
by being joined: these pairs are compared later, a block at each call.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.arrays import Bools, Floats32, Floats64, Ints
from pipeline.clustering.questions.persons import NOBODY, Persons

# Persons that are kept in mind for each one.
NEAREST = 16
# Products of a block: what it holds in memory is 4 bytes each, of a slow core half a second.
BLOCK = 16_000_000
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
        """Compare persons of several faces with everybody."""
        size = len(self.persons.ids)
        self.slots = np.full((size, NEAREST), NOBODY)
        self.gaps = np.full((size, NEAREST), -np.inf, np.float32)
        several = np.flatnonzero(self.persons.asked & (self.persons.counts >= 2))
        everybody = np.flatnonzero(self.persons.asked)
        for _ in self._compare(several, everybody):
            pass
        alone = np.flatnonzero(self.persons.asked & (self.persons.counts < 2))
        self._later = self._compare(alone, alone)

    def more(self) -> bool:
        """Compare another block of persons seen once; return whether there was one."""
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

    def _gap(self, cosine: Floats64, first: Ints, second: Ints) -> Floats64:
        threshold, counts = self.persons.clustering.threshold, self.persons.counts
        needed = threshold.cosine(counts[first], counts[second])
        result: Floats64 = (cosine - needed) / threshold.sd
        return result

    def _compare(self, rows: Ints, others: Ints) -> Iterator[None]:
        """Compare some persons with others, and keep the best of both; a block at a time."""
        threshold = self.persons.clustering.threshold
        alone = bool(len(others)) and bool((self.persons.counts[others] < 2).all())
        needed = float(threshold.cosine(1, 1)) if alone else threshold.floor
        least = needed - (REACH_ALONE if alone else REACH) * threshold.sd
        step = max(1, BLOCK // max(1, len(others)))
        means = self.persons.means
        columns = means[others] if len(rows) else means[:0]
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            # Of pairs that are compared both ways one is enough.
            cosine = means[block] @ columns.T
            row, column = np.nonzero(cosine > least)
            first, second = block[row], others[column]
            keep = first != second
            first, second = first[keep], second[keep]
            gap = self._gap(cosine[row, column][keep].astype(np.float64), first, second)
            keep = gap > -(REACH_ALONE if alone else REACH)
            self.offer(first[keep], second[keep], gap[keep])
            yield None

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
