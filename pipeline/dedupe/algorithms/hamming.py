"""All pairs of hashes within a Hamming radius, exactly, band by band, in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Bools, Ints
from pipeline.dedupe.algorithms.banding import Band, Rows, Words, distances
from pipeline.errors import ConfigError

# Entries handled at once: their buckets stay in the second cache level.
CHUNK_ENTRIES = 1 << 19
# Close pairs that are looked at again at once.
BLOCK_PAIRS = 1 << 16
# Pairs of one task, at 24 bytes: of ten thousand variants of one picture all are pairs.
MOST_PAIRS = 100_000_000
# Half of the bits tell strangers apart: 128 random bits differ by 64, deviation 5.7.
FILTER_WORDS = 2


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows, `first` < `second`, and the bits by which they differ, int64 [P] each."""

    first: Ints
    second: Ints
    bits: Ints

    @classmethod
    def join(cls, parts: list["Pairs"]) -> "Pairs":
        """Return several as one."""
        none = np.zeros(0, np.int64)
        return cls(
            np.concatenate([none, *(p.first for p in parts)]),
            np.concatenate([none, *(p.second for p in parts)]),
            np.concatenate([none, *(p.bits for p in parts)]),
        )


@dataclass(frozen=True)
class Sides:
    """Which rows are compared with which.

    Attributes:
        split: rows below it are on the left, the others on the right; only pairs of one from each
            side count. 0: all rows are on one side, and compared with each other.
        far: the left side is filed under its own keys alone, the right side under all within the
            tolerance: for a right side that is small against the left one.
    """

    split: int = 0
    far: bool = False

    def ends(self, rows: int) -> list[tuple[int, int]]:
        """Return first row and end of each side of so many rows."""
        return [(0, self.split), (self.split, rows)] if self.split else [(0, rows)]

    def reach(self, band: Band) -> tuple[int, int]:
        """Return by how many bits each side strays from its own key."""
        return (0, band.tolerance) if self.far else (band.reach, band.reach)


@dataclass(frozen=True)
class Comparison:
    """How hashes are compared.

    Attributes:
        radius: bits by which those of a pair may differ.
        bands: that find all pairs together.
        sides: which rows are compared with which.
    """

    radius: int
    bands: tuple[Band, ...]
    sides: Sides = Sides()


@dataclass(frozen=True)
class Meetings:
    """Rows that share a key of a band, and that key, [M] each."""

    first: Ints
    second: Ints
    key: Words

    def take(self, rows: Ints | Bools) -> "Meetings":
        """Return some of them."""
        return Meetings(self.first[rows], self.second[rows], self.key[rows])


def close_pairs(
    hashes: Words, comparison: Comparison, number: int, share: tuple[int, int] = (0, 1)
) -> Pairs:
    """Return the pairs within the radius that meet first in band `number`.

    All bands and shares together give every pair once.

    Args:
        hashes: [N, 4], different from each other for bounded work.
        comparison: how they are compared.
        number: which of the bands.
        share: (i, n): of n equal ranges of keys, the i-th.

    Raises:
        ConfigError: there are more pairs than memory is for.
    """
    parts: list[Pairs] = []
    total = 0
    for meetings in meet(hashes, comparison, number, share):
        parts.append(verified(hashes, comparison, number, meetings))
        total += len(parts[-1].bits)
        refuse_too_many(total, comparison.radius)
    return Pairs.join(parts)


def refuse_too_many(total: int, radius: int) -> None:
    """Refuse to hold more pairs of hashes than memory is for.

    Raises:
        ConfigError: there are.
    """
    if total > MOST_PAIRS:
        raise ConfigError(
            f"More than {MOST_PAIRS:,} pairs of hashes within {radius} bits in one task: too many "
            "pictures of this archive resemble each other; search with a smaller --radius"
        )


def meet(
    hashes: Words, comparison: Comparison, number: int, share: tuple[int, int]
) -> Iterator[Meetings]:
    """Yield rows that share a key and are close in half of their bits."""
    band, sides = comparison.bands[number], comparison.sides
    if not band.width:
        yield from _all_with_all(hashes, comparison)
        return
    filed = [
        _Side.of(hashes, band, reach, *ends)
        for ends, reach in zip(sides.ends(len(hashes)), sides.reach(band), strict=False)
    ]
    rows = np.concatenate([side.rows for side in filed])
    # Entries of one piece then come from a few places, which stay in the second cache level.
    words = hashes[rows, :FILTER_WORDS]
    pieces, total = 1, sum(len(side.keys) * len(side.masks) for side in filed)
    most = max(total, 1 << band.width)
    while most > pieces * CHUNK_ENTRIES and pieces < 1 << band.width:
        pieces *= 2
    low_bits = band.width - (pieces.bit_length() - 1)
    for piece in range(pieces * share[0] // share[1], pieces * (share[0] + 1) // share[1]):
        for found in _close(*_buckets(filed, piece, low_bits), words, comparison.radius):
            key, first, second = found.T.astype(np.int64)
            key += piece << low_bits
            yield Meetings(rows[first], rows[second], key.astype(np.uint64))


def _all_with_all(hashes: Words, comparison: Comparison) -> Iterator[Meetings]:
    """Yield all pairs that are close in half of their bits, where hashes are few."""
    split, count = comparison.sides.split, len(hashes)
    words = hashes[:, :FILTER_WORDS]
    for row in range(split or count):
        start = split or row + 1
        bits = np.bitwise_count(words[start:] ^ words[row]).sum(axis=1, dtype=np.int64)
        close = np.flatnonzero(bits <= comparison.radius) + start
        if len(close):
            yield Meetings(np.full(len(close), row), close, np.zeros(len(close), np.uint64))


@dataclass(frozen=True)
class _Side:
    """One side's rows by their own keys, and under which masks they file themselves.

    Attributes:
        keys: ascending, int32 [M].
        rows: row of each key, int64 [M].
        masks: int32 [m].
        first: place of the first key among those of both sides.
    """

    keys: Rows
    rows: Ints
    masks: Rows
    first: int

    @classmethod
    def of(cls, hashes: Words, band: Band, reach: int, start: int, end: int) -> "_Side":
        keys = band.keys(hashes[start:end]).astype(np.int32)
        order = np.argsort(keys, kind="stable")
        return cls(keys[order], order + start, band.masks(reach).astype(np.int32), start)

    def reaching(self, piece: int, low_bits: int) -> Iterator[tuple[Rows, int, Rows]]:
        """Yield keys, the place of the first, and masks of entries that share upper bits."""
        for upper in np.unique(self.masks >> low_bits).tolist():
            edges = np.array([piece ^ upper, (piece ^ upper) + 1], np.int32) << low_bits
            a, b = np.searchsorted(self.keys, edges).tolist()
            yield self.keys[a:b], self.first + a, self.masks[self.masks >> low_bits == upper]


def _buckets(filed: list[_Side], piece: int, low_bits: int) -> tuple[Rows, Ints]:
    """Return the entries of a piece by key, and where each key's begin, change sides, and end.

    Of two sides, only entries that meet one of the other are there.
    """
    # Numba is slow to import: a small archive does without.
    from pipeline.dedupe.algorithms.kernels import count_entries, file_entries

    keys = 1 << low_bits
    counts = [np.zeros(keys, np.int32) for _ in filed]
    for side, count in zip(filed, counts, strict=True):
        for own, _, masks in side.reaching(piece, low_bits):
            count_entries(own, masks, count)
    wanted = [counts[-1], counts[0]] if len(filed) == 2 else counts
    sizes = [np.where(other > 0, own, 0) for own, other in zip(counts, wanted, strict=True)]
    ends = np.cumsum(sum(sizes), dtype=np.int64)
    begins = ends - sum(sizes)
    bounds = np.stack([begins, begins + sizes[0], ends], axis=1)
    entries = np.empty(int(ends[-1]), np.int32)
    for number, (side, other) in enumerate(zip(filed, wanted, strict=True)):
        at = bounds[:, number].copy()
        for own, first, masks in side.reaching(piece, low_bits):
            file_entries(own, first, masks, other, at, entries)
    return entries, bounds


def _close(entries: Rows, bounds: Ints, words: Words, radius: int) -> Iterator[Rows]:
    """Yield key and both places of entries of one bucket that are close in half of their bits."""
    from pipeline.dedupe.algorithms.kernels import close_in_buckets

    largest = int((bounds[:, 2] - bounds[:, 0]).max(initial=0))
    found = np.empty((max(BLOCK_PAIRS, largest), 3), np.int32)
    at = np.zeros(2, np.int64)
    while at[0] < len(bounds):
        count = close_in_buckets(bounds, entries, words, radius, at, found)
        yield found[:count]


def verified(hashes: Words, comparison: Comparison, number: int, meetings: Meetings) -> Pairs:
    """Return the pairs that are within the radius, each at one of its meetings only."""
    first = np.minimum(meetings.first, meetings.second)
    second = np.maximum(meetings.first, meetings.second)
    meetings, split = Meetings(first, second, meetings.key), comparison.sides.split
    if split:
        meetings = meetings.take((first < split) & (second >= split))
    bits = distances(hashes[meetings.first], hashes[meetings.second])
    close = bits <= comparison.radius
    meetings, bits = meetings.take(close), bits[close]
    once = counted_once(hashes, comparison, number, meetings)
    return Pairs(meetings.first[once], meetings.second[once], bits[once])


def counted_once(hashes: Words, comparison: Comparison, number: int, meetings: Meetings) -> Bools:
    """Return which meetings are the ones that count.

    Two hashes may meet in several bands, and under several keys of one: the first band counts, and
    the key half way from the first row (or its own), its lowest bits changed first.
    """
    first, second = hashes[meetings.first], hashes[meetings.second]
    counts = np.ones(len(first), bool)
    for earlier in comparison.bands[:number]:
        apart = np.bitwise_count(earlier.keys(first) ^ earlier.keys(second))
        counts &= apart > earlier.tolerance
    band = comparison.bands[number]
    key = band.keys(first)
    differ = key ^ band.keys(second)
    steps = np.bitwise_count(differ) // 2
    for step in range(comparison.sides.reach(band)[0]):
        with np.errstate(over="ignore"):
            lowest = differ & (~differ + np.uint64(1))
        lowest = np.where(steps > step, lowest, np.uint64(0))
        key, differ = key ^ lowest, differ ^ lowest
    counts &= key == meetings.key
    return counts
