"""Compiled loops of the search for close hashes: entries into buckets, buckets into close pairs.

NumPy would sort the entries and write every step of every comparison to memory. All kernels are in
this one file, see `models.mtcnn.kernels`.
"""

import numpy as np

from pipeline.arrays import Bytes, Ints
from pipeline.dedupe.algorithms.banding import Rows, Words
from pipeline.models.compiled import compiled


@compiled
def count_entries(keys: Rows, masks: Rows, counts: Rows) -> None:
    """Add to `counts` int32 [keys] how many entries each key has.

    Args:
        keys: of rows whose upper bits are those of the piece, int32 [M].
        masks: under which each row files itself, int32 [m].
        counts: of each key of the piece, a power of two of them, by its lower bits.
    """
    low = len(counts) - 1
    for key in keys:
        for mask in masks:
            counts[(key ^ mask) & low] += 1


@compiled
def file_entries(
    keys: Rows, first: int, masks: Rows, wanted: Rows, ends: Ints, filed: Rows
) -> None:
    """Write the place of each row into the buckets of its keys, and move their ends.

    Args:
        keys: as of `count_entries`.
        first: place of the first key.
        masks: likewise.
        wanted: of each key of the piece, 0 where nobody would be met.
        ends: where each bucket ends so far, int64 [keys].
        filed: the places in all buckets.
    """
    low = len(wanted) - 1
    for i in range(len(keys)):
        for mask in masks:
            key = (keys[i] ^ mask) & low
            if wanted[key]:
                filed[ends[key]] = first + i
                ends[key] += 1


@compiled
def _bits(word: np.uint64) -> np.uint64:
    """Return how many bits are set (Hacker's Delight, figure 5-2); compilers know this form."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + (
        (word >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@compiled
def close_in_buckets(
    bounds: Ints, filed: Rows, words: Words, radius: int, at: Ints, found: Rows
) -> int:
    """Compare the entries of each bucket, and return how many pairs were written to `found`.

    Args:
        bounds: where each bucket begins, where its right side begins, and where it ends, int64
            [keys, 3]; without sides all is on the left.
        filed: places in all buckets.
        words: at each place half of the bits of a hash, uint64 [N, 2].
        radius: by how many of these a pair differs at most.
        at: bucket and entry in it to go on from, int64 [2]; moved, to beyond the last at the end.
        found: key, first and second place of pairs, int32 [P, 3], P at least the largest bucket.
    """
    largest = (bounds[:, 2] - bounds[:, 0]).max()
    first_words, second_words = np.empty(largest, np.uint64), np.empty(largest, np.uint64)
    limit = np.uint64(radius)
    count = 0
    for key in range(at[0], len(bounds)):
        begin, middle, end = bounds[key, 0], bounds[key, 1], bounds[key, 2]
        size = end - begin
        right = middle - begin if middle < end else 0
        for i in range(size):
            first_words[i] = words[filed[begin + i], 0]
            second_words[i] = words[filed[begin + i], 1]
        for i in range(at[1], right or size - 1):
            start = right or i + 1
            if count + size - start > len(found):
                at[0], at[1] = key, i
                return count
            one, two = first_words[i], second_words[i]
            close = np.uint64(0)
            for j in range(start, size):
                bits = _bits(one ^ first_words[j]) + _bits(two ^ second_words[j])
                close += np.uint64(bits <= limit)
            for j in range(start, size if close else start):
                if _bits(one ^ first_words[j]) + _bits(two ^ second_words[j]) <= limit:
                    found[count, 0] = key
                    found[count, 1], found[count, 2] = filed[begin + i], filed[begin + j]
                    count += 1
        at[1] = 0
    at[0] = len(bounds)
    return count


@compiled
def look_up_bytes(rows: Bytes, table: Words, out: Words) -> None:
    """Write for each row of bytes the sum of what a table has for each place and byte.

    Args:
        rows: uint8 [N, B].
        table: uint64 [B, 256, W].
        out: uint64 [N, W].
    """
    for i in range(len(rows)):
        for word in range(out.shape[1]):
            total = np.uint64(0)
            for place in range(rows.shape[1]):
                total |= table[place, rows[i, place], word]
            out[i, word] = total


@compiled
def near_in_buckets(
    known: tuple[Ints, Rows, Words], keys: Rows, words: Words, radius: int, at: Ints, found: Rows
) -> int:
    """Compare each row with those in the bucket of its key; return how many pairs were found.

    Args:
        known: where each bucket begins, int64 [buckets + 1]; rows in all buckets; and their
            hashes, uint64 [M, 4].
        keys: of the rows that are compared, int32 [N].
        words: their hashes, uint64 [N, 4].
        radius: bits by which a pair differs at most.
        at: row to go on from, int64 [1]; moved, to N at the end.
        found: row, known row and bits of each pair, int32 [P, 3], P at least the largest bucket.
    """
    starts, filed, theirs = known
    limit = np.uint64(radius)
    count = 0
    for i in range(at[0], len(keys)):
        begin, end = starts[keys[i]], starts[keys[i] + 1]
        if count + end - begin > len(found):
            at[0] = i
            return count
        for place in range(begin, end):
            other = filed[place]
            bits = _bits(words[i, 0] ^ theirs[other, 0]) + _bits(words[i, 1] ^ theirs[other, 1])
            if bits > limit:
                continue
            bits += _bits(words[i, 2] ^ theirs[other, 2]) + _bits(words[i, 3] ^ theirs[other, 3])
            if bits <= limit:
                found[count, 0], found[count, 1], found[count, 2] = i, other, bits
                count += 1
    at[0] = len(keys)
    return count
