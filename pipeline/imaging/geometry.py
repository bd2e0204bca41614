"""Boxes, overlap, non-maximum suppression, crops and alignment, in NumPy.

A box is x1, y1, x2, y2 in pixels, `float32 [N, 4]`; landmarks are `float32 [N, 5, 2]` in the
order left_eye, right_eye, nose, mouth_left, mouth_right, left being left in the image.
"""

import math
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.arrays import Floats32, Floats64, Ints, Pixels

Floats = TypeVar("Floats", Floats32, Floats64)

# Where ArcFace-family models expect the five landmarks in their 112 x 112 input
# (Deng et al., "ArcFace", CVPR 2019; the positions are those of the published training crops).
ARCFACE_112 = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    dtype=np.float32,
)


def photo_side(height: int, width: int) -> float:
    """Return the longer side that counts for an image; of a panorama, that of a 4:3 photo as large.

    An image more than twice as long as it is wide has far fewer pixels than its longer side
    suggests: its pixels say by what it is reduced.
    """
    longer, shorter = max(height, width), min(height, width)
    return longer if longer <= 2 * shorter else math.sqrt(height * width * 4 / 3)


def areas(boxes: Floats) -> Floats:
    """Return the areas of `boxes` [N, 4] in square pixels."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def shorter_sides(boxes: Floats) -> Floats:
    """Return the shorter sides of `boxes` [N, 4] in pixels."""
    shorter: Floats = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    return shorter


def central_areas(boxes: Floats, size: tuple[int, int], weight: float = 2) -> Floats:
    """Return areas less `weight` times the squared distance of each centre from the image's.

    `size` is height and width of the image. David Sandberg's facenet chooses a face by it.
    """
    middle = np.array([size[1] / 2, size[0] / 2], boxes.dtype)
    offset = (boxes[:, :2] + boxes[:, 2:]) / 2 - middle
    central: Floats = areas(boxes) - weight * (offset**2).sum(axis=1)
    return central


def iou(boxes: Floats32, others: Floats32) -> Floats32:
    """Return intersection over union, [N, M] in [0, 1]; empty boxes overlap nothing."""
    left_top = np.maximum(boxes[:, None, :2], others[None, :, :2])
    right_bottom = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    sides = np.clip(right_bottom - left_top, 0, None)
    shared = sides[..., 0] * sides[..., 1]
    union = areas(boxes)[:, None] + areas(others)[None, :] - shared
    ratio: Floats32 = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ratio


def nms(boxes: Floats32, scores: Floats32, threshold: float, *, over_smaller: bool = False) -> Ints:
    """Return indices of the boxes that greedy non-maximum suppression keeps, best score first.

    A box goes when a better one overlaps it by more than `threshold`: intersection over union,
    or over the smaller of the two areas (then a side counts its last pixel, x2 - x1 + 1), as the
    two kinds of suppression in MTCNN do (Zhang et al. 2016). Equal scores keep their order.
    """
    extra = np.float32(1 if over_smaller else 0)
    order = np.argsort(-scores, kind="stable")
    x1, y1, x2, y2 = (boxes[order, i] for i in range(4))
    area = (x2 - x1 + extra) * (y2 - y1 + extra)
    rest = np.arange(len(order))
    kept: list[int] = []
    while len(rest):
        best, rest = rest[0], rest[1:]
        kept.append(int(best))
        width = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest]) + extra
        height = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest]) + extra
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        if over_smaller:
            whole = np.minimum(area[best], area[rest])
        else:
            whole = area[best] + area[rest] - shared
        # An empty box overlaps nothing.
        overlap = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
        rest = rest[~(overlap > threshold)]
    return order[kept]


def square(boxes: Floats32) -> Floats32:
    """Return boxes grown to squares of the longer side, around the same centres."""
    width = boxes[:, 2] - boxes[:, 0]
    height = boxes[:, 3] - boxes[:, 1]
    side = np.maximum(width, height)
    x1 = boxes[:, 0] + width * np.float32(0.5) - side * np.float32(0.5)
    y1 = boxes[:, 1] + height * np.float32(0.5) - side * np.float32(0.5)
    return np.stack([x1, y1, x1 + side, y1 + side], axis=1)


def reduced(pixels: Pixels, factor: int) -> Pixels:
    """Return the means of squares of `factor` pixels; the last ones of what there is."""
    return np.asarray(Image.fromarray(pixels).reduce(factor)) if factor > 1 else pixels


def turned(pixels: Pixels, turn: int) -> Pixels:
    """Return a view of an image [H, W, 3] turned clockwise by `turn`, a multiple of 90 degrees."""
    return np.rot90(pixels, -turn // 90)


def turned_points(points: Floats32, height: float, width: float, turn: int) -> Floats32:
    """Return where `points` [..., 2] of an image lie once it is turned clockwise.

    `turn` is a multiple of 90 degrees. `height` and `width` are the largest y and x that there
    are: the sides of the image for the corners of boxes, one less for centres of pixels.
    """
    x, y = points[..., 0], points[..., 1]
    places = ((x, y), (height - y, x), (width - x, height - y), (y, width - x))
    return np.stack(places[turn // 90 % 4], axis=-1).astype(np.float32)


def margin_box(box: Floats, width: int, height: int, size: int, margin_px: float) -> Ints:
    """Return the integer crop [4] of `box` [4] with a margin, inside a width x height image.

    `margin_px` is measured in the crop after it was resized to `size`, as FaceNet models expect:
    the box grows by margin * side / (size - margin), half of it on each side. A box outside the
    image gives the nearest pixel, so that the crop is never empty.
    """
    mx, my = margin_px * (box[2:] - box[:2]) / (size - margin_px) / 2
    x1 = int(np.clip(box[0] - mx, 0, width - 1))
    y1 = int(np.clip(box[1] - my, 0, height - 1))
    x2 = int(np.clip(box[2] + mx, x1 + 1, width))
    y2 = int(np.clip(box[3] + my, y1 + 1, height))
    return np.array([x1, y1, x2, y2], dtype=np.int64)


def crop_box(pixels: Pixels, box: Floats, size: int, margin_px: float = 0) -> Pixels:
    """Return the face in `box` [4] with its margin as uint8 [size, size, 3], bilinear.

    `pixels` is the upright RGB image, uint8 [H, W, 3].
    """
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = margin_box(box, width, height, size, margin_px)
    patch = Image.fromarray(np.ascontiguousarray(pixels[y1:y2, x1:x2]))
    return np.asarray(patch.resize((size, size), Image.Resampling.BILINEAR))


def similarity_transform(source: Floats32, target: Floats32) -> npt.NDArray[np.float64]:
    """Return the 2 x 3 matrix that maps points `source` [K, 2] onto `target` [K, 2] best.

    Rotation, one scale and translation, least squares (Umeyama, PAMI 1991). Points that all
    coincide give a pure translation.
    """
    source = source.astype(np.float64)
    target = target.astype(np.float64)
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    source_off, target_off = source - source_mean, target - target_mean
    u, singular, vt = np.linalg.svd(target_off.T @ source_off / len(source))
    flip = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(flip) @ vt
    variance = source_off.var(axis=0).sum()
    scale = (singular * flip).sum() / variance if variance > 0 else 1.0
    linear = scale * rotation
    return np.hstack([linear, (target_mean - linear @ source_mean)[:, None]])


def align_five(pixels: Pixels, landmarks: Floats32, size: int = 112) -> Pixels:
    """Return the face aligned by its `landmarks` [5, 2] to the ArcFace template.

    Similarity transform, bilinear, black outside the image; uint8 [size, size, 3]. A face much
    larger than `size` is reduced by averaging first, so that no pixel is skipped.
    """
    to_face = similarity_transform(landmarks, ARCFACE_112 * np.float32(size / 112))
    scale = float(np.hypot(to_face[0, 0], to_face[1, 0]))
    inverse = np.linalg.inv(np.vstack([to_face, [0, 0, 1]]))
    # Only the part of the image that the face needs is handed to Pillow.
    corners = inverse[:2] @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]])
    height, width = pixels.shape[:2]
    x1, y1 = np.clip(np.floor(corners.min(axis=1)) - 2, 0, [width - 1, height - 1]).astype(int)
    x2, y2 = np.clip(np.ceil(corners.max(axis=1)) + 3, [x1 + 1, y1 + 1], [width, height]).astype(
        int
    )
    patch = Image.fromarray(np.ascontiguousarray(pixels[y1:y2, x1:x2]))
    shrink = max(1, int(1 / scale)) if scale > 0 else 1
    if shrink > 1:
        patch = patch.reduce(shrink)
    # Landmarks count pixel centres as whole numbers, Pillow as halves: shift by .5 on both sides,
    # then into the patch and its reduced scale.
    to_centres = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    to_patch = np.array([[1, 0, 0.5 - x1], [0, 1, 0.5 - y1], [0, 0, 1]])
    matrix = np.diag([1 / shrink, 1 / shrink, 1]) @ to_patch @ inverse @ to_centres
    return np.asarray(
        patch.transform(
            (size, size),
            Image.Transform.AFFINE,
            tuple(matrix[:2].ravel()),
            Image.Resampling.BILINEAR,
        )
    )
