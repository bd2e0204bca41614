"""Detect: pixels in, faces with their measures, thumbnails and aligned crops out."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import simplejpeg

from pipeline.arrays import Pixels
from pipeline.config import DetectConfig
from pipeline.imaging import geometry
from pipeline.imaging.memory import give_back
from pipeline.lake.columns import fixed_lists, lists_of, pixel_views, structs
from pipeline.lake.schema import BOX, LANDMARKS
from pipeline.models import quality
from pipeline.models.cards.card import ModelCard
from pipeline.models.detections import Detections
from pipeline.models.detector import load_detector
from pipeline.models.faces import face_crops
from pipeline.models.weights.store import WeightStore
from pipeline.stages.records import DETECTED, DETECTION_FIELDS, TURN
from pipeline.timing import Stopwatch

THUMBNAIL_QUALITY = 85


class Detect:
    """Finds faces and cuts them out at full resolution; the pixels end here.

    Args:
        embedder: card of the model that the crops are for.
        config: what is searched.
        thumbnails: whether faces keep a small JPEG.
    """

    def __init__(
        self,
        embedder: ModelCard,
        config: DetectConfig | None = None,
        *,
        detector: str = "mtcnn",
        thumbnails: bool = True,
        device: str = "cpu",
        store: WeightStore | None = None,
    ) -> None:
        self.card = embedder
        self.thumbnails = thumbnails
        self.detector = load_detector(detector, config, store=store, device=device)
        give_back()

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return a table of schema `DETECTED`, a row for each row of `batch`."""
        watch = Stopwatch()
        heights, widths, reduced = (
            batch[name].to_pylist() for name in ("height", "width", "reduced")
        )
        images = pixel_views(batch["pixels"], heights, widths, reduced)
        good = [pixels for pixels in images if pixels is not None]
        detected = iter(self.detector.detect(good))
        faces = [Detections.none() if pixels is None else next(detected) for pixels in images]
        crops = [
            face_crops(pixels, detections, self.card)
            for pixels, detections in zip(images, faces, strict=True)
            if pixels is not None and len(detections)
        ]
        # the decoded pixels end here: from now on boxes are in pixels of the whole picture
        faces = [one.enlarged(factor or 1) for one, factor in zip(faces, reduced, strict=True)]
        columns = {f.name: batch[f.name] for f in DETECTED if f.name in batch.column_names}
        columns["turn"] = pa.array(
            [
                None if pixels is None else one.turn
                for pixels, one in zip(images, faces, strict=True)
            ],
            TURN.type,
        )
        columns["detections"] = lists_of([len(one) for one in faces], self._structs(faces, crops))
        give_back()
        bytes_out = sum(column.nbytes for column in columns.values())
        columns["detect_timing"] = watch.shares(len(images), bytes_out)
        return pa.table([columns[f.name] for f in DETECTED], schema=DETECTED)

    def _structs(self, faces: list[Detections], crops: list[Pixels]) -> pa.StructArray:
        size = self.card.input_size
        cut = np.concatenate(crops) if crops else np.zeros((0, size, size, 3), np.uint8)
        return measured(faces, cut, self.thumbnails)


def measured(faces: Sequence[Detections], crops: Pixels, thumbnails: bool) -> pa.StructArray:
    """Return all faces of some pictures as structs of `DETECTION_FIELDS`, in order.

    `crops`, uint8 [N, S, S, 3], are theirs; `thumbnails`: whether they keep a small JPEG.
    """
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(one.boxes for one in faces)])
    scores = np.concatenate([np.zeros(0, np.float32), *(one.scores for one in faces)])
    points = np.concatenate([np.zeros((0, 5, 2), np.float32), *(one.landmarks for one in faces)])
    size_px = geometry.shorter_sides(boxes)
    sharp = np.array([quality.sharpness(crop) for crop in crops], dtype=np.float32)
    yaw, roll = quality.pose(points)
    return structs(
        DETECTION_FIELDS,
        [
            fixed_lists(boxes, BOX),
            fixed_lists(points.reshape(-1, 10), LANDMARKS),
            scores,
            size_px,
            sharp,
            yaw,
            roll,
            quality.quality(scores, size_px, sharp, yaw),
            [_thumbnail(crop) if thumbnails else None for crop in crops],
            [crop.tobytes() for crop in crops],
        ],
    )


def _thumbnail(crop: Pixels) -> bytes:
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(crop), THUMBNAIL_QUALITY))
