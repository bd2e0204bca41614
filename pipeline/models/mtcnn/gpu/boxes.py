"""Arithmetic of boxes on a device of torch: what `cascade` and `geometry` do in NumPy.

The order of operations is the same, so that both round alike.
"""

import torch
from torch import Tensor


def regress(boxes: Tensor, shift: Tensor, extra: float) -> Tensor:
    """Move the corners of `boxes` [N, 4] by `shift` [N, 4] in units of width and height + extra."""
    sides = boxes[:, 2:] - boxes[:, :2] + extra
    return boxes + sides.repeat(1, 2) * shift


def square(boxes: Tensor) -> Tensor:
    """Return boxes [N, 4] grown to squares of the longer side, around the same centres."""
    sides = boxes[:, 2:] - boxes[:, :2]
    side = sides.amax(1, keepdim=True)
    low = boxes[:, :2] + sides * 0.5 - side * 0.5
    return torch.cat([low, low + side], dim=1)


def probability(logits: Tensor) -> Tensor:
    """Return the sigmoid as float32; in float64 on the way, as on a CPU."""
    return torch.sigmoid(logits.double()).float()


def areas(boxes: Tensor) -> Tensor:
    """Return the areas of `boxes` [N, 4]."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def whole_pixels(boxes: Tensor, height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """Return the whole pixels int64 [N, 4] of boxes [N, 4], and which meet their image, bool [N].

    `height` and `width` [N] are of each box's image. The published crops count pixels from 1 and
    take both ends; at the border they are stretched. A box that misses its image gets a pixel of
    it, so that it can be cut like others and be left out later: no need to wait for how many.
    """
    corners = boxes.trunc().long()
    low = corners[:, :2].clamp(min=1) - 1
    size = torch.stack([width, height], dim=1)
    high = torch.minimum(corners[:, 2:], size)
    inside = (high > low).all(dim=1)
    low = torch.minimum(low, size - 1)
    return torch.cat([low, torch.maximum(high, low + 1)], dim=1), inside


def spread(counts: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """Number what `counts` [N] items have: owner and number inside it, int64 [total] each.

    `total` is the sum of `counts`, given so that the host need not wait for the device.
    """
    owner = torch.repeat_interleave(counts, output_size=total)
    return owner, torch.arange(total, device=counts.device) - before(counts)[owner]


def before(counts: Tensor) -> Tensor:
    """Return the sum of all that stand before each."""
    return counts.cumsum(0) - counts
