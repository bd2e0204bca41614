"""Distances of hashes: [V, N, N] of them counted, never kept."""

from typing import NamedTuple

import numpy as np

from benchmarks.methods import Hashes, Method


class Counts(NamedTuple):
    """What a method made of the photos.

    Attributes:
        true: uint16 [V, N], distance of each photo from its own variants.
        false: int [bits + 2], how many pairs of different photos lie at each distance; the last
            place counts pairs that cannot be compared.
    """

    true: np.ndarray
    false: np.ndarray


def pack(hashes: list[Hashes], length: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 [N, K, bytes], short lists filled with their first, and which have any, [N].

    Args:
        hashes: of each of N pictures.
        length: of a hash in bytes; the hashes tell it unless there may be none.
    """
    places = max(map(len, hashes), default=0) or 1
    length = length or next(len(each[0]) for each in hashes if each)
    rows = [(each or [bytes(length)]) for each in hashes]
    full = b"".join(b"".join(row + row[:1] * (places - len(row))) for row in rows)
    return np.frombuffer(full, np.uint8).reshape(len(rows), places, length), np.array(
        [bool(each) for each in hashes]
    )


def nearest(probes: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """Return uint16 [N, M], the least distance of [N, K, bytes] from [M, L, bytes]."""
    a, b = (np.ascontiguousarray(x).view(np.uint64) for x in (probes, stored))
    best = np.full((len(a), len(b)), np.iinfo(np.uint16).max, np.uint16)
    for k in range(a.shape[1]):
        for m in range(b.shape[1]):
            bits = np.zeros(best.shape, np.uint16)
            for word in range(a.shape[2]):
                bits += np.bitwise_count(a[:, k, word, None] ^ b[None, :, m, word])
            np.minimum(best, bits, out=best)
    return best


def count(
    method: Method, originals: list[Hashes], variants: list[list[Hashes]], same: np.ndarray
) -> Counts:
    """Count the distances of originals from variants and from each other.

    Args:
        method: that made the hashes.
        originals: of N photos.
        variants: of V variants of each of the N.
        same: bool [N, N], pairs that are copies before anything was done to them, and the diagonal.
    """
    stored, usable = pack(originals)
    bits = stored.shape[2] * 8
    probes = method.probes(stored)
    true = np.empty((len(variants), len(originals)), np.uint16)
    false = np.zeros(bits + 2, np.int64)
    pairs = np.triu(~same)
    for row, hashes in enumerate([originals, *variants]):
        other, there = pack(hashes, stored.shape[2])
        distance = nearest(probes, other)
        distance[~(usable[:, None] & there[None])] = bits + 1
        if row:
            true[row - 1] = distance.diagonal()
        false += np.bincount(distance[~same if row else pairs], minlength=bits + 2)
    return Counts(true, false)
