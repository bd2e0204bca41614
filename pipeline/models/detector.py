"""Finds faces in images of any kind and size, and cuts them out for an embedder."""

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from PIL import Image

from pipeline.arrays import Floats32, Pixels
from pipeline.config import DetectConfig, Selection
from pipeline.errors import ConfigError
from pipeline.imaging import geometry
from pipeline.imaging.geometry import photo_side, reduced
from pipeline.models.cards.card import ModelCard, find_card
from pipeline.models.detections import Detections, upright
from pipeline.models.images import ImageLike, as_rgb
from pipeline.models.turns import at_best_turns
from pipeline.models.weights.checkpoint import read_arrays
from pipeline.models.weights.store import WeightStore

if TYPE_CHECKING:
    from pipeline.models.mtcnn.cpu import MTCNN
    from pipeline.models.mtcnn.gpu.detector import DeviceMTCNN


class FaceDetector:
    """Detects faces: MTCNN, reduced detection size, turned pictures, selection.

    Attributes:
        card: the model.
        revision: name and weights revision, as `faces.detector` has it.
        config: what is searched.
    """

    def __init__(
        self,
        card: ModelCard,
        paths: Sequence[Path],
        revision: str,
        config: DetectConfig | None = None,
        device: str = "cpu",
    ) -> None:
        self.card = card
        self.revision = revision
        self.config = config or DetectConfig()
        weights = {path.stem: read_arrays(path) for path in paths}
        self._mtcnn = cascade(weights, self.config, device)

    def lenient(self, thresholds: tuple[float, float, float]) -> "FaceDetector":
        """Return this detector with other thresholds; it shares the networks."""
        other = copy(self)
        other._mtcnn = copy(self._mtcnn)
        other._mtcnn.config = other.config = replace(self.config, thresholds=thresholds)
        return other

    @overload
    def detect(self, images: ImageLike) -> Detections: ...

    @overload
    def detect(self, images: Sequence[ImageLike]) -> list[Detections]: ...

    def detect(self, images: "ImageLike | Sequence[ImageLike]") -> Detections | list[Detections]:
        """Return the faces of one image, or of each image of a list.

        An image is a PIL image of any mode, a NumPy array [H, W] or [H, W, C] or a tensor
        [C, H, W], uint8; sizes may differ within a list. Boxes and landmarks are in pixels of the
        image as given, also where it was turned to find them (`Detections.turn`); faces come
        largest first, or as the selection ranks them.
        """
        if not isinstance(images, list | tuple):
            return self.detect([images])[0]  # type: ignore[list-item]
        rgb = [as_rgb(image) for image in images]
        factors = [reduction(pixels, self.config) for pixels in rgb]
        searched = [reduced(pixels, factor) for pixels, factor in zip(rgb, factors, strict=True)]
        found = self._mtcnn.detect(searched)
        if self.config.turns:
            found = at_best_turns(searched, found, self._mtcnn.detect)
        return [
            select(faces.enlarged(factor), self.config.selection, pixels)
            for faces, factor, pixels in zip(found, factors, rgb, strict=True)
        ]

    def crop(
        self,
        image: ImageLike,
        faces: Detections,
        size: int = 160,
        margin_px: float = 0,
        save_to: str | Path | None = None,
    ) -> Pixels:
        """Return the boxes of one image as square crops, uint8 [N, size, size, 3].

        `margin_px` is measured in the crop. With `save_to` (`out/anna.png`) they are saved as
        well: the first under that name, the others as `anna_2.png`, `anna_3.png` ...
        """
        if not 0 <= margin_px < size:
            raise ConfigError(f"margin_px is {margin_px}; it must be from 0 to below size, {size}")
        pixels, faces = upright(as_rgb(image), faces)
        crops = [geometry.crop_box(pixels, box, size, margin_px) for box in faces.boxes]
        if save_to is not None:
            target = Path(save_to)
            target.parent.mkdir(parents=True, exist_ok=True)
            for i, crop in enumerate(crops, start=1):
                name = target if i == 1 else target.with_stem(f"{target.stem}_{i}")
                Image.fromarray(crop).save(name)
        return np.stack(crops) if crops else np.zeros((0, size, size, 3), np.uint8)


def cascade(
    weights: Mapping[str, Mapping[str, Floats32]], config: DetectConfig, device: str
) -> "MTCNN | DeviceMTCNN":
    """Return the cascade for a device; each imports what only it needs."""
    if device == "cpu":
        from pipeline.models.mtcnn.cpu import MTCNN

        return MTCNN(weights, config)
    from pipeline.models.mtcnn.gpu.detector import DeviceMTCNN

    return DeviceMTCNN(weights, config, device)


def load_detector(
    name: str = "mtcnn",
    config: DetectConfig | None = None,
    *,
    store: WeightStore | None = None,
    device: str = "cpu",
) -> FaceDetector:
    """Return a detector by name; `device` is "cpu", "cuda", "cuda:1" ...

    Raises:
        ConfigError: unknown name.
        WeightsError: weights missing or damaged.
    """
    card = find_card(name, "detector")
    store = store or WeightStore()
    return FaceDetector(card, store.paths(card), store.revision(card), config, device)


def reduction(pixels: Pixels, config: DetectConfig) -> int:
    """Return by what a photo of more than `batch_pixels` is reduced before it is searched.

    By no more than leaves it `detection_side` pixels: what is searched for is found there as well,
    in less memory.
    """
    height, width = pixels.shape[:2]
    if config.detection_side is None:
        return 1
    needed = math.ceil(math.sqrt(height * width / config.batch_pixels))
    most = int(photo_side(height, width)) // config.detection_side
    return max(1, min(needed, most))


def select(faces: Detections, how: Selection, pixels: Pixels) -> Detections:
    """Return all faces, or the one that is largest, most probable, or large and central.

    "central" is the face with the largest area less twice the squared distance of its centre
    from the image's, the rule of David Sandberg's facenet.
    """
    if how == "all" or len(faces) < 2:
        return faces
    rank = faces.scores if how == "most-probable" else geometry.areas(faces.boxes)
    if how == "central":
        rank = geometry.central_areas(faces.boxes, (pixels.shape[0], pixels.shape[1]))
    return faces.take(np.array([int(np.argmax(rank))]))
