"""Changes faces at random, so that a network learns what does not matter.

The picture operations are Kornia's: pure torch, on tensors, without torchvision, Apache-2.0. What
is drawn is drawn here, from a generator of NumPy, so that a batch depends on its number alone: a
run that is resumed sees what it would have seen.
"""

from typing import Any

import numpy as np
import simplejpeg
import torch
from torch import Tensor

from pipeline.arrays import Pixels
from pipeline.training.extra import extra
from pipeline.training.settings import Level

Random = np.random.Generator

# Per level: share of faces that each change is made to, and how far.
SHARES = {
    "standard": {"warp": 0.8, "colour": 0.6, "grey": 0.1, "blur": 0.1, "small": 0.1, "jpeg": 0.2,
                 "hide": 0.1},
    "strong": {"warp": 1.0, "colour": 0.8, "grey": 0.2, "blur": 0.25, "small": 0.25, "jpeg": 0.4,
               "hide": 0.3},
}  # fmt: skip
DEGREES, SHIFT, ZOOM = 10.0, 0.06, 0.1  # of the side
COLOUR = 0.3  # brightness, contrast and saturation, up or down
BLUR = (0.5, 2.0)  # sigma in pixels of a 112 px face
SMALL = (0.2, 0.6)  # of the side, before it is enlarged again
JPEG = (20, 80)  # quality
HIDE = (0.1, 0.35)  # of the side, a box of one colour


def augmented(crops: Pixels, level: Level, random: Random) -> Pixels:
    """Return faces, changed at random.

    Args:
        crops: uint8 [N, S, S, 3], RGB.
        level: how much; "none" returns them as they are.
        random: draws everything.

    Raises:
        ConfigError: Kornia is not installed.
    """
    if level == "none" or not len(crops):
        return crops
    flip = random.random(len(crops)) < 0.5
    crops = np.where(flip[:, None, None, None], crops[:, :, ::-1], crops)
    if level == "flip":
        return crops
    shares = SHARES[level]
    chosen = {name: np.flatnonzero(random.random(len(crops)) < p) for name, p in shares.items()}
    x = torch.from_numpy(crops).permute(0, 3, 1, 2).float().div_(255)
    for name, change in (("warp", _warp), ("colour", _colour), ("grey", _grey), ("blur", _blur),
                         ("small", _small), ("hide", _hide)):  # fmt: skip
        if len(rows := chosen[name]):
            x[rows] = change(x[rows], random)
    pixels = x.clamp_(0, 1).mul_(255).round_().to(torch.uint8).permute(0, 2, 3, 1).numpy().copy()
    for row in chosen["jpeg"]:
        encoded = simplejpeg.encode_jpeg(pixels[row], int(random.integers(*JPEG)))
        pixels[row] = simplejpeg.decode_jpeg(encoded)
    return pixels


def _kornia() -> Any:
    return extra("kornia")


def _uniform(random: Random, low: float, high: float, count: int) -> Tensor:
    return torch.from_numpy(random.uniform(low, high, count).astype(np.float32))


def _warp(x: Tensor, random: Random) -> Tensor:
    """Turn, shift and zoom, as detectors and people's heads do."""
    count, side = len(x), x.shape[-1]
    angle, zoom = _uniform(random, -DEGREES, DEGREES, count), _uniform(
        random, 1 - ZOOM, 1 + ZOOM, count
    )  # fmt: skip
    transform = _kornia().geometry.transform
    centre = torch.full((count, 2), (side - 1) / 2)
    matrix = transform.get_rotation_matrix2d(centre, angle, zoom[:, None].expand(-1, 2))
    shift = SHIFT * side
    matrix[:, :, 2] += _uniform(random, -shift, shift, 2 * count).reshape(count, 2)
    warped: Tensor = transform.warp_affine(x, matrix, (side, side), padding_mode="border")
    return warped


def _colour(x: Tensor, random: Random) -> Tensor:
    """Change brightness, contrast and saturation."""
    enhance = _kornia().enhance
    low, high, count = 1 - COLOUR, 1 + COLOUR, len(x)
    x = enhance.adjust_brightness(x, _uniform(random, -COLOUR, COLOUR, count))
    x = enhance.adjust_contrast_with_mean_subtraction(x, _uniform(random, low, high, count))
    changed: Tensor = enhance.adjust_saturation_with_gray_subtraction(
        x, _uniform(random, low, high, count)
    )
    return changed


def _grey(x: Tensor, random: Random) -> Tensor:
    grey: Tensor = _kornia().color.rgb_to_grayscale(x)
    return grey.expand_as(x)


def _blur(x: Tensor, random: Random) -> Tensor:
    sigma = _uniform(random, *BLUR, len(x)) * (x.shape[-1] / 112)
    size = 2 * round(3 * BLUR[1] * x.shape[-1] / 112 / 2) + 1
    filters = _kornia().filters
    blurred: Tensor = filters.gaussian_blur2d(x, size, sigma[:, None].expand(-1, 2))
    return blurred


def _small(x: Tensor, random: Random) -> Tensor:
    """Reduce and enlarge again: faces of few pixels."""
    side = x.shape[-1]
    small = []
    for one, share in zip(x, random.uniform(*SMALL, len(x)), strict=True):
        size = max(8, round(share * side))
        less = torch.nn.functional.interpolate(one[None], (size, size), mode="area")
        small.append(torch.nn.functional.interpolate(less, (side, side), mode="bilinear"))
    return torch.cat(small)


def _hide(x: Tensor, random: Random) -> Tensor:
    """Cover a box: hands, masks, other heads (Zhong et al., "Random Erasing", AAAI 2020)."""
    side = x.shape[-1]
    for one in x:
        height, width = (random.uniform(*HIDE, 2) * side).astype(int)
        top, left = random.integers(0, side - height), random.integers(0, side - width)
        one[:, top : top + height, left : left + width] = float(random.random())
    return x
