"""Finds which of many rows are among few known ones, in one pass over the many."""

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Bools, Bytes, Ints
from pipeline.dedupe.algorithms.banding import BITS, WORD, Rows, Words, spread
from pipeline.dedupe.algorithms.hamming import Pairs, refuse_too_many

# Bits of a row by which nearly all rows that are not known are told.
SIEVE_BITS = 20
KEY_BITS, FOUND_PAIRS = 16, 1 << 16


class Known:
    """Few rows of bytes, to be recognised among many.

    Args:
        rows: uint8 [N, B], B a multiple of 8.
    """

    def __init__(self, rows: Bytes) -> None:
        self.rows = as_items(rows)
        self.sieve = np.zeros(1 << SIEVE_BITS, bool)
        self.sieve[_low_bits(rows)] = True

    def among(self, rows: Bytes) -> Bools:
        """Return which of many rows are known, bool [N]."""
        found = np.zeros(len(rows), bool)
        if len(self.rows):
            maybe = np.flatnonzero(self.sieve[_low_bits(rows)])
            found[maybe] = np.isin(as_items(rows[maybe]), self.rows)
        return found


def as_items(rows: Bytes) -> np.ndarray:
    """Return rows of bytes [N, B] as items that can be compared, [N]."""
    return np.ascontiguousarray(rows).view(f"V{rows.shape[1]}").ravel()


def _low_bits(rows: Bytes) -> Ints:
    words = np.ascontiguousarray(rows[:, :8]).view(np.uint64).ravel()
    return (words & np.uint64((1 << SIEVE_BITS) - 1)).astype(np.int64)


@dataclass(frozen=True)
class _Band:
    """Known hashes filed under all keys within one bit of theirs."""

    first: int
    width: int
    starts: Ints
    filed: Rows

    @classmethod
    def of(cls, words: Words, first: int, width: int) -> "_Band":
        masks = np.array([0, *(1 << bit for bit in range(width))], np.int32)
        keys = (_keys(words, first, width)[:, np.newaxis] ^ masks).ravel()
        order = np.argsort(keys.astype(np.uint16), kind="stable")
        sizes = np.bincount(keys, minlength=1 << width)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        return cls(first, width, starts, (order // len(masks)).astype(np.int32))

    def keys(self, words: Words) -> Rows:
        return _keys(words, self.first, self.width)


def _keys(words: Words, first: int, width: int) -> Rows:
    """Return a band of hashes [N, 4], which lies in one of their words, int32 [N]."""
    keys = words[:, first // WORD] >> np.uint64(WORD - first % WORD - width)
    return (keys & np.uint64((1 << width) - 1)).astype(np.int32)


class KnownHashes:
    """Few hashes, to which close ones are sought among many.

    As many bands as there are pairs of bits in the radius: in one of them, hashes within it differ
    by at most one bit.

    Args:
        hashes: uint8 [N, 32].
        radius: bits.
    """

    def __init__(self, hashes: Bytes, radius: int) -> None:
        self.words, self.radius = spread(hashes), radius
        count = radius // 2 + 1
        width = min(KEY_BITS, 1 << (BITS // count).bit_length() - 1)
        self.bands = [_Band.of(self.words, i * width, width) for i in range(count)]

    def close(self, hashes: Bytes) -> Pairs:
        """Return the pairs of rows within the radius: one of many hashes [M, 32], and a known one.

        Equal ones are pairs too.

        Raises:
            ConfigError: there are more pairs than memory is for.
        """
        # Numba is slow to import: who has nothing to compare does without.
        from pipeline.dedupe.algorithms.kernels import near_in_buckets

        if not len(self.words) or not len(hashes):
            return Pairs.join([])
        words = spread(hashes)
        found, parts, total = np.empty((0, 3), np.int32), [], 0
        for band in self.bands:
            keys, at = band.keys(words), np.zeros(1, np.int64)
            largest = int(np.diff(band.starts).max())
            if len(found) < max(FOUND_PAIRS, largest):
                found = np.empty((max(FOUND_PAIRS, largest), 3), np.int32)
            while at[0] < len(keys):
                known = band.starts, band.filed, self.words
                count = near_in_buckets(known, keys, words, self.radius, at, found)
                parts.append(found[:count].astype(np.int64))
                total += count
                refuse_too_many(total, self.radius)
        pairs = np.unique(np.concatenate(parts), axis=0)
        return Pairs(pairs[:, 0], pairs[:, 1], pairs[:, 2])
