"""Compares what detectors find."""

import numpy as np

from pipeline.imaging import geometry


def assert_same(detected, expected, pixels=0.01, probability=1e-4):
    """Match by overlap, then compare; order is not part of it."""
    assert len(detected) == len(expected)
    if not len(detected):
        return
    overlap = geometry.iou(detected.boxes, expected.boxes)
    match = overlap.argmax(axis=1)
    assert sorted(match) == list(range(len(expected)))
    expected = expected.take(match)
    assert np.abs(detected.boxes - expected.boxes).max() <= pixels
    assert np.abs(detected.landmarks - expected.landmarks).max() <= pixels
    assert np.abs(detected.scores - expected.scores).max() <= probability
