"""What the three steps of MTCNN share on CPU and GPU: pyramid, candidates, regression.

Formulas of Zhang et al. 2016 (see `networks`) as the published implementation has them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats32, Ints, Pixels
from pipeline.config import DetectConfig
from pipeline.imaging.geometry import photo_side
from pipeline.models.mtcnn import kernels

PNET_CELL = 12  # P-net sees 12 x 12 pixels
PNET_STRIDE = 2  # and moves by 2
RNET_SIDE, ONET_SIDE = 24, 48
# Suppression inside a pyramid level, over all levels and after R-net, and after O-net (the last
# over the smaller area): the published implementation's values.
NMS_LEVEL, NMS_IMAGE, NMS_FINAL = 0.5, 0.7, 0.7


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes of several images, those of one image together.

    Attributes:
        boxes: float32 [N, 4].
        owner: int64 [N], which image, rising.
    """

    boxes: Floats32
    owner: Ints


def pyramid(
    height: int, width: int, min_face_px: float, factor: float
) -> list[tuple[float, int, int]]:
    """Return (scale, height, width) of every level at which a face of 12 pixels is searched."""
    scale = PNET_CELL / min_face_px
    side = min(height, width) * scale
    levels = []
    while side >= PNET_CELL:
        levels.append((scale, int(height * scale + 1), int(width * scale + 1)))
        scale *= factor
        side *= factor
    return levels


def smallest_face(height: int, width: int, config: DetectConfig) -> float:
    """Return the side of the smallest face that is searched in an image, in its pixels."""
    side = config.detection_side
    return config.min_face_px * (max(1, photo_side(height, width) / side) if side else 1)


def regress(boxes: Floats32, shift: Floats32, extra: float) -> Floats32:
    """Move the corners of `boxes` [N, 4] by `shift` [N, 4] in units of width and height + extra."""
    sides = boxes[:, 2:] - boxes[:, :2] + np.float32(extra)
    return (boxes + np.tile(sides, 2) * shift).astype(np.float32, copy=False)


def probability(logits: Floats32) -> Floats32:
    """Return the sigmoid of float32 [N], as a softmax of two in float32 comes to it.

    So sums near 1 are rounded as there. Many faces are surer than float32 can tell apart: of two
    that it calls equal the first wins, where more digits would have made it the other.
    """
    small: Floats32 = np.exp(-np.abs(logits))
    whole: Floats32 = np.where(logits >= 0, np.float32(1), small)
    return whole / (np.float32(1) + small)


def logit(share: float) -> float:
    """Return the logit of a probability; infinite at 0 and 1."""
    if share <= 0 or share >= 1:
        return math.copysign(math.inf, share - 0.5)
    return math.log(share / (1 - share))


def suppress(
    boxes: Floats32, scores: Floats32, group: Ints, threshold: float, *, over_smaller: bool = False
) -> Ints:
    """Return indices that `geometry.nms` keeps inside each group: by group, best score first.

    `group` [N] is an integer for each box.
    """
    order = np.lexsort((-scores, group))
    extra = 1.0 if over_smaller else 0.0
    group = np.ascontiguousarray(group)  # Numba would compile once for each layout
    return kernels.suppress(boxes, order, group, threshold, extra, over_smaller)


def whole_pixels(candidates: Candidates, sizes: Ints) -> tuple[Candidates, Ints]:
    """Return the candidates that meet their image, and their whole pixels int64 [N, 4].

    `sizes` [images, 2] are heights and widths. The published crops count pixels from 1 and take
    both ends; at the border they are stretched.
    """
    corners = np.trunc(candidates.boxes).astype(np.int64)
    corners[:, :2] = np.maximum(corners[:, :2], 1) - 1
    corners[:, 2:] = np.minimum(corners[:, 2:], sizes[candidates.owner][:, ::-1])
    inside = (corners[:, 2:] > corners[:, :2]).all(axis=1)
    return Candidates(candidates.boxes[inside], candidates.owner[inside]), corners[inside]


def chunks(images: Sequence[Pixels], most_pixels: int) -> Iterator[list[Pixels]]:
    """Split images so that a chunk has at most `most_pixels`, or is one image."""
    chunk: list[Pixels] = []
    pixels = 0
    for image in images:
        count = image.shape[0] * image.shape[1]
        if chunk and pixels + count > most_pixels:
            yield chunk
            chunk, pixels = [], 0
        chunk.append(image)
        pixels += count
    if chunk:
        yield chunk
