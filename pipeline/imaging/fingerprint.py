"""Fingerprints of pictures: hashes of their pixels, by which copies are found, and sharpness."""

import hashlib

import numpy as np

from pipeline.arrays import Pixels
from pipeline.imaging.borders import content
from pipeline.imaging.phash import MIN_QUALITY, pdq, turnable
from pipeline.imaging.record import Fingerprint

# Sharpness is looked at in this many squares each way, spread over the picture: a photo is seldom
# in focus everywhere, and all pixels of a large one would cost as much as decoding it.
TILES, TILE = 5, 64


def fingerprint(pixels: Pixels, size: tuple[int, int] | None = None) -> Fingerprint:
    """Return the fingerprint of an upright image.

    Args:
        pixels: uint8 [H, W, 3], RGB, C-contiguous.
        size: height and width of the picture, where `pixels` are a reduction of it.
    """
    phash, quality = pdq(pixels)
    height, width = size or pixels.shape[:2]
    hasher = hashlib.sha256(f"{width}x{height}:".encode())
    hasher.update(pixels.data)
    return Fingerprint(
        phash,
        quality,
        inner_hash(pixels),
        turnable(pixels),
        hasher.hexdigest(),
        sharpness(pixels),
    )


def inner_hash(pixels: Pixels) -> bytes | None:
    """Return the PDQ hash of the picture inside its bars; see `Fingerprint.phash_inner`."""
    box = content(pixels)
    if box is None:
        return None
    x1, y1, x2, y2 = box
    phash, quality = pdq(pixels[y1:y2, x1:x2])
    return phash if quality >= MIN_QUALITY else None


def sharpness(pixels: Pixels) -> float:
    """Return the mean variance of the Laplacian of the grey image in squares spread over it.

    Says which of two copies of one size is blurred or heavily compressed; pictures of different
    things do not compare. 0 for images that are smaller than 3 pixels.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < 3:
        return 0.0
    tall, wide = min(TILE, height), min(TILE, width)
    tops = np.unique(np.linspace(0, height - tall, TILES).astype(int))
    lefts = np.unique(np.linspace(0, width - wide, TILES).astype(int))
    tiles = np.stack([pixels[y : y + tall, x : x + wide] for y in tops for x in lefts])
    # Twice green, as the sensors have it: near enough to luminance, in whole numbers.
    grey = tiles[..., 0].astype(np.int32) + 2 * tiles[..., 1] + tiles[..., 2]
    laplacian = (
        grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
        - 4 * grey[:, 1:-1, 1:-1]
    ) / 4.0  # fmt: skip
    return float(laplacian.var(axis=(1, 2)).mean())
