import numpy as np
import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from pipeline.models import area

CPU = torch.device("cpu")
RANDOM = np.random.default_rng(3)


def image(height, width):
    return RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)


def planes(pixels):
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].double()


def test_the_table_holds_every_sum():
    pixels = image(37, 23)
    table = area.summed_area(pixels, CPU)
    assert table.shape == (38, 24, 3)
    assert torch.equal(table[0], torch.zeros_like(table[0]))
    sums = pixels.astype(np.int64).cumsum(0).cumsum(1)
    assert np.array_equal(table[1:, 1:].numpy(), sums)


@pytest.mark.parametrize("seed", range(8))
def test_resize_is_torchs_area_interpolation(seed):
    random = np.random.default_rng(seed)
    height, width, h, w = (int(n) for n in random.integers(1, 300, 4))
    pixels = image(height, width)
    ours = area.resize(area.summed_area(pixels, CPU), h, w).permute(2, 0, 1)[None]
    assert torch.allclose(ours.double(), adaptive_avg_pool2d(planes(pixels), (h, w)), atol=2e-5)
    theirs = interpolate(planes(pixels), (h, w), mode="area")
    assert (ours.double() - theirs).abs().max() < 2e-5


@pytest.mark.parametrize("side", [24, 48])
def test_crops_are_torchs_area_interpolation_of_the_slice(side):
    pixels = image(211, 173)
    low = RANDOM.integers(0, 150, (40, 2))
    high = low + RANDOM.integers(1, 200, (40, 2))
    corners = np.concatenate([low, np.minimum(high, [173, 211])], axis=1).astype(np.int64)
    corners[0] = [0, 0, 173, 211]
    corners[1] = [172, 210, 173, 211]
    ours = area.crops(area.summed_area(pixels, CPU), torch.from_numpy(corners), side)
    for (x1, y1, x2, y2), crop in zip(corners, ours, strict=True):
        wanted = interpolate(planes(pixels[y1:y2, x1:x2]), (side, side), mode="area")
        assert (crop.permute(2, 0, 1)[None].double() - wanted).abs().max() < 2e-5


def test_sums_past_32_bits_wrap_around_and_stay_exact():
    """4100 x 4200 white pixels sum to more than 2^32."""
    pixels = np.full((4100, 4200, 3), 255, np.uint8)
    table = area.summed_area(pixels, CPU)
    assert (area.resize(table, 2050, 1200) == 255).all()
    corner = torch.tensor([[4000, 4000, 4200, 4100]])
    assert (area.crops(table, corner, 24) == 255).all()


def test_a_cell_is_exact_below_8_million_pixels():
    pixels = np.full((2800, 2900, 3), 255, np.uint8)
    mean = area.resize(area.summed_area(pixels, CPU), 1, 1)
    assert (mean - 255).abs().max() < 1e-4


def test_read_only_pixels_are_accepted():
    pixels = image(8, 9)
    pixels.setflags(write=False)
    assert area.summed_area(pixels, CPU).shape == (9, 10, 3)
