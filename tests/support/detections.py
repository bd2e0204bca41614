"""Compares what detectors find."""

import numpy as np

from pipeline.imaging import geometry


def assert_same(found, wanted, pixels=0.01, probability=1e-4):
    """Match by overlap, then compare; order is not part of it."""
    assert len(found) == len(wanted)
    if not len(found):
        return
    overlap = geometry.iou(found.boxes, wanted.boxes)
    match = overlap.argmax(axis=1)
    assert sorted(match) == list(range(len(wanted)))
    wanted = wanted.take(match)
    assert np.abs(found.boxes - wanted.boxes).max() <= pixels
    assert np.abs(found.landmarks - wanted.landmarks).max() <= pixels
    assert np.abs(found.scores - wanted.scores).max() <= probability
