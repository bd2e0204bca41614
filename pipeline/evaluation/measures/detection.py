"""Detection against boxes drawn by people: matching, average precision, recall by size.

Matching as WIDER FACE does it (Yang et al., "WIDER FACE", CVPR 2016): an image's detections, best
first, each go to the box that they overlap most; below the IoU, and on a box that a better one
has already found, they are false; on an ignored box they count neither way. Average precision is
the area under precision made monotone, at every score (all-point interpolation, as in PASCAL VOC
since 2010; WIDER's own script samples 1,000 thresholds instead).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from pipeline.arrays import Bools, Floats32, Floats64, Ints
from pipeline.evaluation.measures.bootstrap import intervals
from pipeline.imaging.geometry import iou

IOU = 0.5
# Heights in pixels, as WIDER FACE divides them: small, medium, large; below 10 not annotated there.
BANDS = (0.0, 10.0, 50.0, 300.0, float("inf"))


@dataclass(frozen=True)
class Picture:
    """Boxes of one image.

    Attributes:
        boxes, scores: detections, float32 [N, 4] and [N].
        truth: drawn boxes, float32 [M, 4].
        ignored: which of them count neither way, [M].
    """

    boxes: Floats32
    scores: Floats32
    truth: Floats32
    ignored: Bools


@dataclass(frozen=True)
class Matches:
    """All detections that count and all boxes that are not ignored, image after image.

    Attributes:
        score, hit, image: of each detection: score, whether it found a box, number of its image.
        found, height, box_image: of each box: whether it was found, pixels, number of its image.
    """

    score: Floats64
    hit: Bools
    image: Ints
    found: Bools
    height: Floats64
    box_image: Ints


NOTHING = Matches(*(np.zeros(0, kind) for kind in (float, bool, int, bool, float, int)))


def match(pictures: Sequence[Picture], threshold: float = IOU) -> Matches:
    """Match detections to boxes, image by image."""
    parts = [NOTHING, *(_match_one(i, picture, threshold) for i, picture in enumerate(pictures))]
    columns = ([getattr(part, field.name) for part in parts] for field in fields(Matches))
    return Matches(*map(np.concatenate, columns))


def _match_one(number: int, picture: Picture, threshold: float) -> Matches:
    order = np.argsort(-picture.scores, kind="stable")
    overlap = iou(picture.boxes[order], picture.truth)
    hit, counts = np.zeros(len(order), dtype=bool), np.ones(len(order), dtype=bool)
    found = np.zeros(len(picture.truth), dtype=bool)
    if overlap.shape[1]:
        for k, best in enumerate(overlap.argmax(axis=1)):
            if overlap[k, best] < threshold:
                continue
            if picture.ignored[best]:
                counts[k] = False
            elif not found[best]:
                found[best] = hit[k] = True
    height = (picture.truth[:, 3] - picture.truth[:, 1]).astype(np.float64)
    real = ~picture.ignored
    scores = picture.scores[order].astype(np.float64)
    images = np.full(counts.sum(), number), np.full(real.sum(), number)
    return Matches(scores[counts], hit[counts], images[0], found[real], height[real], images[1])


@dataclass(frozen=True)
class Precision:
    """Precision and recall at falling scores, [K]."""

    scores: Floats64
    precision: Floats64
    recall: Floats64

    def average(self) -> float:
        """Return the area under precision, at each recall the best of this recall or more."""
        best = np.maximum.accumulate(self.precision[::-1])[::-1]
        return float(np.sum(np.diff(self.recall, prepend=0) * best))


def precision_sweep(matches: Matches) -> Callable[[Floats64 | None], Precision]:
    """Return what gives precision and recall, images counting so many times (default once)."""
    order = np.argsort(-matches.score, kind="stable")
    ordered, hit = matches.score[order], matches.hit[order]
    image = matches.image[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(order) else order

    def curve(images: Floats64 | None = None) -> Precision:
        each = np.ones(len(order)) if images is None else images[image]
        boxes = len(matches.found) if images is None else images[matches.box_image].sum()
        hits = np.cumsum(each * hit)[ends]
        shown = np.cumsum(each)[ends]
        precision = np.divide(hits, shown, out=np.ones_like(hits), where=shown > 0)
        recall = hits / boxes if boxes else np.full_like(hits, np.nan)
        return Precision(ordered[ends], precision, recall)

    return curve


@dataclass(frozen=True)
class Detection:
    """What was measured: average_precision, precision and recall, and recall by band of height."""

    curve: Precision
    measures: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    bands: Sequence[tuple[float, float, int, float]]


def detection(
    matches: Matches, images: int, bootstrap: int = 1000, bands: Sequence[float] = BANDS
) -> Detection:
    """Return the measures, with intervals over images.

    Args:
        matches: of all images.
        images: how many there are, those without boxes and detections included.
        bootstrap: samples of the intervals; 0: none.
        bands: edges of the bands of box heights, pixels.

    Bands come as (from, below, boxes, recall), empty ones left out.
    """
    sweep = precision_sweep(matches)

    def rates(weights: Floats64 | None) -> dict[str, float]:
        curve = sweep(weights)
        last = (curve.precision[-1], curve.recall[-1]) if len(curve.scores) else (1.0, 0.0)
        average = curve.average() if len(curve.scores) else 0.0
        return {
            "average_precision": average,
            "precision": float(last[0]),
            "recall": float(last[1]),
        }

    rows = []
    for low, high in pairwise(bands):
        inside = (matches.height >= low) & (matches.height < high)
        if inside.any():
            rows.append((low, high, int(inside.sum()), float(matches.found[inside].mean())))
    return Detection(sweep(None), rates(None), intervals(rates, images, bootstrap), rows)
