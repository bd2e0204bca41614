"""Finds faces in images of any kind and size, and cuts them out for an embedder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from PIL import Image
from torch import Tensor

from pipeline import geometry
from pipeline.config import DetectConfig, Selection
from pipeline.errors import ConfigError
from pipeline.geometry import Pixels
from pipeline.models.card import ModelCard, find_card
from pipeline.models.checkpoint import read_checkpoint
from pipeline.models.detections import Detections
from pipeline.models.images import ImageLike, as_rgb
from pipeline.models.weights import WeightStore

if TYPE_CHECKING:
    from pipeline.models.mtcnn import MTCNN
    from pipeline.models.mtcnn_gpu import DeviceMTCNN


class FaceDetector:
    """Detects faces: MTCNN, reduced detection size, selection.

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
        weights = {path.stem: read_checkpoint(path) for path in paths}
        self._mtcnn = cascade(weights, self.config, device)

    @overload
    def detect(self, images: ImageLike) -> Detections: ...

    @overload
    def detect(self, images: Sequence[ImageLike]) -> list[Detections]: ...

    def detect(self, images: ImageLike | Sequence[ImageLike]) -> Detections | list[Detections]:
        """Return the faces of one image, or of each image of a list.

        An image is a PIL image of any mode, a NumPy array [H, W] or [H, W, C] or a tensor
        [C, H, W], uint8; sizes may differ within a list. Boxes and landmarks are in pixels of the
        image as given; faces come largest first, or as the selection ranks them.
        """
        if not isinstance(images, list | tuple):
            return self.detect([images])[0]  # type: ignore[list-item]
        rgb = [as_rgb(image) for image in images]
        reduced = [reduce(pixels, self.config.detection_side) for pixels in rgb]
        return [
            select(rescale(faces, small, pixels), self.config.selection, pixels)
            for faces, small, pixels in zip(self._mtcnn.detect(reduced), reduced, rgb, strict=True)
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
        pixels = as_rgb(image)
        crops = [geometry.crop_box(pixels, box, size, margin_px) for box in faces.boxes]
        if save_to is not None:
            target = Path(save_to)
            target.parent.mkdir(parents=True, exist_ok=True)
            for i, crop in enumerate(crops, start=1):
                name = target if i == 1 else target.with_stem(f"{target.stem}_{i}")
                Image.fromarray(crop).save(name)
        return np.stack(crops) if crops else np.zeros((0, size, size, 3), np.uint8)


def cascade(
    weights: Mapping[str, Mapping[str, Tensor]], config: DetectConfig, device: str
) -> "MTCNN | DeviceMTCNN":
    """Return the cascade for a device; each imports what only it needs."""
    if device == "cpu":
        from pipeline.models.mtcnn import MTCNN

        return MTCNN(weights, config)
    from pipeline.models.mtcnn_gpu import DeviceMTCNN

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


def reduce(pixels: Pixels, side: int | None) -> Pixels:
    """Return the image with its longer side at most `side`, averaged; None: as it is."""
    height, width = pixels.shape[:2]
    longest = max(height, width)
    if side is None or longest <= side:
        return pixels
    size = (max(1, round(width * side / longest)), max(1, round(height * side / longest)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def rescale(faces: Detections, small: Pixels, original: Pixels) -> Detections:
    """Return faces found in a reduced image in pixels of the original."""
    if small.shape == original.shape:
        return faces
    ratio = np.array(
        [original.shape[1] / small.shape[1], original.shape[0] / small.shape[0]], np.float32
    )
    return Detections(faces.boxes * np.tile(ratio, 2), faces.scores, faces.landmarks * ratio)


def select(faces: Detections, how: Selection, pixels: Pixels) -> Detections:
    """Return all faces, or the one that is largest, most probable, or large and central.

    "central" is the face with the largest area less twice the squared distance of its centre
    from the image's, the rule of David Sandberg's facenet.
    """
    if how == "all" or len(faces) < 2:
        return faces
    rank = faces.scores if how == "most-probable" else geometry.areas(faces.boxes)
    if how == "central":
        middle = np.array([pixels.shape[1] / 2, pixels.shape[0] / 2], np.float32)
        offset = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2 - middle
        rank = rank - 2 * (offset**2).sum(axis=1)
    return faces.take(np.array([int(np.argmax(rank))]))
