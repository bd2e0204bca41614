"""Perceptual hashes to be compared: ours, and those of other packages where they are installed.

The others are no dependencies of the project: `pip install imagehash` and
`pip install --no-deps imagededup` beside it. imagededup imports torchvision, matplotlib and tqdm
for its networks and plots; empty stand-ins suffice for its hashes.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from unittest.mock import MagicMock

import numpy as np
from PIL import Image

from pipeline.dedupe.algorithms.dihedral import turned, turns
from pipeline.imaging import phash
from pipeline.imaging.fingerprint import fingerprint

Pixels = np.ndarray
Hashes = list[bytes]


def as_stored(hashes: np.ndarray) -> np.ndarray:
    """Look a picture up by the very hashes that are stored of it."""
    return hashes


@dataclass(frozen=True)
class Method:
    """A way of saying that two pictures are copies: the least distance of any of their hashes.

    Attributes:
        name: for the table.
        hashes: upright RGB pixels, uint8 [H, W, 3], to hashes of equal length in bytes. None of
            them for a picture that cannot be compared, several where the method stores more than
            one, always in the same places: the picture, the picture inside its bars ...
        customary: bits up to which its authors call two pictures copies.
        probes: what is looked up for a picture, from what is stored of it: uint8 [N, K, bytes] to
            [N, L, bytes]; with mirrored and turned hashes L is a multiple of K.
        needs: package without which the method is left out.
    """

    name: str
    hashes: Callable[[Pixels], Hashes]
    customary: int
    probes: Callable[[np.ndarray], np.ndarray] = as_stored
    needs: str = ""


def ours(pixels: Pixels) -> Hashes:
    """Return PDQ by this project, none for a picture too flat to have one."""
    value, quality = phash.pdq(pixels)
    return [value] if quality >= phash.MIN_QUALITY else []


def facelake(pixels: Pixels) -> Hashes:
    """Return what `facelake dedupe` compares: PDQ, that inside bars, and the turnable hash.

    Here each is compared with each, there only like with like; unlike ones differ by 128 bits or,
    of one picture, by 8 to 16 more than like ones.
    """
    marks = fingerprint(pixels)
    if marks.phash_quality < phash.MIN_QUALITY:
        return [marks.phash_inner] * 3 if marks.phash_inner else []
    return [marks.phash, marks.phash_inner or marks.phash, marks.phash_turnable]


def in_any_turn(hashes: np.ndarray) -> np.ndarray:
    """Look a picture up as it is, mirrored and turned: uint8 [N, 3, 32] to [N, 10, 32]."""
    own = hashes[:, 2]
    ways = [turned(own, turn) for turn in turns(True, True)]
    quarter = turns(False, True)[1]  # and the quarter turn the other way
    ways.append(turned(turned(turned(own, quarter), quarter), quarter))
    return np.concatenate([hashes, np.stack(ways, axis=1)], axis=1)


def pdqhash(pixels: Pixels) -> Hashes:
    """Return PDQ by `pdqhash`, Facebook's own code, with the same rule on quality."""
    bits, quality = importlib.import_module("pdqhash").compute(np.ascontiguousarray(pixels))
    return [np.packbits(bits).tobytes()] if quality >= phash.MIN_QUALITY else []


def imagehash_phash(pixels: Pixels) -> Hashes:
    """Return the 64-bit pHash of `imagehash`."""
    hashed = importlib.import_module("imagehash").phash(Image.fromarray(pixels))
    return [np.packbits(hashed.hash).tobytes()]


def imagehash_dhash(pixels: Pixels) -> Hashes:
    """Return the 64-bit dHash of `imagehash`."""
    hashed = importlib.import_module("imagehash").dhash(Image.fromarray(pixels))
    return [np.packbits(hashed.hash).tobytes()]


def imagededup_phash(pixels: Pixels) -> Hashes:
    """Return the 64-bit PHash of `imagededup`."""
    return [bytes.fromhex(_imagededup("PHash").encode_image(image_array=pixels))]


def imagededup_dhash(pixels: Pixels) -> Hashes:
    """Return the 64-bit DHash of `imagededup`."""
    return [bytes.fromhex(_imagededup("DHash").encode_image(image_array=pixels))]


@lru_cache(maxsize=2)
def _imagededup(name: str) -> object:
    unused = ("torchvision", "torchvision.transforms", "torchvision.models", "matplotlib")
    unused += ("torchvision.models.vision_transformer", "matplotlib.gridspec", "matplotlib.pyplot")
    for module in (*unused, "tqdm"):
        if module in sys.modules or (
            "." not in module and importlib.util.find_spec(module) is not None
        ):
            continue
        sys.modules[module] = MagicMock()
    return getattr(importlib.import_module("imagededup.methods.hashing"), name)(verbose=False)


METHODS = [
    Method("PDQ, ours", ours, phash.MATCH_BITS),
    Method("Facelake", facelake, phash.MATCH_BITS),
    Method("Facelake, mirrored, rotated", facelake, phash.MATCH_BITS, in_any_turn),
    Method("pdqhash", pdqhash, 31, needs="pdqhash"),
    Method("imagehash pHash", imagehash_phash, 10, needs="imagehash"),
    Method("imagehash dHash", imagehash_dhash, 10, needs="imagehash"),
    Method("imagededup PHash", imagededup_phash, 10, needs="imagededup"),
    Method("imagededup DHash", imagededup_dhash, 10, needs="imagededup"),
]


def available() -> tuple[list[Method], list[str]]:
    """Return the methods whose packages are installed, and the names of the others."""
    there = [m for m in METHODS if not m.needs or importlib.util.find_spec(m.needs)]
    return there, [m.name for m in METHODS if m not in there]
