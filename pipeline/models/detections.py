"""What a face detector returns for an image."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Floats32


@dataclass(frozen=True, slots=True)
class Detections:
    """The faces of one image.

    Attributes:
        boxes: float32 [N, 4], x1, y1, x2, y2 in pixels; may reach past the image.
        scores: float32 [N], probability from 0 to 1.
        landmarks: float32 [N, 5, 2], pixels.
    """

    boxes: Floats32
    scores: Floats32
    landmarks: Floats32

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, index: npt.NDArray[np.integer]) -> "Detections":
        """Return the faces at `index`, in that order."""
        return Detections(self.boxes[index], self.scores[index], self.landmarks[index])

    def enlarged(self, factor: float) -> "Detections":
        """Return faces of an image in pixels of one that is `factor` times as large."""
        if factor == 1:
            return self
        ratio = np.float32(factor)
        return Detections(self.boxes * ratio, self.scores, self.landmarks * ratio)

    @classmethod
    def none(cls) -> "Detections":
        """Return no face."""
        return cls(*(np.zeros(shape, np.float32) for shape in ((0, 4), (0,), (0, 5, 2))))
