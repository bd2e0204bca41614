from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.imaging import geometry
from pipeline.models.mtcnn.gpu import nms
from pipeline.models.mtcnn.gpu.nms import Overlap, batches, bundles
from tests.support.devices import DEVICES

rows = st.lists(
    st.tuples(*[st.integers(0, 30)] * 4, st.integers(0, 3), st.integers(0, 4)), max_size=40
)


def one_by_one(boxes, scores, group, overlap):
    kept = []
    for one in np.unique(group):
        members = np.flatnonzero(group == one)
        alone = geometry.nms(
            boxes[members], scores[members], overlap.threshold, over_smaller=overlap.over_smaller
        )
        kept += members[alone].tolist()
    return kept


def at_once(boxes, scores, group, overlap, device, side=nms.SIDE, pairs=nms.PAIRS):
    tensors = (torch.from_numpy(x).to(device) for x in (boxes, scores, group))
    groups = int(group.max(initial=-1)) + 2
    with mock.patch.multiple(nms, SIDE=side, PAIRS=pairs):
        return nms.suppress(*tensors, groups, overlap).tolist()


@pytest.mark.parametrize("device", DEVICES)
@given(
    table=rows,
    threshold=st.sampled_from([0.0, 0.3, 0.5, 0.7]),
    over_smaller=st.booleans(),
    side=st.sampled_from([1, 3, 8, 1024]),
    pairs=st.sampled_from([1, 30, 1 << 20]),
)
@settings(max_examples=300, deadline=None)
def test_suppression_is_geometrys_inside_each_group(
    device, table, threshold, over_smaller, side, pairs
):
    """Equal scores, empty and inverted boxes, groups larger than a matrix included."""
    table = np.array(table, np.float32).reshape(-1, 6)
    boxes, scores, group = table[:, :4], table[:, 4], table[:, 5].astype(np.int64)
    overlap = Overlap(threshold, over_smaller)
    kept_at_once = at_once(boxes, scores, group, overlap, device, side=side, pairs=pairs)
    assert kept_at_once == one_by_one(boxes, scores, group, overlap)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("over_smaller", [False, True])
def test_many_boxes_of_any_numbers(device, over_smaller):
    random = np.random.default_rng(0)
    low = random.uniform(-50, 300, (3000, 2))
    boxes = np.concatenate([low, low + random.uniform(0, 90, (3000, 2))], 1).astype(np.float32)
    scores = random.choice(np.linspace(0.6, 1, 50), 3000).astype(np.float32)
    group = random.choice(9, 3000, p=[0.6, *[0.05] * 8]).astype(np.int64)
    overlap = Overlap(0.5, over_smaller)
    kept_at_once = at_once(boxes, scores, group, overlap, device, side=256, pairs=1 << 17)
    assert kept_at_once == one_by_one(boxes, scores, group, overlap)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("side", [16, 512])
def test_a_chain_in_which_each_box_decides_the_next(device, side):
    """As many rounds as boxes: every other one stays."""
    boxes = np.array([[4 * k, 0, 4 * k + 10, 10] for k in range(200)], np.float32)
    scores = np.linspace(1, 0.5, 200).astype(np.float32)
    group = np.zeros(200, np.int64)
    kept_at_once = at_once(boxes, scores, group, Overlap(0.4), device, side=side)
    assert kept_at_once == list(range(0, 200, 2))


def test_groups_share_matrices_or_are_taken_apart():
    together, large = bundles([3, 0, 2, 1, 9, 1, 4, 2], 8)
    assert together == [(0, 5), (16, 22)]
    assert large == [(6, 15)]
    assert bundles([1, 1, 0], 8) == ([], [])
    spans = [(0, 5), (5, 8), (8, 16), (16, 17)]
    assert list(batches(spans, 1)) == [[(8, 16)], [(0, 5)], [(5, 8)], [(16, 17)]]
    assert list(batches(spans, 130)) == [[(8, 16), (0, 5)], [(5, 8), (16, 17)]]
