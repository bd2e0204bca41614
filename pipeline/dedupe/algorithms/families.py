"""Families: pictures that hang together. Nothing about one depends on a picture outside of it.

Pictures are of one family if they have equal pixels or a close hash, if one lies inside the other,
or if a camera made them one after the other; and if a third one is of a family with both.
"""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.arrays import Bools, Floats64, Ints
from pipeline.dedupe.algorithms.hamming import Pairs
from pipeline.dedupe.algorithms.pictures import Hashes, Pictures

ALONE = 0


def families(count: int, links: Iterator[Ints]) -> Ints:
    """Return the family of each of so many pictures, from 1 on, `ALONE` for one alone, int64 [N].

    Args:
        count: of pictures.
        links: pairs of pictures that hang together, int64 [L, 2] each.
    """
    first, second = np.concatenate([np.zeros((0, 2), np.int64), *links]).T
    graph = coo_array((np.ones(len(first), bool), (first, second)), (count, count))
    _, label = connected_components(graph.tocsr(), directed=False)
    several = np.bincount(label, minlength=1) > 1
    number = np.where(several, np.cumsum(several), ALONE)
    found: Ints = number[label]
    return found


def chained(owner: Ints, value: Ints) -> Ints:
    """Return pairs of owners that link all those of one value, int64 [L, 2]."""
    order = np.argsort(value, kind="stable")
    same = value[order[1:]] == value[order[:-1]]
    return np.stack([owner[order[:-1][same]], owner[order[1:][same]]], axis=1)


def of_hashes(hashes: Hashes, several: Iterator[Pairs]) -> Iterator[Ints]:
    """Yield links between pictures with one hash, and with close ones."""
    yield chained(hashes.picture, hashes.number)
    owner = np.zeros(len(hashes.values), np.int64)
    owner[hashes.number] = hashes.picture
    for pairs in several:
        yield np.stack([owner[pairs.first], owner[pairs.second]], axis=1)


def in_time(pictures: Pictures, burst_s: float) -> Ints:
    """Return links between shots of a camera and the next, at most so far apart, int64 [L, 2].

    Bursts lie within them: whichever shots turn out to be copies, the others are no closer.
    """
    rows = np.flatnonzero(timed(pictures) & bool(burst_s))
    rows = rows[np.lexsort((pictures.taken_ms[rows], pictures.camera[rows]))]
    camera, taken = pictures.camera[rows], pictures.taken_ms[rows]
    close = (camera[1:] == camera[:-1]) & (np.diff(taken) <= 1000 * burst_s)
    return np.stack([rows[:-1][close], rows[1:][close]], axis=1)


def timed(pictures: Pictures) -> Bools:
    """Return which pictures may be shots of a burst."""
    found: Bools = (pictures.camera > 0) & np.isfinite(pictures.taken_ms) & pictures.has_phash
    return found


def beside(pictures: Pictures, cameras: Ints, times: Floats64, burst_s: float) -> Bools:
    """Return which pictures may be shots of a burst with one of some others.

    Args:
        pictures: that are asked about.
        cameras: of the others.
        times: of the others in milliseconds, ascending for each camera.
        burst_s: seconds from one shot to the next.
    """
    found = np.zeros(len(pictures), bool)
    rows = np.flatnonzero(timed(pictures) & bool(burst_s))
    for camera in np.intersect1d(cameras, pictures.camera[rows]):
        own = rows[pictures.camera[rows] == camera]
        others = np.concatenate([[-np.inf], times[cameras == camera], [np.inf]])
        taken = pictures.taken_ms[own]
        after = np.searchsorted(others, taken)
        gap = np.minimum(others[after] - taken, taken - others[after - 1])
        found[own] = gap <= 1000 * burst_s
    return found
