"""MTCNN as facenet-pytorch's users call it, on the cascade that indexing uses."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.arrays import Pixels
from pipeline.config import DetectConfig
from pipeline.models.cards.card import find_card
from pipeline.models.detections import Detections
from pipeline.models.detector import cascade
from pipeline.models.device import usable
from pipeline.models.facenet.drop_in.batches import (
    Images,
    SavePath,
    is_batch,
    matched,
    rgb_images,
    save_paths,
)
from pipeline.models.facenet.drop_in.faces import extract_face, fixed_image_standardization
from pipeline.models.facenet.drop_in.selection import check_method, chosen
from pipeline.models.mtcnn.networks import ONet, PNet, RNet
from pipeline.models.weights.checkpoint import read_checkpoint
from pipeline.models.weights.store import WeightStore

Column = Any  # array of all images, or of one; None where there is no face
Columns = tuple[Column, Column, Column]  # boxes, probabilities, landmarks


class MTCNN(nn.Module):
    """Finds faces and cuts them out for `InceptionResnetV1`, as facenet-pytorch 2.6.0 does.

    Images are PIL images of any mode, arrays or tensors [H, W, C] from 0 to 255; a list, a tuple
    or an array [N, H, W, C] is a batch. Sizes may differ in a batch, and an image may have no face
    or be smaller than one. EXIF does not turn an image.

    Args:
        image_size: side of the crops, pixels.
        margin: pixels of the crop around the box, both sides together.
        min_face_size: smallest face searched, pixels.
        thresholds: lowest probability in each of the three networks.
        factor: ratio between levels of the image pyramid.
        post_process: standardise crops, (x - 127.5) / 128; otherwise they are from 0 to 255.
        select_largest: faces come largest first, otherwise most probable first.
        selection_method: "largest", "probability", "largest_over_threshold" or
            "center_weighted_size"; by default the first, or the second without `select_largest`.
        keep_all: every face, not one an image.
        device: as torch names it; `.to()` moves later. `.half()` and `.double()` are accepted,
            detection stays in float32.

    Raises:
        ConfigError: a value that is not possible.
        ResourceError: the device is not there.
    """

    def __init__(  # noqa: PLR0913  # the published signature
        self,
        image_size: int = 160,
        margin: float = 0,
        min_face_size: float = 20,
        thresholds: Sequence[float] = (0.6, 0.7, 0.7),
        factor: float = 0.709,
        post_process: bool = True,
        select_largest: bool = True,
        selection_method: str | None = None,
        keep_all: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.margin = margin
        self.min_face_size = min_face_size
        self.thresholds = thresholds
        self.factor = factor
        self.post_process = post_process
        self.select_largest = select_largest
        self.selection_method = selection_method or ("largest" if select_largest else "probability")
        self.keep_all = keep_all
        check_method(self.selection_method)
        self._config()  # raises what cannot be
        self.pnet, self.rnet, self.onet = PNet(), RNet(), ONet()
        for path in WeightStore().paths(find_card("mtcnn", "detector")):
            self.get_submodule(path.stem).load_state_dict(read_checkpoint(path))
        self.eval().requires_grad_(False)
        self._cascade: tuple[Any, Any] | None = None
        self.to(usable(device or "cpu"))

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.parameters()).device

    def forward(self, img: Images, save_path: SavePath = None, return_prob: bool = False) -> Any:
        """Return the face of an image, float32 [3, S, S], or None; of a batch, a list of those.

        With `keep_all` all faces of an image, [N, 3, S, S]. With `return_prob` a pair: the faces
        and their probabilities, of one image a float, of all its faces [N], without a face None.

        Args:
            img: one image or a batch.
            save_path: where the crops are saved, one path an image; further faces of an image
                get `_2`, `_3` ... before the ending.
            return_prob: return the probabilities as well.

        Raises:
            ConfigError: an image or a path that cannot be used; nothing was saved.
        """
        images = rgb_images(img)
        paths = save_paths(save_path, len(images))
        boxes, probs, points = self.detect(images, landmarks=True)
        if not self.keep_all:
            boxes, probs, points = self.select_boxes(
                boxes, probs, points, images, method=self.selection_method
            )
        faces = self.extract(images, boxes, paths)
        if not is_batch(img):
            faces, probs = faces[0], probs[0] if self.keep_all else _number(probs[0])
        return (faces, probs) if return_prob else faces

    def detect(self, img: Images, landmarks: bool = False) -> Any:
        """Return boxes float32 [N, 4] and probabilities [N], and landmarks [N, 5, 2] if asked.

        In pixels; None, [None] and None without a face. Of a batch: arrays with one dimension
        more, or, where the images differ in their number of faces, object arrays of such.
        """
        found = self._network().detect(rgb_images(img))
        if not self.select_largest:
            found = [faces.take(np.argsort(-faces.scores, kind="stable")) for faces in found]
        columns = _columns([_row(faces) for faces in found], is_batch(img))
        return columns if landmarks else columns[:2]

    def select_boxes(  # noqa: PLR0913  # the published signature
        self,
        all_boxes: Column,
        all_probs: Column,
        all_points: Column,
        imgs: Images,
        method: str = "probability",
        threshold: float = 0.9,
        center_weight: float = 2.0,
    ) -> Columns:
        """Return what `detect` gave, with one face of each image, or None where none is left.

        Boxes [1, 4], landmarks [1, 5, 2]; the probability of one image is a float.

        Args:
            all_boxes: boxes of one image or of a batch.
            all_probs: their probabilities.
            all_points: their landmarks.
            imgs: the image, or the batch.
            method: see the class.
            threshold: least probability, of "largest_over_threshold".
            center_weight: of the squared distance from the centre, taken off the area in
                "center_weighted_size".
        """
        images, batch = rgb_images(imgs), is_batch(imgs)
        given = {"boxes": all_boxes, "probabilities": all_probs, "landmarks": all_points}
        columns = [
            matched(column if batch else [column], len(images), what)
            for what, column in given.items()
        ]
        rows = [
            _one(row, image, method, threshold, center_weight)
            for image, *row in zip(images, *columns, strict=True)
        ]
        boxes, probs, points = _columns(rows, batch)
        return boxes, probs if batch else _number(probs), points

    def extract(self, img: Images, batch_boxes: Column, save_path: SavePath = None) -> Any:
        """Return the faces in boxes of `detect`, as calling this module does.

        Args:
            img: one image or a batch.
            batch_boxes: [N, 4] or None, or one of those an image; without `keep_all` the first
                box counts.
            save_path: see `forward`.
        """
        images, batch = rgb_images(img), is_batch(img)
        boxes = matched(batch_boxes if batch else [batch_boxes], len(images), "boxes")
        paths = save_paths(save_path, len(images))
        faces = [self._cut(*one) for one in zip(images, boxes, paths, strict=True)]
        return faces if batch else faces[0]

    def _cut(self, image: Pixels, boxes: Column, path: Any) -> Tensor | None:
        """Return the faces of one image, saved under `path` and its successors."""
        if boxes is None or not len(boxes):
            return None
        crops = []
        for i, box in enumerate(boxes if self.keep_all else boxes[:1], start=1):
            place = path.with_stem(f"{path.stem}_{i}") if path and i > 1 else path
            crops.append(extract_face(image, box, self.image_size, self.margin, place))
        faces = torch.stack(crops) if self.keep_all else crops[0]
        return fixed_image_standardization(faces) if self.post_process else faces

    def _config(self) -> DetectConfig:
        return DetectConfig(
            min_face_px=self.min_face_size,
            thresholds=tuple(self.thresholds),  # type: ignore[arg-type]  # checked there
            factor=self.factor,
            detection_side=None,
            turns=False,
        )

    def _network(self) -> Any:
        """Return the cascade, made again when weights or settings have changed."""
        # in-place changes count up; tensors of inference mode keep no count
        counts = [0 if p.is_inference() else p._version for p in self.parameters()]
        state = (self._config(), counts)
        if self._cascade is None or self._cascade[0] != state:
            names = ("pnet", "rnet", "onet")
            weights = {
                name: {
                    key: value.float().numpy(force=True)
                    for key, value in self.get_submodule(name).state_dict().items()
                }
                for name in names
            }
            self._cascade = (state, cascade(weights, state[0], str(self.device)))
        return self._cascade[1]

    def _apply(self, fn: Any, recurse: bool = True) -> "MTCNN":
        """Move or convert the networks; the cascade is made again."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._cascade = None
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the cascade, which cannot be copied or sent to another process."""
        return {**self.__dict__, "_cascade": None}


def _row(faces: Detections) -> Sequence[Any]:
    """Return boxes, probabilities and landmarks of an image, as `detect` gives them."""
    return (faces.boxes, faces.scores, faces.landmarks) if len(faces) else _nothing()


def _nothing() -> Sequence[Any]:
    return None, np.array([None]), None


def _one(
    row: Sequence[Any], image: Pixels, method: str, threshold: float, center_weight: float
) -> Sequence[Any]:
    """Return boxes, probabilities and landmarks of an image with one face, or without."""
    boxes, probs, points = row
    if boxes is None or not len(boxes):
        check_method(method)
        return _nothing()
    box_values, scores = (np.asarray(values, np.float64) for values in (boxes, probs))
    height, width = image.shape[:2]
    place = chosen(box_values, scores, (height, width), method, threshold, center_weight)
    if place is None:
        return _nothing()
    return [np.asarray(values)[[place]] for values in (boxes, probs, points)]


def _columns(rows: Sequence[Sequence[Any]], batch: bool) -> Columns:
    """Return what belongs to images as columns, of one image as they are."""
    if not batch:
        boxes, probs, points = rows[0]
        return boxes, probs, points
    boxes, probs, points = zip(*rows, strict=True) if rows else ((), (), ())
    return _stacked(boxes), _stacked(probs), _stacked(points)


def _stacked(values: Sequence[Any]) -> Any:
    """Return arrays of one shape as one, others as an object array [N]."""
    if len({None if value is None else value.shape for value in values}) == 1:
        return np.array(values)
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _number(probs: Any) -> float | None:
    """Return the only probability, as a float that JSON takes."""
    return None if probs[0] is None else float(probs[0])
