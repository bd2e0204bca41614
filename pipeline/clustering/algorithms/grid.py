"""Vectors on a grid of whole numbers, so that similarities are exact and the same everywhere.

Float sums depend on their order, and so on blocks, threads and machines; a clustering that cuts at
thresholds would then depend on them as well. Components rounded to multiples of 1/4000 have dot
products of whole numbers below 2^24, which float32 holds without rounding, in any order of
summation. Rounding moves a cosine by about 1e-4, and halves the memory of a vector.
"""

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Floats32, Floats64

Grid = npt.NDArray[np.int16]

SCALE = 4000
# One similarity of 1 in grid units; partial sums stay below it (Cauchy-Schwarz) and below 2^24.
UNIT = SCALE * SCALE


def to_grid(vectors: npt.NDArray[np.floating]) -> Grid:
    """Return vectors [N, D] of norm at most 1 on the grid, int16 [N, D]."""
    grid: Grid = np.rint(vectors * SCALE).astype(np.int16)
    return grid


def from_grid(vectors: Grid) -> Floats32:
    """Return grid vectors [N, D] as float32 [N, D]."""
    return vectors.astype(np.float32) / np.float32(SCALE)


def similarity(a: Grid, b: Grid) -> Floats64:
    """Return the dot products of two lists of grid vectors, row by row, float64 [N]."""
    products = np.einsum("nd,nd->n", a.astype(np.float32), b.astype(np.float32))
    cosines: Floats64 = products.astype(np.float64) / UNIT
    return cosines
