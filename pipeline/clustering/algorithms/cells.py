"""Cells: a partition of the sphere around centroids, so that search looks into few of them.

Inverted-file search (Jegou, Douze, Schmid, PAMI 33, 2011): each vector is stored in the cell of
its nearest centroid and looked for in its nearest `probes` cells.
"""

import math

import numpy as np
import numpy.typing as npt
import torch

from pipeline.arrays import Ints
from pipeline.clustering.algorithms.grid import SCALE, Grid

ROUNDS = 4
# Members of a cell, about: a task holds those of one cell at a time.
MOST_MEMBERS = 65_536
BLOCK = 8192
Cells = npt.NDArray[np.int32]


def number_of_cells(members: int, queries: int, probes: int) -> int:
    """Return sqrt(Q p): then assigning N vectors and searching cost the same, 2 d N sqrt(Q p) each.

    So a few queries among many members look into few, large cells, which finds more.
    """
    return max(1, round(math.sqrt(queries * probes)), members // MOST_MEMBERS)


def centroids(sample: Grid, count: int) -> Grid:
    """Return up to `count` unit centroids of `sample` [S, D], grid vectors [C, D].

    Spherical k-means from the first vectors of the sample, which should therefore be in random
    but fixed order. Sums are of whole numbers: exact in any order. Neighbouring centroids get
    neighbouring numbers, so that work on a range of cells touches few others.
    """
    centres = np.unique(sample[:count], axis=0)
    for _ in range(ROUNDS):
        nearest = assign(sample, centres, 1)[:, 0]
        order = np.argsort(nearest, kind="stable")
        starts = np.flatnonzero(np.diff(nearest[order], prepend=-1))
        sums = np.add.reduceat(sample[order].astype(np.int64), starts, axis=0)
        centres[nearest[order][starts]] = _unit(sums)  # a centroid without vectors stays
    centres = np.unique(centres, axis=0)
    return centres[_along(centres)]


def assign(vectors: Grid, centres: Grid, probes: int, device: str = "cpu") -> Cells:
    """Return the nearest `probes` centroids of each vector, nearest first, int32 [N, probes]."""
    probes = min(probes, len(centres))
    centre_block = torch.from_numpy(centres.astype(np.float32)).to(device)
    cells = np.empty((len(vectors), probes), np.int32)
    for start in range(0, len(vectors), BLOCK):
        block = torch.from_numpy(vectors[start : start + BLOCK].astype(np.float32)).to(device)
        scores = block @ centre_block.T
        cells[start : start + BLOCK] = torch.topk(scores, probes, dim=1).indices.cpu().numpy()
    return cells


def _unit(sums: Ints) -> Grid:
    norms = np.linalg.norm(sums.astype(np.float64), axis=1, keepdims=True)
    return np.rint(sums / np.where(norms > 0, norms, 1) * SCALE).astype(np.int16)


def _along(centres: Grid) -> Ints:
    """Return the centroids' order along coarse cells of their own."""
    coarse = centres[:: max(1, round(len(centres) ** 0.5))]
    return np.argsort(assign(centres, coarse, 1)[:, 0], kind="stable")
