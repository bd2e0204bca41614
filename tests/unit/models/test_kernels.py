import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from pipeline.imaging import geometry
from pipeline.models.mtcnn import atlas, kernels
from pipeline.models.mtcnn.cascade import suppress
from pipeline.models.mtcnn.networks import PNet
from pipeline.models.mtcnn.sums import Tables


def image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def level(pixels, height, width):
    """A pyramid level by torch, normalised, [1, 3, H, W]."""
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    return (interpolate(planes, (height, width), mode="area") - 127.5) * 0.0078125


def test_tables_hold_every_sum_one_image_after_the_other():
    images = [image(37, 23), image(1, 1), image(5, 90)]
    tables = Tables.of(images)
    assert tables.sizes.tolist() == [[37, 23], [1, 1], [5, 90]]
    for pixels, start in zip(images, tables.start, strict=True):
        height, width = pixels.shape[:2]
        table = tables.sums[start:][: (height + 1) * (width + 1) * 3].reshape(height + 1, -1, 3)
        assert not table[0].any()
        assert not table[:, 0].any()
        assert np.array_equal(table[1:, 1:], pixels.astype(np.int64).cumsum(0).cumsum(1))


def test_read_only_and_strided_pixels_are_accepted():
    pixels = image(8, 9)
    pixels.setflags(write=False)
    mirrored = pixels[:, ::-1]
    copied = Tables.of([pixels.copy(), mirrored.copy()])
    assert np.array_equal(Tables.of([pixels, mirrored]).sums, copied.sums)


def test_sums_past_32_bits_wrap_around_and_crops_stay_exact():
    """4100 x 4200 white pixels sum to more than 2^32."""
    tables = Tables.of([np.full((4100, 4200, 3), 255, np.uint8)])
    crops = np.empty((1, 3, 24, 24), np.float32)
    corners = np.array([[4000, 4000, 4200, 4100]])
    kernels.cut(tables.sums, tables.start, tables.sizes, np.zeros(1, np.int64), corners, crops)
    assert (crops == (255 - 127.5) * 0.0078125).all()


@pytest.mark.parametrize("side", [24, 48])
def test_crops_are_torchs_area_interpolation_of_the_slice(side):
    images = [image(211, 173, seed) for seed in range(2)]
    random = np.random.default_rng(3)
    low = random.integers(0, 150, (40, 2))
    high = np.minimum(low + random.integers(1, 200, (40, 2)), [173, 211])
    corners = np.concatenate([low, high], axis=1)
    corners[:2] = [[0, 0, 173, 211], [172, 210, 173, 211]]
    owner = random.integers(0, 2, 40)
    tables = Tables.of(images)
    crops = np.empty((40, 3, side, side), np.float32)
    kernels.cut(tables.sums, tables.start, tables.sizes, owner, corners, crops)
    for mine, (x1, y1, x2, y2), crop in zip(owner, corners, crops, strict=True):
        wanted = level(images[mine][y1:y2, x1:x2], side, side)[0].numpy()
        assert np.abs(crop - wanted).max() < 1e-6


@pytest.fixture(scope="module")
def pnet():
    torch.manual_seed(1)
    network = PNet().eval().requires_grad_(False)
    network.prelu1.weight.copy_(torch.linspace(-1.2, 1, 10))  # the trained slopes have both signs
    return network


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        ((90, 61), [(54, 37), (55, 36), (12, 12), (13, 12), (12, 13), (13, 13)]),
        ((40, 1300), [(25, 1250), (24, 1049), (40, 1300)]),  # wider than an atlas
        ((700, 31), [(601, 28), (270, 19)]),  # taller
        ((30, 20), [(90, 61)]),  # a face smaller than 12 pixels: levels larger than the image
    ],
)
def test_an_atlas_gives_what_p_net_gives_on_each_level(pnet, size, sizes):
    pixels = [image(*size, 5), image(*size, 6)]
    tables = Tables.of(pixels)
    tiles = [
        tile
        for k, (mine, (height, width)) in enumerate((i, s) for i in range(2) for s in sizes)
        for tile in atlas.tiles_of(mine, k, height, width)
    ]
    weights = (pnet.conv1.weight, pnet.conv1.bias, pnet.prelu1.weight)
    first = kernels.FirstLayer(*(t.numpy() for t in weights))
    found = {}
    for rows, placed in atlas.pack(tiles):
        features = np.full((10, rows, atlas.COLUMNS), np.nan, np.float32)
        kernels.fill_atlas(tables.sums, tables.start, tables.sizes, placed, first, features)
        faces, shift = pnet.later(torch.from_numpy(features[None]))
        answer = torch.cat([faces[:, 1:] - faces[:, :1], shift], 1)[0].numpy()
        cells, values, patches = kernels.collect(answer, features, placed, -np.inf)
        assert not np.isnan(patches).any()
        again, _ = pnet.later(torch.from_numpy(patches))
        assert np.abs((again[:, 1] - again[:, 0]).ravel().numpy() - values[:, 0]).max() < 1e-5
        for (mine, k, y, x), value in zip(cells.tolist(), values, strict=True):
            assert (k, y, x) not in found
            assert mine == k // len(sizes)
            found[k, y, x] = value
    for k, (mine, (height, width)) in enumerate((i, s) for i in range(2) for s in sizes):
        faces, shift = pnet.later(
            pnet.pool1(pnet.prelu1(pnet.conv1(level(pixels[mine], height, width))))
        )
        wanted = torch.cat([faces[:, 1:] - faces[:, :1], shift], 1)[0].numpy()
        got = {(y, x): value for (level_, y, x), value in found.items() if level_ == k}
        assert len(got) == wanted[0].size
        for (y, x), value in got.items():
            assert value == pytest.approx(wanted[:, y, x], abs=2e-5)


def test_only_cells_above_the_threshold_are_collected():
    answer = np.random.default_rng(0).normal(size=(5, 12, 20)).astype(np.float32)
    features = np.zeros((10, 16, 24), np.float32)
    tiles = np.array([[3, 7, 0, 0, 100, 200, 9, 11, 2, 4]])  # 5 x 7 answers at row 2, column 4
    cells, values, _ = kernels.collect(answer, features, tiles, 0.5)
    wanted = np.argwhere(answer[0, 2:7, 4:11] >= 0.5)
    assert cells.tolist() == [[3, 7, 100 + y, 200 + x] for y, x in wanted]
    assert np.array_equal(values[:, 0], answer[0, 2:7, 4:11][tuple(wanted.T)])


boxes = st.lists(
    st.tuples(*[st.integers(0, 30)] * 4, st.integers(0, 3), st.integers(0, 4)), max_size=40
)


@given(boxes, st.sampled_from([0.0, 0.3, 0.5, 0.7]), st.booleans())
@settings(max_examples=200, deadline=None)
def test_suppression_by_group_is_that_of_each_group(rows, threshold, over_smaller):
    """Equal scores, empty and inverted boxes included."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    scores, group = table[:, 4], table[:, 5].astype(np.int64)
    kept = suppress(table[:, :4], scores, group, threshold, over_smaller=over_smaller)
    wanted = []
    for one in np.unique(group):
        mine = np.flatnonzero(group == one)
        alone = geometry.nms(table[mine, :4], scores[mine], threshold, over_smaller=over_smaller)
        wanted += mine[alone].tolist()
    assert kept.tolist() == wanted


sizes = st.lists(st.tuples(st.integers(12, 1500), st.integers(12, 1500)), min_size=1, max_size=12)


@given(sizes)
@settings(max_examples=60, deadline=None)
def test_tiles_cover_every_answer_once_and_lie_apart_inside_the_atlas(levels):
    tiles = [tile for k, (h, w) in enumerate(levels) for tile in atlas.tiles_of(k, k, h, w)]
    answers = [np.zeros((atlas.pooled(h) - 4, atlas.pooled(w) - 4), int) for h, w in levels]
    for rows, placed in atlas.pack(tiles):
        assert rows <= atlas.ROWS
        free = np.ones((rows, atlas.COLUMNS), bool)
        for _, k, height, width, top, left, tall, wide, y, x in placed.tolist():
            assert levels[k] == (height, width)
            place = free[y : y + tall, x : x + wide]
            assert place.shape == (tall, wide)
            assert place.all()
            place[:] = False
            answers[k][top : top + tall - 4, left : left + wide - 4] += 1
    assert all((mine == 1).all() for mine in answers)


def test_what_is_prepared_is_all_that_a_detection_needs(tmp_path):
    code = """
import numpy as np
from PIL import Image
from pipeline.models.detector import load_detector
from pipeline.models.drift import FACES
from pipeline.models.mtcnn import atlas, kernels
loops = [kernels.add_up, kernels.cut, kernels.fill_atlas, kernels.collect, kernels.suppress]
detector, misses = load_detector(), lambda: sum(sum(f.stats.cache_misses.values()) for f in loops)
before, kinds = misses(), [len(loop.signatures) for loop in loops]
assert len(detector.detect(Image.open(FACES))) > 2
print(before, misses() - before, kinds)
"""
    run = partial(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
    )  # fmt: skip
    # the largest was compiled in another process, and is read from its file here
    assert run().stdout.strip() == "4 0 [1, 1, 1, 1, 1]"
    assert run().stdout.strip() == "0 0 [0, 0, 0, 0, 0]"  # nothing is made again
