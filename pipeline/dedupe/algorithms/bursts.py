"""Shots that a camera made within seconds: alike, but not copies of each other."""

import numpy as np

from pipeline.arrays import Bools, Floats64, Ints
from pipeline.dedupe.algorithms.banding import distances, spread
from pipeline.dedupe.algorithms.pictures import Pictures

# Random hashes differ by 128 bits, deviation 8; this is seven deviations closer. Two shots of one
# scene, some movement between them, are; the next scene of the same camera is not.
SCENE_BITS = 72
# Time zones differ by quarters of an hour, and by up to 26 hours.
ZONE_MS, MOST_ZONES_MS = 15 * 60_000, 26 * 3_600_000


def are_shots(pictures: Pictures, kept: int, others: Ints, bits: Ints) -> Bools:
    """Return which of `others` are other shots than `kept` rather than copies of it.

    Other times of one camera, unless a clock was set to another zone; or the same time, where
    cameras do not write fractions of a second, under another file name, at the same size, but not
    the same picture.
    """
    same = (pictures.camera[others] == pictures.camera[kept]) & (pictures.camera[others] > 0)
    apart = np.abs(pictures.taken_ms[others] - pictures.taken_ms[kept])
    set_clock = (apart <= MOST_ZONES_MS) & (apart % ZONE_MS == 0)
    sizes = (pictures.width[others] == pictures.width[kept]) & (
        pictures.height[others] == pictures.height[kept]
    )
    twins = sizes & (pictures.stem[others] != pictures.stem[kept]) & (bits > 0)
    shots: Bools = same & (((apart > 0) & ~set_clock) | ((apart == 0) & twins))
    return shots


def bursts(pictures: Pictures, burst_s: float, largest: int) -> Ints:
    """Return the burst of each picture, -1 for none, int64 [N].

    A burst is a run of shots of one camera, each within `burst_s` of the one before and of the same
    scene. Numbers are arbitrary.
    """
    burst = np.full(len(pictures), -1, np.int64)
    comparable = np.flatnonzero(
        (pictures.camera > 0) & np.isfinite(pictures.taken_ms) & pictures.has_phash
    )
    if len(comparable) < 2 or not burst_s:
        return burst
    ids = np.ascontiguousarray(pictures.image_id[comparable]).view(np.uint64)
    order = comparable[
        np.lexsort((*ids.T, pictures.taken_ms[comparable], pictures.camera[comparable]))
    ]
    together = joined(pictures, order[:-1], order[1:], burst_s)
    run = np.concatenate([[0], np.cumsum(~together)])
    # A run longer than a group may be is cut into groups.
    place = np.arange(len(run)) - np.searchsorted(run, run)
    run = run * (len(run) + 1) + place // largest
    _, dense, sizes = np.unique(run, return_inverse=True, return_counts=True)
    several = sizes[dense] > 1
    burst[order[several]] = dense[several]
    return burst


def joined(pictures: Pictures, first: Ints, second: Ints, burst_s: float) -> Bools:
    """Return which pairs are one shot and the next of a burst."""
    times: Floats64 = pictures.taken_ms
    close: Bools = (pictures.camera[first] == pictures.camera[second]) & (
        times[second] - times[first] <= 1000 * burst_s
    )
    rows = np.flatnonzero(close)
    bits = distances(spread(pictures.phash[first[rows]]), spread(pictures.phash[second[rows]]))
    close[rows[bits > SCENE_BITS]] = False
    return close
