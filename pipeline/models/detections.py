"""What a face detector returns for an image."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Floats32, Pixels
from pipeline.imaging import geometry


@dataclass(frozen=True, slots=True)
class Detections:
    """The faces of one image.

    Attributes:
        boxes: float32 [N, 4], x1, y1, x2, y2 in pixels; may reach past the image.
        scores: float32 [N], probability from 0 to 1.
        landmarks: float32 [N, 5, 2], pixels; the left eye is the one at the left once the image is
            turned.
        turn: degrees clockwise by which the image is turned to be upright: 0, 90, 180 or 270.
            Boxes and landmarks are in pixels of the image as it is.
    """

    boxes: Floats32
    scores: Floats32
    landmarks: Floats32
    turn: int = 0

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, index: npt.NDArray[np.integer]) -> "Detections":
        """Return the faces at `index`, in that order."""
        return replace(
            self,
            boxes=self.boxes[index],
            scores=self.scores[index],
            landmarks=self.landmarks[index],
        )

    def enlarged(self, factor: float) -> "Detections":
        """Return faces of an image in pixels of one that is `factor` times as large."""
        if factor == 1:
            return self
        ratio = np.float32(factor)
        return replace(self, boxes=self.boxes * ratio, landmarks=self.landmarks * ratio)

    def turned(self, turn: int, height: int, width: int) -> "Detections":
        """Return the faces of an image of this size in pixels of it turned clockwise by `turn`."""
        corners = geometry.turned_points(self.boxes.reshape(-1, 2, 2), height, width, turn)
        points = geometry.turned_points(self.landmarks, height - 1, width - 1, turn)
        boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        return Detections(boxes, self.scores, points, (self.turn - turn) % 360)

    @classmethod
    def none(cls) -> "Detections":
        """Return no face."""
        boxes, scores, landmarks = (np.zeros(n, np.float32) for n in ((0, 4), (0,), (0, 5, 2)))
        return cls(boxes, scores, landmarks)


def upright(pixels: Pixels, faces: Detections) -> tuple[Pixels, Detections]:
    """Return an image [H, W, 3] turned upright, a view, and its faces in pixels of that."""
    if not faces.turn:
        return pixels, faces
    return geometry.turned(pixels, faces.turn), faces.turned(faces.turn, *pixels.shape[:2])
