"""How hashes are cut into bands, so that close ones meet without comparing all pairs.

If 256 bits are cut into bands that may each differ by `tolerance` bits, and the tolerances plus one
add up to more than the radius, then two hashes within the radius agree on at least one band within
its tolerance (generalised pigeonhole principle: Norouzi, Punjani and Fleet, "Fast Exact Search in
Hamming Space with Multi-Index Hashing", 2014; Qin et al., GPH, 2018). Both sides meet half way:
each hash files itself under all keys within `tolerance / 2` of its band, so that two that differ
by `tolerance` share a key. At radius 31 that is 264 keys a hash, where probing from one side alone
takes 3,047.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise
from math import comb

import numpy as np
import numpy.typing as npt

from pipeline.errors import ConfigError

Words = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int32]

BITS, WORD = 256, 64
# Above it a key's own bits are enough to tell buckets apart at any size that fits in memory.
KEY_BITS = 26
TOLERANCES = (0, 2, 4)
# Nanoseconds of one entry (counted, filed, fetched) and of one comparison; their ratio counts.
ENTRY_COST, SLOT_COST = 20.0, 1.0
# Neighbouring bits of a hash are neighbouring frequencies, which pictures of one kind share. An odd
# step through all bits gives each band some of everything.
STEP = 73
# From so many hashes on, compiled code spreads them.
COMPILED_ROWS = 1 << 11


@dataclass(frozen=True)
class Band:
    """Bits `first` to `first + width` of a spread hash, equal up to `tolerance` bits."""

    first: int
    width: int
    tolerance: int

    def __post_init__(self) -> None:
        """Check what `keys` relies on."""
        if not (0 <= self.width <= KEY_BITS and self.tolerance in TOLERANCES):
            raise ConfigError(f"{self} has no keys; take up to {KEY_BITS} bits, {TOLERANCES}")

    def keys(self, hashes: Words) -> Words:
        """Return this band of hashes [N, 4] as integers [N]."""
        if not self.width:
            return np.zeros(len(hashes), np.uint64)
        word, offset = divmod(self.first, WORD)
        keys = hashes[:, word] << np.uint64(offset)
        if offset + self.width > WORD:
            keys |= hashes[:, word + 1] >> np.uint64(WORD - offset)
        found: Words = keys >> np.uint64(WORD - self.width)
        return found

    def masks(self, radius: int) -> Words:
        """Return all keys with at most `radius` bits set, [M], ascending."""
        found = [
            sum(1 << bit for bit in bits)
            for count in range(min(radius, self.width) + 1)
            for bits in combinations(range(self.width), count)
        ]
        return np.sort(np.array(found, np.uint64))

    def filed(self, radius: int) -> int:
        """Return the number of `masks`."""
        return sum(comb(self.width, count) for count in range(min(radius, self.width) + 1))

    @property
    def reach(self) -> int:
        """Bits by which each side may stray from the key at which two hashes meet."""
        return self.tolerance // 2


def bands(radius: int, count: int, tolerance: int, key_bits: int = KEY_BITS) -> tuple[Band, ...]:
    """Return `count` bands of one tolerance that find all pairs within `radius`.

    Of a wide band, the first `key_bits` are enough.

    Raises:
        ConfigError: they would miss some.
    """
    if count * (tolerance + 1) <= radius or not 1 <= count <= BITS:
        raise ConfigError(
            f"{count} bands with tolerance {tolerance} miss pairs at {radius} bits; take more"
        )
    edges = np.linspace(0, BITS, count + 1).astype(int).tolist()
    return tuple(Band(a, min(b - a, key_bits), tolerance) for a, b in pairwise(edges))


def best_bands(radius: int, left: int, right: int = 0) -> tuple[Band, ...]:
    """Return the bands that find all pairs within `radius` at least cost.

    Args:
        radius: bits.
        left: number of hashes that are all compared with each other.
        right: instead, number of few hashes that `left` are compared with.
    """
    everything = (Band(0, 0, 0),)
    # Most keys of more would have no hash.
    key_bits = min(KEY_BITS, (left + right).bit_length())
    choices = [everything, *(bands(radius, n, t, key_bits) for n, t in _choices(radius))]
    return min(choices, key=lambda choice: cost(choice, left, right))


def _choices(radius: int) -> Iterator[tuple[int, int]]:
    for tolerance in TOLERANCES:
        count = radius // (tolerance + 1) + 1
        if count * (2 * tolerance + 1) <= BITS:  # bands wide enough for their tolerance
            yield count, tolerance


def cost(choice: tuple[Band, ...], left: int, right: int = 0) -> float:
    """Return about how many nanoseconds a search takes; see `best_bands`."""
    if not choice[0].width:
        return (left + right) ** 2 / 2 * SLOT_COST
    total = 0.0
    for band in choice:
        ours = float(left if right else left * band.filed(band.reach))
        theirs = float(right * band.filed(band.tolerance))
        keys = 2.0**band.width
        # Of a large left side, only what has company is sorted and compared.
        company = min(1.0, theirs / keys) if right else 1.0
        met = ours * company + theirs
        total += (ours / 8 + met if right else met) * ENTRY_COST + met * met / keys * SLOT_COST
    return total


def spread(hashes: npt.NDArray[np.uint8]) -> Words:
    """Return hashes uint8 [N, 32] as words [N, 4], their bits in a fixed other order."""
    if len(hashes) >= COMPILED_ROWS:
        # Numba is slow to import: a small archive does without.
        from pipeline.dedupe.algorithms.kernels import look_up_bytes

        out = np.empty((len(hashes), BITS // WORD), np.uint64)
        look_up_bytes(hashes, _spread_bytes(), out)
        return out
    bits = np.unpackbits(hashes, axis=1)[:, np.arange(BITS) * STEP % BITS]
    return np.ascontiguousarray(np.packbits(bits, axis=1)).view(">u8").astype(np.uint64)


@cache
def _spread_bytes() -> Words:
    """Return what each byte at each place of a hash adds to its words, uint64 [32, 256, 4]."""
    places = BITS // 8
    hashes = np.zeros((places, 256, places), np.uint8)
    hashes[np.arange(places), :, np.arange(places)] = np.arange(256)
    return np.stack([spread(at_place) for at_place in hashes])


def distances(first: Words, second: Words) -> npt.NDArray[np.int64]:
    """Return the bits that differ between hashes [N, 4] of two lists, or of one and a list."""
    counts: npt.NDArray[np.int64] = np.bitwise_count(first ^ second).sum(axis=-1, dtype=np.int64)
    return counts
