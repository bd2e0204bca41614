"""Finds pictures that lie on their side or upside down, by the faces in them.

MTCNN finds some faces of a turned picture, but with landmarks laid out as if it were upright. So
landmarks alone do not tell, its probabilities do: docs/benchmarks.md has the figures behind every
constant here.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from pipeline.arrays import Pixels
from pipeline.imaging import geometry
from pipeline.models.detections import Detections
from pipeline.models.quality import pose

TURNS = (90, 180, 270)
# A picture is doubted when its largest face is less probable than this, or leans by more. Of all
# turns, half a turn has the most probable false faces: up to the second score it is looked at too.
SURE_SCORE, SURELY_NOT_OVER, LEANING_DEG = 0.997, 0.999, 60.0
# The first looks are at a picture of about this longer side, and at half of smaller ones.
LOOK_SIDE = 512
# By how much the evidence (logits) must grow, and how probable one face must be at the other turn.
LEAST_GAIN, LEAST_SCORE = 0.5, 0.97
MOST_SCORE = 0.9999  # more counts as this: the last digits say nothing

Detect = Callable[[Sequence[Pixels]], list[Detections]]


def at_best_turns(
    images: Sequence[Pixels], found: Sequence[Detections], detect: Detect
) -> list[Detections]:
    """Return the faces of each image, from another turn of it where that has better ones.

    `found` is what `detect` found in `images`, largest face first. Only doubtful images are looked
    at again: reduced ones at all other turns, then the whole at the one with the most evidence.
    """
    best = list(found)
    for i, turn in _candidates(images, found, detect):
        look = detect([np.ascontiguousarray(geometry.turned(images[i], turn))])[0]
        height, width = images[i].shape[:2]
        sides = (width, height) if turn % 180 else (height, width)
        there = look.turned(-turn, *sides)
        if (
            evidence(there) >= evidence(found[i]) + LEAST_GAIN
            and there.scores.max() >= LEAST_SCORE
            and leans(there)
        ):
            best[i] = there
    return best


def _candidates(
    images: Sequence[Pixels], found: Sequence[Detections], detect: Detect
) -> Iterable[tuple[int, int]]:
    """Return (image, turn) where a reduced image has more evidence than the upright one."""
    asked = [(i, turn) for i, faces in enumerate(found) for turn in doubted_turns(faces)]
    small = {i: geometry.reduced(images[i], look_factor(images[i])) for i, _ in asked}
    looks = detect([np.ascontiguousarray(geometry.turned(small[i], turn)) for i, turn in asked])
    most = {i: evidence(found[i]) for i, _ in asked}
    best: dict[int, int] = {}
    for (i, turn), look in zip(asked, looks, strict=True):
        if evidence(look) > most[i]:
            most[i], best[i] = evidence(look), turn
    return best.items()


def doubted_turns(faces: Detections) -> tuple[int, ...]:
    """Return the turns that an image may need, as its first, largest face tells."""
    if not len(faces) or faces.scores[0] < SURE_SCORE or leans(faces):
        return TURNS
    return (180,) if faces.scores[0] < SURELY_NOT_OVER else ()


def leans(faces: Detections) -> bool:
    """Whether the first face lies on its side or upside down."""
    return bool(abs(pose(faces.landmarks[:1])[1][0]) > LEANING_DEG)


def evidence(faces: Detections) -> float:
    """Return what speaks for faces: the sum of the logits of their probabilities."""
    scores = np.clip(faces.scores.astype(np.float64), 0.5, MOST_SCORE)
    return float(np.log(scores / (1 - scores)).sum())


def look_factor(image: Pixels) -> int:
    """Return by what an image is reduced for a first look."""
    return max(2, round(geometry.photo_side(*image.shape[:2]) / LOOK_SIDE))
