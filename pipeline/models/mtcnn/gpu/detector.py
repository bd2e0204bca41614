"""MTCNN on a device of torch: the cascade of `mtcnn`, for a GPU.

Made so that a GPU never waits for one image: whatever the number and sizes of images, each step is
a few launches for all of a chunk, boxes stay on the device until the end, and the host asks it only
how many candidates are left. The next chunk is copied meanwhile (`gpu_chunk`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from pipeline.arrays import Floats32, Pixels
from pipeline.config import DetectConfig
from pipeline.models.detections import Detections
from pipeline.models.device import exact, usable
from pipeline.models.mtcnn.cascade import (
    NMS_FINAL,
    NMS_IMAGE,
    NMS_LEVEL,
    ONET_SIDE,
    PNET_CELL,
    PNET_STRIDE,
    RNET_SIDE,
    chunks,
)
from pipeline.models.mtcnn.gpu.atlas import answers_of, cells_of, fill, patches
from pipeline.models.mtcnn.gpu.boxes import areas, probability, regress, square, whole_pixels
from pipeline.models.mtcnn.gpu.chunk import Chunk, Sheet, chunks_on
from pipeline.models.mtcnn.gpu.networks import DeviceNetworks
from pipeline.models.mtcnn.gpu.nms import Overlap, suppress
from pipeline.models.mtcnn.gpu.sums import DeviceTables

IN_LEVEL, IN_IMAGE = Overlap(NMS_LEVEL), Overlap(NMS_IMAGE)
AT_LAST = Overlap(NMS_FINAL, over_smaller=True)


@dataclass(frozen=True, slots=True)
class Budget:
    """What is done at once; bounds memory whatever the images are.

    Attributes:
        sheet: P-net's arrays.
        cells: cells of P-net judged again at once.
        refine, decide: crops for R-net and O-net.
        first: type of the first judgement of P-net and R-net; float32: none that is quicker.
    """

    sheet: Sheet
    cells: int
    refine: int
    decide: int
    first: torch.dtype


# At most some 0.7 GB each. float16 is as fast as bfloat16 and eight times closer to float32: on 115
# photos it fell short by 0.034 at most where P-net's float32 logit passed, bfloat16 by 0.21 (R-net:
# 0.014 and 0.15; the guards are 0.5). Activations stay far below what float16 can hold.
CUDA = Budget(Sheet(512, 1024, 128), 8192, 2048, 512, torch.float16)
# Some 0.1 GB each.
CPU = Budget(Sheet(128, 512, 16), 1024, 128, 64, torch.float32)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes of several images on the device.

    Attributes:
        boxes: float32 [N, 4].
        owner: int64 [N], which image, rising.
    """

    boxes: Tensor
    owner: Tensor


class DeviceMTCNN:
    """Face detector with landmarks.

    Args:
        weights: state_dicts by network, "pnet", "rnet" and "onet".
        config: thresholds, sizes and limits.
        device: where everything runs.
        budget: None: what suits the device.

    Raises:
        ResourceError: the device is not there.
    """

    def __init__(
        self,
        weights: Mapping[str, Mapping[str, Floats32]],
        config: DetectConfig | None = None,
        device: str | torch.device = "cpu",
        budget: Budget | None = None,
    ) -> None:
        self.config = config or DetectConfig()
        self.device = usable(device)
        self.budget = budget or (CPU if self.device.type == "cpu" else CUDA)
        self.networks = DeviceNetworks(weights, self.device, self.budget.first)

    @torch.inference_mode()
    def detect(self, images: Sequence[Pixels]) -> list[Detections]:
        """Return every face of each image, largest box first.

        `images` are upright RGB, uint8 [H, W, 3], of any sizes. Selection by the config is
        not applied here (see `detector.select`).
        """
        detections: list[Detections] = []
        parts = chunks(images, self.config.batch_pixels)
        with exact():
            for chunk in chunks_on(self.device, parts, self.config, self.budget.sheet):
                tables = DeviceTables.of(chunk.pixels, chunk.plan.runs, chunk.images)
                detections += self._decide(
                    tables, self._refine(tables, self._propose(tables, chunk))
                )
        return detections

    def _propose(self, tables: DeviceTables, chunk: Chunk) -> Candidates:
        """P-net over the pyramids: square candidate boxes."""
        level, y, x = self._near(tables, chunk)
        # by level, row and column: the result does not depend on where tiles were put
        image, height, width, first = chunk.levels[level].unbind(1)
        beside = PNET_CELL - PNET_STRIDE
        order = torch.argsort(first + y * ((width - beside + 1) // PNET_STRIDE) + x)
        level, y, x, image, height, width = (
            part[order] for part in (level, y, x, image, height, width)
        )
        logits = torch.empty(len(y), device=self.device)
        shift = torch.empty(len(y), 4, device=self.device)
        for begin in range(0, len(y), self.budget.cells):
            part = slice(begin, begin + self.budget.cells)
            where = (image[part], height[part], width[part])
            logits[part], shift[part] = self.networks.propose(
                *patches(tables, where, y[part], x[part])
            )
        scores = probability(logits)
        passed = (scores >= self.config.thresholds[0]).nonzero()[:, 0]
        level, y, x, image, scores = (part[passed] for part in (level, y, x, image, scores))
        corner = torch.stack([x, y], dim=1).float() * PNET_STRIDE
        steps = chunk.scales[level, None]
        boxes = torch.cat([(corner + 1) / steps, (corner + PNET_CELL) / steps], dim=1).floor()
        kept = suppress(boxes, scores, level, len(chunk.levels), IN_LEVEL)
        kept = kept[suppress(boxes[kept], scores[kept], image[kept], len(chunk.images), IN_IMAGE)]
        return Candidates(square(regress(boxes[kept], shift[passed[kept]], 0)), image[kept])

    def _near(self, tables: DeviceTables, chunk: Chunk) -> tuple[Tensor, Tensor, Tensor]:
        """Return level, row and column of all cells that P-net's first judgement leaves."""
        near = []
        begin = 0
        for rows, count in chunk.plan.atlases:
            tiles = chunk.tiles[begin : begin + count]
            planned = chunk.plan.tiles[begin : begin + count]
            pixels, past = fill(tables, tiles, planned, rows, self.budget.sheet.columns)
            logits, least = self.networks.propose_first(pixels, past, self.config.thresholds[0])
            near.append(answers_of(logits, tiles, planned) >= least)
            begin += count
        if not near:  # all are smaller than a face
            none = torch.zeros(0, dtype=torch.int64, device=self.device)
            return none, none, none
        return cells_of(torch.cat(near).nonzero()[:, 0], chunk.tiles)

    def _refine(self, tables: DeviceTables, candidates: Candidates) -> Candidates:
        """R-net on every candidate: fewer, better square boxes."""
        boxes, owner = candidates.boxes, candidates.owner
        corners, passed = whole_pixels(boxes, tables.height[owner], tables.width[owner])
        least = self.config.thresholds[1]
        for begin in range(0, len(boxes), self.budget.refine):
            part = slice(begin, begin + self.budget.refine)
            near = self.networks.refine_first(
                tables.crops(owner[part], corners[part], RNET_SIDE), least
            )
            if near is None:
                break
            passed[part] &= near
        left = passed.nonzero()[:, 0]
        boxes, owner, corners = boxes[left], owner[left], corners[left]
        answer = torch.empty(len(boxes), 5, device=self.device)
        for begin in range(0, len(boxes), self.budget.refine):
            part = slice(begin, begin + self.budget.refine)
            answer[part] = self.networks.refine(tables.crops(owner[part], corners[part], RNET_SIDE))
        scores = probability(answer[:, 0])
        left = (scores > least).nonzero()[:, 0]
        boxes, owner, scores, answer = boxes[left], owner[left], scores[left], answer[left]
        kept = suppress(boxes, scores, owner, len(tables.height), IN_IMAGE)
        return Candidates(square(regress(boxes[kept], answer[kept, 1:], 1)), owner[kept])

    def _decide(self, tables: DeviceTables, candidates: Candidates) -> list[Detections]:
        """O-net on every candidate: final boxes, scores and landmarks by image."""
        boxes, owner = candidates.boxes, candidates.owner
        corners, inside = whole_pixels(boxes, tables.height[owner], tables.width[owner])
        answer = torch.empty(len(boxes), 15, device=self.device)
        for begin in range(0, len(boxes), self.budget.decide):
            part = slice(begin, begin + self.budget.decide)
            answer[part] = self.networks.decide(tables.crops(owner[part], corners[part], ONET_SIDE))
        scores = probability(answer[:, 0])
        left = ((scores > self.config.thresholds[2]) & inside).nonzero()[:, 0]
        boxes, owner, scores, answer = boxes[left], owner[left], scores[left], answer[left]
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        xy = answer[:, 5:].view(-1, 2, 5).transpose(1, 2)
        landmarks = boxes[:, None, :2] + xy * sides[:, None] - 1
        boxes = regress(boxes, answer[:, 1:5], 1)
        kept = suppress(boxes, scores, owner, len(tables.height), AT_LAST)
        # largest first; equal ones stay, best first
        kept = kept[torch.argsort(-areas(boxes[kept]), stable=True)]
        kept = kept[torch.argsort(owner[kept], stable=True)]
        ends = torch.bincount(owner[kept], minlength=len(tables.height)).cumsum(0)
        columns = [boxes, scores[:, None], landmarks.flatten(1)]
        faces = torch.cat(columns, dim=1)[kept].numpy(force=True)
        return [
            Detections(part[:, :4].copy(), part[:, 4].copy(), part[:, 5:].reshape(-1, 5, 2).copy())
            for begin, end in pairwise([0, *ends.tolist()])
            for part in (faces[begin:end],)
        ]
