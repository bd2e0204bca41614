"""Whether two faces are one and the same on two copies of a picture: crops, heavy edits.

The same person on two different shots is not enough. What tells copies: vectors that are alike
beyond what two shots reach, landmarks that one scaling, turn and shift maps onto each other, and
aligned thumbnails that agree pixel by pixel.
"""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.arrays import Bools, Bytes, Floats32, Floats64

# On the example photos copies reach at least 0.978, other shots of a person at most 0.837; on LFW
# nearly all pairs above are one picture, cropped twice or published twice.
LEAST_COSINE = 0.94
LEAST_COSINE_ALONE = 0.97  # where there are no thumbnails to compare
LEAST_CORRELATION = 0.93
# Root mean square of what is left of the landmarks, by their spread: the detector's own noise on a
# picture at another scale is up to 0.04.
MOST_RESIDUAL = 0.05
BORDER = 0.05
# Bits by which sign hashes of vectors with LEAST_COSINE differ: 28 on average (256 arccos(c) / pi),
# deviation 5; three deviations more.
HASH_RADIUS = 44
HASH_BITS = 256
SEED = 1
# Thumbnails are compared at 20 x 20, without their rim.
SMALL, RIM = 28, 4


def sign_hashes(vectors: Floats32) -> Bytes:
    """Return 256 bits a unit vector, uint8 [N, 32], of which share arccos(cosine) / pi differ.

    Signs of random projections (Charikar, "Similarity Estimation Techniques from Rounding
    Algorithms", STOC 2002), the same ones for ever.
    """
    random = np.random.default_rng(SEED)
    planes = random.standard_normal((vectors.shape[1], HASH_BITS)).astype(np.float32)
    return np.packbits(vectors @ planes > 0, axis=1)


Complexes = npt.NDArray[np.complex128]


@dataclass(frozen=True)
class Similarities:
    """Scalings, turns and shifts of the plane, as complex numbers: z becomes scale z + shift.

    Attributes:
        scale, shift: complex128 [P].
        residual: root mean square of what is left of the landmarks, by their spread, [P].
    """

    scale: Complexes
    shift: Complexes
    residual: Floats64

    @classmethod
    def fit(cls, first: Floats32, second: Floats32) -> "Similarities":
        """Return the ones that best map landmarks [P, 5, 2] onto others (Umeyama 1991)."""
        a, b = (p[..., 0].astype(np.float64) + 1j * p[..., 1] for p in (first, second))
        centre_a, centre_b = a.mean(axis=1), b.mean(axis=1)
        a, b = a - centre_a[:, np.newaxis], b - centre_b[:, np.newaxis]
        spread = np.maximum((np.abs(a) ** 2).sum(axis=1), 1e-9)
        scale = (a.conj() * b).sum(axis=1) / spread
        left = (np.abs(b - scale[:, np.newaxis] * a) ** 2).sum(axis=1)
        residual = np.sqrt(left / np.maximum((np.abs(b) ** 2).sum(axis=1), 1e-9))
        return cls(scale, centre_b - scale * centre_a, residual)

    def inside(self, size: Floats64, frame: Floats64) -> Bools:
        """Return whether pictures of width and height `size` [P, 2] end up inside `frame` [P, 2].

        Up to `BORDER` of the frame: a fit to a face is less sure far from it.
        """
        corners = size[:, :1] * [0, 1, 0, 1] + 1j * size[:, 1:] * [0, 0, 1, 1]
        moved = self.scale[:, np.newaxis] * corners + self.shift[:, np.newaxis]
        slack = BORDER * frame
        inside: Bools = np.ones(len(size), bool)
        for values, side in ((moved.real, 0), (moved.imag, 1)):
            inside &= values.min(axis=1) >= -slack[:, side]
            inside &= values.max(axis=1) <= frame[:, side] + slack[:, side]
        return inside


def signature(thumbnail: bytes | None) -> Floats32 | None:
    """Return a thumbnail as a vector whose dot product is the correlation; None where it has none.

    Args:
        thumbnail: JPEG of an aligned face.
    """
    if thumbnail is None:
        return None
    with Image.open(io.BytesIO(thumbnail)) as image:
        small = image.convert("L").resize((SMALL, SMALL), Image.Resampling.BOX)
    values = np.asarray(small, np.float32)[RIM:-RIM, RIM:-RIM].ravel()
    values = values - values.mean()
    norm = float(np.linalg.norm(values))
    return values / norm if norm > 1 else None


def are_copies(cosine: Floats64, residual: Floats64, correlation: Floats64) -> Bools:
    """Return which pairs are one face of one picture; a correlation that is not known is NaN."""
    alone = np.isnan(correlation)
    needed = np.where(alone, LEAST_COSINE_ALONE, LEAST_COSINE)
    agrees = alone | (correlation >= LEAST_CORRELATION)
    same: Bools = (cosine >= needed) & (residual <= MOST_RESIDUAL) & agrees
    return same
