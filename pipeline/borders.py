"""Finds bars of one colour around a picture: letterboxes, pillarboxes, margins of a scan."""

import numpy as np
import numpy.typing as npt

from pipeline.phash import LUMA, MAX_SIDE

Floats = npt.NDArray[np.float32]
Box = tuple[int, int, int, int]

# A pixel this near to the bar's grey level belongs to the bar: JPEG's noise at quality 15.
BAR_TOLERANCE = 12.0
# A line belongs to a bar when this share of it does; the rest are specks and ringing.
BAR_SHARE = 0.98
# The first line behind a bar has at most this share in the bar's level: bars end in an edge, while
# a plain wall or a night sky thins out.
EDGE_SHARE = 0.8
# JPEG smears an edge over its own block of 8 pixels.
EDGE_REACH = 8
# Thinner than this share of the side is a scanner's rim, which the hash of the whole bears.
MIN_BAR = 0.01
# With less of a side left than this, it is a plain picture with something in it.
MIN_INNER = 0.25
# Too few lines to tell a bar from a picture.
MIN_LINES = 4


def content(pixels: npt.NDArray[np.uint8]) -> Box | None:
    """Return x1, y1, x2, y2 of the picture inside bars of one colour; None when there are none.

    Args:
        pixels: uint8 [H, W, 3], RGB; looked at in at most 512 samples a side.
    """
    height, width = pixels.shape[:2]
    step_y, step_x = -(-height // MAX_SIDE), -(-width // MAX_SIDE)
    luma: Floats = pixels[step_y // 2 :: step_y, step_x // 2 :: step_x].astype(np.float32) @ LUMA
    top, bottom, left, right = 0, luma.shape[0], 0, luma.shape[1]
    for _ in range(2):  # bars beside a picture are seen only without those above and below
        up, down = _bars(luma[top:bottom, left:right], luma.shape[0], step_y)
        top, bottom = top + up, bottom - down
        up, down = _bars(luma[top:bottom, left:right].T, luma.shape[1], step_x)
        left, right = left + up, right - down
    top, bottom = _without_rims(top, bottom, luma.shape[0])
    left, right = _without_rims(left, right, luma.shape[1])
    if (top, left, bottom, right) == (0, 0, *luma.shape):
        return None
    return left * step_x, top * step_y, min(right * step_x, width), min(bottom * step_y, height)


def _bars(lines: Floats, side: int, step: int) -> tuple[int, int]:
    """Return how many of the first and of the last lines are bars, of a side of `side` lines."""
    reach = -(-EDGE_REACH // step)
    first, last = _bar(lines, reach), _bar(lines[::-1], reach)
    return (first, last) if len(lines) - first - last >= MIN_INNER * side else (0, 0)


def _bar(lines: Floats, reach: int) -> int:
    """Return how many of the first lines [N, M] form a bar, 0 to N - 1."""
    if min(lines.shape) < MIN_LINES:
        return 0
    off = np.abs(lines - np.median(lines[0]))
    near = (off <= BAR_TOLERANCE).mean(axis=1)
    inside = near >= BAR_SHARE
    if not inside[0] or inside.all():
        return 0
    end = int(inside.argmin())
    # Ringing makes the last lines of a bar look like content: the edge is where most is gained.
    gain = np.diff(off[end - 1 : end + reach + 1].mean(axis=1))
    edge = end + int(gain.argmax())
    return edge if near[edge] <= EDGE_SHARE else 0


def _without_rims(first: int, last: int, side: int) -> tuple[int, int]:
    rim = MIN_BAR * side
    return first if first >= rim else 0, last if side - last >= rim else side
