"""Groups of copies as stars: everybody in a group is a copy of the one that is kept.

Never by chains: of a row of pictures that each resemble the next, the ends may show different
things.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Bools, Ints
from pipeline.dedupe.algorithms.hamming import Pairs

NOBODY = -1


@dataclass(frozen=True)
class Lists:
    """Several numbers for each of N: those of i are `values[starts[i]:starts[i + 1]]`."""

    starts: Ints
    values: Ints

    @classmethod
    def of(cls, owner: Ints, values: Ints, count: int) -> "Lists":
        """Return the values of each owner, in the order given."""
        order = np.argsort(owner, kind="stable")
        starts = np.searchsorted(owner[order], np.arange(count + 1))
        return cls(starts, values[order])

    def __getitem__(self, i: int) -> Ints:
        return self.values[self.starts[i] : self.starts[i + 1]]


@dataclass(frozen=True)
class Near:
    """Copies by hash, of one way of looking: as they are, or one of them turned.

    Attributes:
        kind: number of the kind; the lower, the better evidence.
        hashes: of each class, none to two.
        owners: classes of each hash.
        alike: whether classes with one hash are copies.
        edges: number of the pair, by hash, int64 lists of 2P over H hashes.
        other: the hash at the other end of each pair and direction, int64 [2P].
        bits: of each, int64 [2P].
    """

    kind: int
    hashes: Lists
    owners: Lists
    alike: bool
    edges: Lists
    other: Ints
    bits: Ints

    @classmethod
    def of(cls, kind: int, hashes: Lists, owners: Lists, pairs: Pairs, alike: bool) -> "Near":
        """Return pairs seen from both ends."""
        ends = np.concatenate([pairs.first, pairs.second])
        numbers = np.arange(len(ends))
        return cls(
            kind,
            hashes,
            owners,
            alike,
            Lists.of(ends, numbers, len(owners.starts) - 1),
            np.concatenate([pairs.second, pairs.first]),
            np.concatenate([pairs.bits, pairs.bits]),
        )


@dataclass(frozen=True)
class Graph:
    """Who may be a copy of whom, among classes of equal pixels.

    Attributes:
        near: by hash.
        others: copies of each class by other evidence, and its kind.
    """

    near: tuple[Near, ...]
    others: tuple[tuple[int, Lists], ...]

    def around(self, class_: int) -> tuple[Ints, Ints, Ints]:
        """Return the classes that may be copies of `class_`, bits (-1: not by hash) and kinds.

        Each stands there once, by its best evidence.
        """
        none = np.zeros(0, np.int64)
        classes, bits, kinds = [none], [none], [none]

        def add(others: Ints, distance: int, kind: int) -> None:
            classes.append(others)
            bits.append(np.full(len(others), distance))
            kinds.append(np.full(len(others), kind))

        for near in self.near:
            for own in near.hashes[class_].tolist():
                if near.alike:
                    add(near.owners[own], 0, near.kind)
                for edge in near.edges[own].tolist():
                    add(near.owners[int(near.other[edge])], int(near.bits[edge]), near.kind)
        for number, copies in self.others:
            add(copies[class_], NOBODY, number)
        others, distance, kind = (np.concatenate(part) for part in (classes, bits, kinds))
        order = np.lexsort((distance, kind, others))
        others, distance, kind = others[order], distance[order], kind[order]
        first = np.ones(len(others), bool)
        first[1:] = others[1:] != others[:-1]
        first &= others != class_
        return others[first], distance[first], kind[first]

    def has_others(self, count: int) -> Bools:
        """Return which of so many classes may have copies at all."""
        has = np.zeros(count, bool)
        for _, copies in self.others:
            has |= np.diff(copies.starts) > 0
        for near in self.near:
            busy = np.diff(near.edges.starts) > 0
            if near.alike:
                busy |= np.diff(near.owners.starts) > 1
            owner = np.repeat(np.arange(len(has)), np.diff(near.hashes.starts))
            np.logical_or.at(has, owner, busy[near.hashes.values])
        return has


@dataclass(frozen=True)
class Stars:
    """Groups: the kept class of each class, itself for one that is kept or alone, int64 [C].

    Attributes:
        bits: from the kept one's hash, -1 where the evidence is another, int64 [C].
        kind: number of the evidence, int64 [C].
    """

    kept: Ints
    bits: Ints
    kind: Ints


def stars(
    graph: Graph,
    rank: Ints,
    largest: int,
    weight: Ints,
    may: Callable[[int, Ints, Ints, Ints], Bools],
) -> Stars:
    """Group classes: the best one takes what resembles it, then the best of the rest, and so on.

    Args:
        graph: who resembles whom.
        rank: place of each class in the order of preference, all different.
        largest: pictures of one group; the nearest are taken.
        weight: pictures of each class.
        may: (kept, others, bits, kinds) -> which of the others may be copies after all.
    """
    count = len(rank)
    kept = np.full(count, NOBODY, np.int64)
    bits, kinds = np.zeros(count, np.int64), np.zeros(count, np.int64)
    candidates = np.flatnonzero(graph.has_others(count))
    for best in candidates[np.argsort(rank[candidates])].tolist():
        if kept[best] != NOBODY:
            continue
        kept[best] = best
        others, distance, kind = graph.around(best)
        free = kept[others] == NOBODY
        free[free] = may(best, others[free], distance[free], kind[free])
        others, distance, kind = others[free], distance[free], kind[free]
        order = np.lexsort((rank[others], distance, kind))
        order = order[np.cumsum(weight[others[order]]) + weight[best] <= largest]
        others = others[order]
        kept[others], bits[others], kinds[others] = best, distance[order], kind[order]
    alone = kept == NOBODY
    kept[alone] = np.flatnonzero(alone)
    return Stars(kept, bits, kinds)
