"""MTCNN on a CPU: a cascade of three networks over an image pyramid, for images of any sizes.

Zhang et al. 2016 (see `networks`). Boxes, probabilities and landmarks equal those of
facenet-pytorch 2.6.0 up to float noise; unlike there, images in one call may differ in size, be
smaller than a face, or have none. `gpu.detector` does the same on a GPU.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.arrays import Floats32, Ints, Pixels
from pipeline.config import DetectConfig
from pipeline.imaging import geometry
from pipeline.models.detections import Detections
from pipeline.models.mtcnn import atlas, kernels
from pipeline.models.mtcnn.cascade import (
    NMS_FINAL,
    NMS_IMAGE,
    NMS_LEVEL,
    ONET_SIDE,
    PNET_CELL,
    PNET_STRIDE,
    RNET_SIDE,
    Candidates,
    chunks,
    logit,
    probability,
    pyramid,
    regress,
    smallest_face,
    suppress,
    whole_pixels,
)
from pipeline.models.mtcnn.prepare import prepare
from pipeline.models.mtcnn.runtime import PROPOSE_GUARD, REFINE_GUARD, Network, load_networks
from pipeline.models.mtcnn.sums import Tables


@dataclass(frozen=True, slots=True)
class Crops:
    """What a network takes: crops of `side`, at most `batch` at once, for `outputs` numbers each.

    Batches bound activations at some 70 MB; larger ones are no faster on a CPU.
    """

    side: int
    batch: int
    outputs: int


REFINE, DECIDE = Crops(RNET_SIDE, 64, 5), Crops(ONET_SIDE, 32, 15)
CELL_BATCH, CELL_OUTPUTS = 256, 5
# Smaller batches are filled up to a multiple of this: a network runtime prepares for every new
# size, which takes longer than a few crops.
BATCH_STEP = 8


class MTCNN:
    """Face detector with landmarks, on a CPU and one thread.

    Args:
        weights: state_dicts by network, "pnet", "rnet" and "onet".
        config: thresholds, sizes and limits.
    """

    def __init__(
        self, weights: Mapping[str, Mapping[str, Floats32]], config: DetectConfig | None = None
    ) -> None:
        self.config = config or DetectConfig()
        self.networks = load_networks(weights)
        prepare()

    def detect(self, images: Sequence[Pixels]) -> list[Detections]:
        """Return every face of each image, largest box first.

        `images` are upright RGB, uint8 [H, W, 3], of any sizes. Selection by the config is
        not applied here (see `detector.select`).
        """
        detections: list[Detections] = []
        for chunk in chunks(images, self.config.batch_pixels):
            tables = Tables.of(chunk)
            detections.extend(self._decide(tables, self._refine(tables, self._propose(tables))))
        return detections

    def _propose(self, tables: Tables) -> Candidates:
        """P-net over the pyramids: square candidate boxes."""
        scales: list[float] = []
        tiles: list[tuple[int, ...]] = []
        for image, (height, width) in enumerate(tables.sizes.tolist()):
            smallest = smallest_face(height, width, self.config)
            for scale, *size in pyramid(height, width, smallest, self.config.factor):
                tiles += atlas.tiles_of(image, len(scales), *size)
                scales.append(scale)
        parts = [self._look(tables, rows, placed) for rows, placed in atlas.pack(tiles)]
        if not parts:  # all are smaller than a face
            return Candidates(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
        cells, values = (np.concatenate(x) for x in zip(*parts, strict=True))
        # by level, row and column: the result does not depend on where tiles were put
        order = np.lexsort((cells[:, 3], cells[:, 2], cells[:, 1]))
        owner, level, y, x = cells[order].T
        values = values[order]
        corner = np.stack([x, y], axis=1).astype(np.float32) * PNET_STRIDE
        steps = np.array(scales, np.float32)[level, None]
        boxes = np.floor(np.hstack([(corner + 1) / steps, (corner + PNET_CELL) / steps]))
        scores = probability(values[:, 0])
        kept = suppress(boxes, scores, level, NMS_LEVEL)
        kept = kept[suppress(boxes[kept], scores[kept], owner[kept], NMS_IMAGE)]
        moved = regress(boxes[kept], values[kept, 1:], 0)
        return Candidates(geometry.square(moved), owner[kept])

    def _look(self, tables: Tables, rows: int, tiles: Ints) -> tuple[Ints, Floats32]:
        """P-net on one atlas: cells int64 [N, 4] (image, level, row, column), answers [N, 5]."""
        features = np.empty((kernels.CHANNELS, rows, atlas.COLUMNS), np.float32)
        kernels.fill_atlas(
            tables.sums, tables.start, tables.sizes, tiles, self.networks.first_layer, features
        )
        first = self.networks.propose_first
        answer = (first or self.networks.propose)(features[None])[0]
        threshold = self.config.thresholds[0]
        least = logit(threshold) - (PROPOSE_GUARD if first else 0)
        cells, values, patches = kernels.collect(answer, features, tiles, least)
        if first:
            values = self._repeat(patches)
        passed = probability(values[:, 0]) >= threshold
        return cells[passed], values[passed]

    def _repeat(self, patches: Floats32) -> Floats32:
        """P-net in float32 on single cells, [N, 10, 5, 5] to [N, 5]."""
        answer = np.empty((len(patches), CELL_OUTPUTS), np.float32)
        for begin in range(0, len(patches), CELL_BATCH):
            batch = filled_up(patches[begin : begin + CELL_BATCH])
            values = self.networks.propose(batch)[:, :, 0, 0]
            answer[begin : begin + CELL_BATCH] = values[: len(patches) - begin]
        return answer

    def _refine(self, tables: Tables, candidates: Candidates) -> Candidates:
        """R-net on every candidate: fewer, better square boxes."""
        candidates, corners = whole_pixels(candidates, tables.sizes)
        boxes, owner = candidates.boxes, candidates.owner
        threshold = self.config.thresholds[1]
        if self.networks.refine_first:
            answer = self._judge(self.networks.refine_first, REFINE, tables, owner, corners)
            near = answer[:, 0] >= logit(threshold) - REFINE_GUARD
            boxes, owner, corners = boxes[near], owner[near], corners[near]
        answer = self._judge(self.networks.refine, REFINE, tables, owner, corners)
        scores = probability(answer[:, 0])
        passed = scores > threshold
        boxes, owner, scores, shift = (
            boxes[passed],
            owner[passed],
            scores[passed],
            answer[passed, 1:],
        )
        kept = suppress(boxes, scores, owner, NMS_IMAGE)
        return Candidates(geometry.square(regress(boxes[kept], shift[kept], 1)), owner[kept])

    def _decide(self, tables: Tables, candidates: Candidates) -> list[Detections]:
        """O-net on every candidate: final boxes, scores and landmarks by image."""
        candidates, corners = whole_pixels(candidates, tables.sizes)
        answer = self._judge(self.networks.decide, DECIDE, tables, candidates.owner, corners)
        scores = probability(answer[:, 0])
        passed = scores > self.config.thresholds[2]
        before, owner = candidates.boxes[passed], candidates.owner[passed]
        scores, answer = scores[passed], answer[passed]
        sides = before[:, None, 2:] - before[:, None, :2] + 1
        xy = answer[:, 5:].reshape(-1, 2, 5).transpose(0, 2, 1)
        landmarks = before[:, None, :2] + xy * sides - 1
        final = regress(before, answer[:, 1:5], 1)
        kept = suppress(final, scores, owner, NMS_FINAL, over_smaller=True)
        faces, owner = Detections(final, scores, landmarks).take(kept), owner[kept]
        # largest first; equal ones stay, best first
        faces = faces.take(np.lexsort((-geometry.areas(faces.boxes), owner)))
        ends = np.searchsorted(owner, np.arange(len(tables.sizes) + 1))
        return [faces.take(np.arange(begin, end)) for begin, end in pairwise(ends)]

    def _judge(
        self, network: Network, shape: Crops, tables: Tables, owner: Ints, corners: Ints
    ) -> Floats32:
        """Run a network on crops, cut a batch at a time: all at once they would fill memory."""
        answer = np.empty((len(corners), shape.outputs), np.float32)
        for begin in range(0, len(corners), shape.batch):
            part = slice(begin, begin + shape.batch)
            crops = np.empty((len(corners[part]), 3, shape.side, shape.side), np.float32)
            where = (tables.sums, tables.start, tables.sizes)
            kernels.cut(*where, owner[part], corners[part], crops)
            answer[part] = network(filled_up(crops))[: len(crops)]
        return answer


def filled_up(batch: Floats32) -> Floats32:
    """Return the batch with zeros behind it, up to a multiple of `BATCH_STEP`."""
    missing = -len(batch) % BATCH_STEP
    return np.concatenate([batch, np.zeros((missing, *batch.shape[1:]), np.float32)])
