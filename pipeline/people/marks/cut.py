"""Cuts a marked face out of its photo, aligns it and measures it as detected ones are."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from PIL import Image

from pipeline.arrays import Floats32, Pixels
from pipeline.imaging import geometry
from pipeline.lake.schema import LANDMARK_NAMES
from pipeline.models.detections import Detections
from pipeline.models.detector import FaceDetector
from pipeline.models.embedder import Embedder
from pipeline.models.faces import face_crops
from pipeline.stages.detect import measured

# What is searched around a box, in its sides, and how large the box is made for it: the detector
# missed the face in the whole photo, and finds more in a larger picture of it.
MARGIN, FACE_SIDE, MOST_ENLARGED = 0.75, 160, 4.0
# Where it finds nothing in that either, it looks again with these thresholds: a person says that
# there is a face, and landmarks that are about right align it better than the box alone.
LENIENT = (0.4, 0.3, 0.2)
# People draw boxes of other sizes around one face: tight, or with hair.
LEAST_IOU = 0.25
# Where landmarks mostly lie in a box, as shares of its sides: the medians of the faces of
# examples/photos, made symmetric. For a face in which the detector sees none.
LANDMARK_SHARES = np.array(
    [[0.28, 0.39], [0.72, 0.39], [0.50, 0.58], [0.26, 0.73], [0.74, 0.73]], np.float32
)
assert len(LANDMARK_SHARES) == len(LANDMARK_NAMES)


class Models(Protocol):
    """The models of a lake, loaded when they are first needed, as `search.models.LakeModels`."""

    @property
    def detector(self) -> FaceDetector:
        """The lake's detector."""

    @property
    def embedder(self) -> Embedder:
        """The lake's embedder."""


def cut_face(
    pixels: Pixels, factor: int, box: Floats32, turn: int, models: Models
) -> Mapping[str, Any]:
    """Return the columns of `faces` that the picture tells of a marked face.

    Args:
        pixels: the upright photo, uint8 [H, W, 3], reduced by `factor`.
        factor: of the photo's sides.
        box: float32 [4], x1, y1, x2, y2 in pixels of the photo as it is.
        turn: of the photo, see `images.turn`.
        models: of the lake.
    """
    place = box / np.float32(factor)
    face = find(pixels, place, turn, models.detector)
    crops = face_crops(pixels, face, models.embedder.card)
    vectors, norms = models.embedder.embed(crops)
    drawn = replace(face.enlarged(factor), boxes=box[None])
    row: dict[str, Any] = measured([drawn], crops, thumbnails=True).to_pylist()[0]
    del row["crop"]
    return row | {"embedding": vectors[0].tolist(), "embedding_norm": float(norms[0])}


def find(pixels: Pixels, box: Floats32, turn: int, detector: FaceDetector) -> Detections:
    """Return the face in a box [4]: as the detector sees it there, else as faces lie in boxes."""
    height, width = pixels.shape[:2]
    sides = box[2:] - box[:2]
    x1, y1 = np.floor(np.clip(box[:2] - MARGIN * sides, 0, [width - 1, height - 1])).astype(int)
    x2, y2 = np.ceil(np.clip(box[2:] + MARGIN * sides, [x1 + 1, y1 + 1], [width, height])).astype(
        int
    )
    enlarged = float(np.clip(FACE_SIDE / max(sides.min(), 1), 1, MOST_ENLARGED))
    region = Image.fromarray(np.ascontiguousarray(pixels[y1:y2, x1:x2]))
    size = (round((x2 - x1) * enlarged), round((y2 - y1) * enlarged))
    upright = np.ascontiguousarray(
        geometry.turned(np.asarray(region.resize(size, Image.Resampling.BICUBIC)), turn)
    )
    corner = np.array([x1, y1], np.float32)
    for looking in (detector, detector.lenient(LENIENT)):
        turned = looking.detect(upright).turned(-turn, *upright.shape[:2])
        seen = turned.enlarged(1 / enlarged)
        boxes, landmarks = seen.boxes + np.tile(corner, 2), seen.landmarks + corner
        overlaps: Floats32 = geometry.iou(box[None], boxes)[0]
        if len(seen) and overlaps.max() >= LEAST_IOU:
            best = np.array([int(np.argmax(overlaps))])
            return replace(seen, boxes=boxes, landmarks=landmarks).take(best)
    return _by_box(box, turn, height, width)


def _by_box(box: Floats32, turn: int, height: int, width: int) -> Detections:
    """Return a face of score 0 whose landmarks lie where they mostly do in a box."""
    corners = geometry.turned_points(box.reshape(1, 2, 2), height, width, turn)
    low, high = corners[0].min(axis=0), corners[0].max(axis=0)
    points = (low + LANDMARK_SHARES * (high - low))[None].astype(np.float32)
    upright = Detections(np.concatenate([low, high])[None], np.zeros(1, np.float32), points)
    sides = (width, height) if turn % 180 else (height, width)
    return upright.turned(-turn, *sides)
