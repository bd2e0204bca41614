"""All pairs of hashes within a Hamming radius, exactly, band by band, in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Bools, Ints
from pipeline.dedupe.algorithms.banding import Band, Words, distances
from pipeline.errors import ConfigError

# Entries handled at once: some hundred bytes each.
CHUNK_ENTRIES = 1 << 22
# Entries compared with each other at once: two words each stay in the second cache level.
BLOCK_ENTRIES = 1 << 15
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
        if total > MOST_PAIRS:
            raise ConfigError(
                f"More than {MOST_PAIRS:,} pairs of hashes within {comparison.radius} bits in one "
                "task: too many pictures of this archive resemble each other; search with a "
                "smaller --radius"
            )
    return Pairs.join(parts)


def meet(
    hashes: Words, comparison: Comparison, number: int, share: tuple[int, int]
) -> Iterator[Meetings]:
    """Yield rows that share a key and are close in half of their bits."""
    band, sides = comparison.bands[number], comparison.sides
    row_bits = max(1, int(len(hashes) - 1).bit_length())
    low = np.uint64((1 << row_bits) - 1)
    rows = np.arange(len(hashes), dtype=np.uint64)
    packed = band.keys(hashes) << np.uint64(row_bits) | rows
    parts = [packed[: sides.split], packed[sides.split :]] if sides.split else [packed]
    filed = [
        (np.sort(part), band.masks(reach))
        for part, reach in zip(parts, sides.reach(band), strict=False)
    ]
    pieces, total = 1, sum(len(own) * len(masks) for own, masks in filed)
    while total > pieces * CHUNK_ENTRIES and pieces < 1 << band.width:
        pieces *= 2
    low_bits = band.width - (pieces.bit_length() - 1)
    for piece in range(pieces * share[0] // share[1], pieces * (share[0] + 1) // share[1]):
        of_sides = [entries_of(own, masks, piece, low_bits, row_bits) for own, masks in filed]
        if sides.far:
            of_sides[0] = with_partner(of_sides[0], of_sides[1], low_bits, row_bits)
        entries = np.concatenate(of_sides)
        entries.sort()
        for first, second in near(entries, row_bits, hashes, comparison.radius):
            key = entries[first] >> np.uint64(row_bits)
            one, two = ((entries[at] & low).astype(np.int64) for at in (first, second))
            yield Meetings(one, two, key)


def entries_of(own: Words, masks: Words, piece: int, low_bits: int, row_bits: int) -> Words:
    """Return key and row, packed, of all entries whose key's upper bits are `piece`.

    `own` are the packed keys of the rows themselves, sorted: those that reach the piece by a mask
    are slices of it.
    """
    parts = [own[:0]]
    low = np.uint64((1 << low_bits) - 1)
    for upper in np.unique(masks >> np.uint64(low_bits)).tolist():
        source = piece ^ upper
        edges = np.array([source, source + 1], np.uint64) << np.uint64(low_bits + row_bits)
        a, b = np.searchsorted(own, edges)
        entries = own[a:b] ^ np.uint64(upper << (low_bits + row_bits))
        lower = masks[masks >> np.uint64(low_bits) == upper] & low
        parts += [entries ^ (mask << np.uint64(row_bits)) for mask in lower]
    return np.concatenate(parts)


def with_partner(left: Words, right: Words, low_bits: int, row_bits: int) -> Words:
    """Return the entries of the left whose key has an entry on the right."""
    low = np.uint64((1 << low_bits) - 1)
    on_right = np.zeros(1 << low_bits, bool)
    on_right[(right >> np.uint64(row_bits)) & low] = True
    kept: Words = left[on_right[(left >> np.uint64(row_bits)) & low]]
    return kept


def near(entries: Words, row_bits: int, hashes: Words, radius: int) -> Iterator[tuple[Ints, Ints]]:
    """Yield positions of entries with one key whose first words differ by at most `radius` bits."""
    key = entries >> np.uint64(row_bits)
    edges = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1], [True]]))
    sizes = np.diff(edges)
    # Largest buckets first: those that still have entries `step` apart are then a front part.
    order = np.argsort(-sizes, kind="stable")
    order = order[: np.count_nonzero(sizes > 1)]
    sizes, starts = sizes[order], edges[order]
    ends = np.cumsum(sizes)
    position = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + sizes, sizes)
    rows = (entries[position] & np.uint64((1 << row_bits) - 1)).astype(np.int64)
    words = [np.ascontiguousarray(hashes[rows, w]) for w in range(FILTER_WORDS)]
    block = 0
    while block < len(sizes):
        begin = ends[block] - sizes[block]
        last = max(block + 1, int(np.searchsorted(ends, begin + BLOCK_ENTRIES, side="right")))
        part = slice(begin, ends[last - 1])
        bucket = np.repeat(np.arange(block, last), sizes[block:last])
        alive = ends[block:last] - begin
        for a, b in within_buckets(
            [word[part] for word in words], bucket, sizes[block:last], alive, radius
        ):
            yield position[a + begin], position[b + begin]
        block = last


def within_buckets(
    words: list[Words], bucket: Ints, sizes: Ints, ends: Ints, radius: int
) -> Iterator[tuple[Ints, Ints]]:
    """Yield close entries of one bucket: each is compared with the one `step` behind it.

    No rows are gathered and no pairs listed; what is compared across the border of two buckets is
    thrown away.
    """
    count = len(bucket)
    spare = np.empty(count, np.uint64)
    bits, more = np.empty(count, np.uint8), np.empty(count, np.uint8)
    for step in range(1, int(sizes[0])):
        alive = int(ends[np.count_nonzero(sizes > step) - 1])
        n = alive - step
        first = True
        for word in words:
            np.bitwise_xor(word[:n], word[step:alive], out=spare[:n])
            np.bitwise_count(spare[:n], out=bits[:n] if first else more[:n])
            if not first:
                np.add(bits[:n], more[:n], out=bits[:n])
            first = False
        close = np.flatnonzero(bits[:n] <= radius)
        if len(close):
            close = close[bucket[close] == bucket[close + step]]
            if len(close):
                yield close, close + step


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
