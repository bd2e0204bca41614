"""Finds bars of one colour around a picture: letterboxes, pillarboxes, margins of a scan."""

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Floats32
from pipeline.imaging.phash import LUMA, MAX_SIDE

Box = tuple[int, int, int, int]

# Each was measured on letterboxed LFW and wild photos at several compressions: of the values tried
# around it, it lost fewest pictures (96 to 99 % are found again; docs/duplicates.md).

# A sample this near to the bar's level belongs to the bar: JPEG's noise at quality 15.
BAR_TOLERANCE = 12.0
# A line belongs to a bar when this share of it does; the rest are specks and ringing.
BAR_SHARE = 0.98
# A bar ends in an edge: within the reach of JPEG's blocks the share falls to this. A plain wall or
# a night sky thins out.
EDGE_SHARE = 0.9
EDGE_REACH = 8
# Thinner than this share of the side is a scanner's rim, which the hash of the whole bears.
MIN_BAR = 0.01
# With less of a side left than this, it is a plain picture with something in it.
MIN_INNER = 0.25
# Too few lines to tell a bar from a picture.
MIN_LINES = 4


def content(pixels: npt.NDArray[np.uint8]) -> Box | None:
    """Return x1, y1, x2, y2 of the picture inside bars; None when there are none.

    All bars are of one colour: bars of a second one inside the first belong to the picture, as they
    were there before.

    Args:
        pixels: uint8 [H, W, 3], RGB; looked at in at most 512 samples a side.
    """
    sides = pixels.shape[:2]
    steps = [-(-side // MAX_SIDE) for side in sides]
    luma: Floats32 = (
        pixels[steps[0] // 2 :: steps[0], steps[1] // 2 :: steps[1]].astype(np.float32) @ LUMA
    )
    box = [[0, luma.shape[0]], [0, luma.shape[1]]]
    level: float | None = None
    # Bars above and below cross the whole width; those beside the picture are seen only without.
    for axis in (0, 1, 0, 1):
        lines = luma[slice(*box[0]), slice(*box[1])]
        lines = lines if axis == 0 else lines.T
        reach = -(-EDGE_REACH // steps[axis])
        first, last = _bar(lines, reach, level), _bar(lines[::-1], reach, level)
        if level is None and first + last:
            level = float(np.median(lines[0] if first >= last else lines[-1]))
            first, last = _bar(lines, reach, level), _bar(lines[::-1], reach, level)
        if len(lines) - first - last >= MIN_INNER * luma.shape[axis]:
            box[axis] = [box[axis][0] + first, box[axis][1] - last]
    box = [_without_rims(a, b, side) for (a, b), side in zip(box, luma.shape, strict=True)]
    if box == [[0, side] for side in luma.shape]:
        return None
    (y1, y2), (x1, x2) = (
        (first * step, min(last * step, side))
        for (first, last), step, side in zip(box, steps, sides, strict=True)
    )
    return x1, y1, x2, y2


def _bar(lines: Floats32, reach: int, level: float | None) -> int:
    """Return how many of the first lines [N, M] form a bar, of this grey level if it is given."""
    if min(lines.shape) < MIN_LINES:
        return 0
    own = np.median(lines[0])
    if level is not None and abs(own - level) > BAR_TOLERANCE:
        return 0
    near = (np.abs(lines - own) <= BAR_TOLERANCE).mean(axis=1)
    inside = near >= BAR_SHARE
    if not inside[0] or inside.all():
        return 0
    end = int(inside.argmin())
    # Ringing makes the last lines of a bar look like content.
    below = near[end : end + reach + 1] <= EDGE_SHARE
    return end + int(below.argmax()) if below.any() else 0


def _without_rims(first: int, last: int, side: int) -> list[int]:
    rim = MIN_BAR * side
    return [first if first >= rim else 0, last if side - last >= rim else side]
