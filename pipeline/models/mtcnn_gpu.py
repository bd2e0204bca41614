"""MTCNN in torch, for a GPU: the cascade of `mtcnn` on any device of torch."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline import geometry
from pipeline.config import DetectConfig
from pipeline.geometry import Floats, Pixels
from pipeline.models import area
from pipeline.models.cascade import (
    NMS_FINAL,
    NMS_IMAGE,
    NMS_LEVEL,
    chunks,
    pyramid,
    regress,
    smallest_face,
)
from pipeline.models.detections import Detections
from pipeline.models.mtcnn_networks import (
    ONET_SIDE,
    PNET_CELL,
    PNET_STRIDE,
    RNET_SIDE,
    ONet,
    PNet,
    RNet,
)

# Largest batch of crops that R- and O-net are given, and that are cut, at once; bounds their
# activations at some 70 MB. 512 at a time are no faster on a CPU.
CROP_BATCH = 128
# Pixels of a pyramid level that P-net is given at once; bounds its activations at some 150 MB.
STRIP_PIXELS = 1_000_000


def normalise(values: Tensor) -> Tensor:
    """Map pixel values [N, H, W, 3] from 0..255 to about -1..1, as [N, 3, H, W]."""
    return ((values - 127.5) * 0.0078125).permute(0, 3, 1, 2)


class DeviceMTCNN:
    """Face detector with landmarks.

    Args:
        weights: state_dicts by network, "pnet", "rnet" and "onet".
        config: thresholds, sizes and limits.
        device: where the networks run.
    """

    def __init__(
        self,
        weights: Mapping[str, Mapping[str, Tensor]],
        config: DetectConfig | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.config = config or DetectConfig()
        self.device = torch.device(device)
        self.pnet, self.rnet, self.onet = PNet(), RNet(), ONet()
        for name, network in (("pnet", self.pnet), ("rnet", self.rnet), ("onet", self.onet)):
            network.load_state_dict(dict(weights[name]), strict=True)
            network.eval().requires_grad_(False)
            # Pooling is three times faster with channels last on a CPU.
            network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs

    @torch.inference_mode()
    def detect(self, images: Sequence[Pixels]) -> list[Detections]:
        """Return every face of each image, largest box first.

        `images` are upright RGB, uint8 [H, W, 3], of any sizes. Selection by the config is
        not applied here (see `detector.select`).
        """
        found: list[Detections] = []
        for chunk in chunks(images, self.config.batch_pixels):
            found.extend(self._cascade(chunk))
        return found

    def _cascade(self, images: list[Pixels]) -> list[Detections]:
        tables = [area.summed_area(image, self.device) for image in images]
        boxes = self._propose(tables)
        boxes = self._refine(tables, boxes)
        return self._decide(tables, boxes)

    def _propose(self, tables: list[Tensor]) -> list[Floats]:
        """P-net over the pyramid: square candidate boxes by image."""
        boxes: list[list[Floats]] = [[] for _ in tables]
        scores: list[list[Floats]] = [[] for _ in tables]
        shifts: list[list[Floats]] = [[] for _ in tables]
        same_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, table in enumerate(tables):
            same_size[table.shape[0] - 1, table.shape[1] - 1].append(i)
        for (height, width), members in same_size.items():
            smallest = smallest_face(height, width, self.config)
            levels = pyramid(height, width, smallest, self.config.factor)
            for scale, level_height, level_width in levels:
                size = (level_height, level_width)
                found = self._level([tables[i] for i in members], size, scale)
                for i, (candidate, score, shift) in zip(members, found, strict=True):
                    keep = geometry.nms(candidate, score, NMS_LEVEL)
                    boxes[i].append(candidate[keep])
                    scores[i].append(score[keep])
                    shifts[i].append(shift[keep])
        proposals = []
        for mine_boxes, mine_scores, mine_shifts in zip(boxes, scores, shifts, strict=True):
            if not mine_boxes:  # smaller than a face: an empty pyramid
                proposals.append(np.zeros((0, 4), np.float32))
                continue
            candidate, score = np.concatenate(mine_boxes), np.concatenate(mine_scores)
            keep = geometry.nms(candidate, score, NMS_IMAGE)
            moved = regress(candidate[keep], np.concatenate(mine_shifts)[keep], 0)
            proposals.append(geometry.square(moved))
        return proposals

    def _level(
        self, tables: list[Tensor], size: tuple[int, int], scale: float
    ) -> list[tuple[Floats, Floats, Floats]]:
        """P-net on one pyramid level of images of one size: boxes, scores and shifts by image.

        In strips of rows that overlap by what P-net sees, so that memory stays bounded for any
        image; the strips' answers are those of the whole level.
        """
        height, width = size
        cells = (height - 1) // PNET_STRIDE - 4  # rows of P-net's answer
        step = max(1, STRIP_PIXELS // (len(tables) * width * PNET_STRIDE))
        parts: list[tuple[Floats, Floats, Floats, npt.NDArray[np.int64]]] = []
        for first in range(0, cells, step):
            last = height if first + step >= cells else (first + step) * PNET_STRIDE + PNET_CELL - 2
            rows = slice(first * PNET_STRIDE, last)
            level = torch.stack([area.resize(table, height, width, rows) for table in tables])
            probability, regression = self.pnet(normalise(level))
            hits = (probability >= self.config.thresholds[0]).nonzero()
            image, y, x = hits.unbind(1)
            cell = torch.stack([x, y + first], dim=1).float() * PNET_STRIDE
            corners = [((cell + 1) / scale).floor(), ((cell + PNET_CELL) / scale).floor()]
            parts.append(
                (
                    torch.cat(corners, dim=1).numpy(force=True),
                    probability[image, y, x].numpy(force=True),
                    regression[image, :, y, x].numpy(force=True),
                    image.numpy(force=True),
                )
            )
        candidate, score, shift, owner = (np.concatenate(x) for x in zip(*parts, strict=True))
        return [
            (candidate[owner == k], score[owner == k], shift[owner == k])
            for k in range(len(tables))
        ]

    def _corners(
        self, tables: list[Tensor], boxes: list[Floats]
    ) -> tuple[list[Tensor], list[Floats]]:
        """Return the whole pixels of square crops by image, and the boxes that they are of.

        Boxes that miss their image are dropped.
        """
        whole, inside = [], []
        for table, mine in zip(tables, boxes, strict=True):
            corners = np.trunc(mine).astype(np.int64)
            # The published crops count pixels from 1 and take both ends; stretched at the border.
            corners[:, :2] = np.maximum(corners[:, :2], 1) - 1
            corners[:, 2] = np.minimum(corners[:, 2], table.shape[1] - 1)
            corners[:, 3] = np.minimum(corners[:, 3], table.shape[0] - 1)
            valid = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
            inside.append(mine[valid])
            whole.append(torch.from_numpy(corners[valid]).to(self.device))
        return whole, inside

    def _crops(self, tables: list[Tensor], corners: list[Tensor], side: int) -> Iterator[Tensor]:
        """Cut crops for a network, `CROP_BATCH` at a time whatever image they are of.

        Cut all at once they would be most of what a chunk takes.
        """
        parts = [torch.zeros((0, side, side, 3), device=self.device)]
        room = CROP_BATCH
        for table, mine in zip(tables, corners, strict=True):
            while len(mine):
                parts.append(area.crops(table, mine[:room], side))
                mine = mine[room:]
                room -= len(parts[-1])
                if not room:
                    yield normalise(torch.cat(parts))
                    parts, room = parts[:1], CROP_BATCH
        if room < CROP_BATCH or not any(map(len, corners)):
            yield normalise(torch.cat(parts))

    def _refine(self, tables: list[Tensor], boxes: list[Floats]) -> list[Floats]:
        """R-net on every candidate: fewer, better square boxes by image."""
        corners, boxes = self._corners(tables, boxes)
        outputs = [self.rnet(crops) for crops in self._crops(tables, corners, RNET_SIDE)]
        probability, regression = (
            torch.cat(x).numpy(force=True) for x in zip(*outputs, strict=True)
        )
        refined = []
        for mine, rows in zip(boxes, slices(boxes), strict=True):
            passed = np.flatnonzero(probability[rows] > self.config.thresholds[1])
            keep = passed[geometry.nms(mine[passed], probability[rows][passed], NMS_IMAGE)]
            refined.append(geometry.square(regress(mine[keep], regression[rows][keep], 1)))
        return refined

    def _decide(self, tables: list[Tensor], boxes: list[Floats]) -> list[Detections]:
        """O-net on every candidate: final boxes, scores and landmarks by image."""
        corners, boxes = self._corners(tables, boxes)
        outputs = [self.onet(crops) for crops in self._crops(tables, corners, ONET_SIDE)]
        probability, regression, points = (
            torch.cat(x).numpy(force=True) for x in zip(*outputs, strict=True)
        )
        found = []
        for mine, rows in zip(boxes, slices(boxes), strict=True):
            passed = np.flatnonzero(probability[rows] > self.config.thresholds[2])
            before, score = mine[passed], probability[rows][passed]
            sides = before[:, None, 2:] - before[:, None, :2] + 1
            xy = points[rows][passed].reshape(-1, 2, 5).transpose(0, 2, 1)
            landmarks = before[:, None, :2] + xy * sides - 1
            final = regress(before, regression[rows][passed], 1)
            keep = geometry.nms(final, score, NMS_FINAL, over_smaller=True)
            faces = Detections(final[keep], score[keep], landmarks[keep])
            found.append(faces.take(np.argsort(-geometry.areas(faces.boxes), kind="stable")))
        return found


def slices(boxes: list[Floats]) -> Iterator[slice]:
    """Yield where each image's boxes lie once all are concatenated."""
    start = 0
    for mine in boxes:
        yield slice(start, start + len(mine))
        start += len(mine)
