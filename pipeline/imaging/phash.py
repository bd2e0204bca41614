"""PDQ: a 256-bit perceptual hash, nearly equal for copies of a photo that were resized or re-saved.

Why PDQ rather than the common 64-bit pHash: over millions of photos pairs are counted in 10^13,
and 64 bits within their usual radius collide by chance; 256 bits at PDQ's published radius of 31
do not. It also comes with a quality, which says when a picture is too flat for its hash to mean
anything (below 50).

Own implementation of "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm"
(Facebook, 2019). The paper's steps from luminance to the 64 x 64 picture, two passes of box filters
along rows and columns and then decimation, are linear and separable. So they are one small matrix
for each side here, made once a size, and the whole hash is a handful of matrix products. Where even
windows lie and which median is taken was settled by agreement with other implementations.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Floats32

HASH_BYTES = 32
# Below this quality two hashes say nothing of each other (the paper's own threshold).
MIN_QUALITY = 50
# Two hashes at most this many bits apart are copies (the paper's confident-match distance).
MATCH_BITS = 31

MIN_SIDE = 5  # smaller pictures have no gradients to speak of
MAX_SIDE = 512  # larger pictures are sampled down to this: the hash sees 64 x 64 in the end
GRID = 64
FREQUENCIES = 16
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
QUALITY_DIVISOR = 90  # the paper's: a well structured picture reaches 100


def pdq(pixels: npt.NDArray[np.uint8]) -> tuple[bytes, int]:
    """Return the hash (32 bytes, highest frequency first) and its quality, 0 to 100.

    Args:
        pixels: uint8 [H, W, 3], RGB. Sides under 5 give a hash of zeros with quality 0.
    """
    if min(pixels.shape[:2]) < MIN_SIDE:
        return bytes(HASH_BYTES), 0
    luma, rows, columns = _sampled(pixels)
    small = rows @ luma @ columns.T
    waves = _cosines() @ small @ _cosines().T
    # of an even number of values the paper takes the lower middle one, so half the bits are set
    middle = np.partition(waves, waves.size // 2 - 1, axis=None)[waves.size // 2 - 1]
    return _packed(waves > middle), _quality(small)


def turnable(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return a hash whose bits tell the hashes of the mirrored and turned picture exactly.

    PDQ picks pixels and lays even windows a little to one side, so the mirrored picture is hashed
    from other pixels: its hash, told from the bits, would be 21 bits off on average (LFW), of two
    axes 30. Here each side's filter is averaged with its mirror image, and bits are signs, which
    mirroring changes, instead of comparisons with the median, which it moves. Not PDQ: 8 to 16
    bits from it, and as selective (nearest strangers of LFW: 65 bits, PDQ 66).

    Args:
        pixels: uint8 [H, W, 3], RGB. Sides under 5 give a hash of zeros.
    """
    if min(pixels.shape[:2]) < MIN_SIDE:
        return bytes(HASH_BYTES)
    luma, rows, columns = _sampled(pixels)
    down, across = ((side + side[::-1, ::-1]) / 2 for side in (rows, columns))
    return _packed(_cosines() @ (down @ luma @ across.T) @ _cosines().T > 0)


def _sampled(pixels: npt.NDArray[np.uint8]) -> tuple[Floats32, Floats32, Floats32]:
    """Return the luminance of some pixels, and what shrinks its rows and its columns to 64."""
    height, width = pixels.shape[:2]
    step_y, step_x = -(-height // MAX_SIDE), -(-width // MAX_SIDE)
    sampled = pixels[step_y // 2 :: step_y, step_x // 2 :: step_x]
    luma = (sampled.astype(np.float32) @ LUMA).astype(np.float32, copy=False)
    return luma, _shrinker(height, step_y), _shrinker(width, step_x)


def _packed(bits: npt.NDArray[np.bool_]) -> bytes:
    return np.packbits(bits.ravel()[::-1]).tobytes()


def distance(first: bytes, second: bytes) -> int:
    """Return the number of bits, 0 to 256, that differ between two hashes."""
    return (int.from_bytes(first, "big") ^ int.from_bytes(second, "big")).bit_count()


def _quality(small: npt.NDArray[np.floating[Any]]) -> int:
    steps = sum(
        int(np.abs(np.trunc(np.diff(small, axis=axis) * (100 / 255))).sum()) for axis in (0, 1)
    )
    return min(100, steps // QUALITY_DIVISOR)


@lru_cache(maxsize=256)
def _shrinker(side: int, step: int) -> Floats32:
    """Return the [64, side / step] matrix of the paper's filters and decimation along one side.

    Each column stands for `step` pixels of the original, of which one was sampled.
    """
    window = -(-side // (2 * GRID))
    right = (window + 2) // 2  # exclusive; an even window reaches further right
    at = np.arange(side)
    # at the borders the window holds fewer pixels, and their mean is over those
    first, last = np.maximum(at + right - window, 0), np.minimum(at + right, side)
    share = 1 / (last - first)
    picked = ((np.arange(GRID) + 0.5) * side / GRID).astype(np.intp)
    # the second pass is the mean of `middle`, the first spreads each of those over its own window
    changes = np.zeros((GRID, side + 1))
    for row, centre in enumerate(picked):
        middle = slice(first[centre], last[centre])
        weight = share[centre] * share[middle]
        np.add.at(changes[row], first[middle], weight)
        np.add.at(changes[row], last[middle], -weight)
    weights = changes.cumsum(axis=1)[:, :side]
    # a remainder too short to be sampled falls to the pixel before it
    samples = len(range(step // 2, side, step))
    starts = np.arange(samples) * step
    return np.add.reduceat(weights, starts, axis=1).astype(np.float32)


@lru_cache(maxsize=1)
def _cosines() -> Floats32:
    """Return frequencies 1 to 16 of the 64-point DCT-II, [16, 64]; 0, the mean, is left out."""
    frequency = np.arange(1, FREQUENCIES + 1)[:, np.newaxis]
    phase = np.pi / (2 * GRID) * frequency * (2 * np.arange(GRID) + 1)
    cosines: Floats32 = (np.sqrt(2 / GRID) * np.cos(phase)).astype(np.float32)
    return cosines
