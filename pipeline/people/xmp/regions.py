"""Face regions as other programs keep them: parts of the stored image, whatever way it is turned.

The Metadata Working Group's guidelines (2.0, 2010, section 5.9) give the centre and size of a
region as shares of the image. Which one, for a photo that its EXIF orientation turns? digiKam,
Lightroom and Immich all mean the stored one: a reader turns regions with the pixels. Boxes of a
lake are of the upright image, so both ways need the orientation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.imaging.geometry import iou

Box = tuple[float, float, float, float]
# Of the two sizes, how far their ratios may differ by rounding when programs scale photos.
SAME_SHAPE = 0.02
SIDEWAYS = frozenset({5, 6, 7, 8})
# Programs draw boxes of other sizes around one face: tight, with hair, or square.
LEAST_IOU = 0.3


@dataclass(frozen=True, slots=True)
class Region:
    """A face with a name in the stored image.

    Attributes:
        name: of the person.
        x, y: centre, as shares of width and height, from 0 to 1.
        w, h: size, likewise.
    """

    name: str
    x: float
    y: float
    w: float
    h: float

    def is_inside(self) -> bool:
        """Return whether it is a region of the image at all."""
        return 0 <= self.x <= 1 and 0 <= self.y <= 1 and 0 < self.w <= 1 and 0 < self.h <= 1

    def is_like(self, other: "Region") -> bool:
        """Return whether another program wrote the same face: its centre lies in this one."""
        near = abs(self.x - other.x) < self.w / 2 and abs(self.y - other.y) < self.h / 2
        return self.name == other.name and near


@dataclass(frozen=True, slots=True)
class Frame:
    """The image that regions and boxes are of.

    Attributes:
        width, height: of the upright image, pixels.
        orientation: EXIF, 1 to 8.
    """

    width: int
    height: int
    orientation: int = 1

    @property
    def stored(self) -> tuple[int, int]:
        """Width and height as the file stores them."""
        turned = self.orientation in SIDEWAYS
        return (self.height, self.width) if turned else (self.width, self.height)

    def region(self, name: str, box: Sequence[float]) -> Region | None:
        """Return the region of a box x1, y1, x2, y2 in pixels; None if it lies outside."""
        x1, x2 = (min(1.0, max(0.0, value / self.width)) for value in (box[0], box[2]))
        y1, y2 = (min(1.0, max(0.0, value / self.height)) for value in (box[1], box[3]))
        if x2 <= x1 or y2 <= y1:
            return None
        x, y = _to_stored((x1 + x2) / 2, (y1 + y2) / 2, self.orientation)
        w, h = x2 - x1, y2 - y1
        return Region(name, x, y, *((h, w) if self.orientation in SIDEWAYS else (w, h)))

    def box(self, region: Region) -> Box:
        """Return the box of a region, pixels of the upright image."""
        x, y = _to_upright(region.x, region.y, self.orientation)
        w, h = (region.h, region.w) if self.orientation in SIDEWAYS else (region.w, region.h)
        return (
            (x - w / 2) * self.width, (y - h / 2) * self.height,
            (x + w / 2) * self.width, (y + h / 2) * self.height,
        )  # fmt: skip

    def seen_by(self, applied: tuple[float, float] | None) -> "Frame | None":
        """Return the frame that a program meant whose regions apply to an image of this size.

        Some write upright regions for turned photos; their size tells. None: it is another
        image, cropped since, to which the regions do not apply.
        """
        if applied is None or min(applied) <= 0:
            return self
        upright = Frame(self.width, self.height)
        for frame in (self, upright):
            w, h = frame.stored
            if abs((applied[0] / applied[1]) / (w / h) - 1) <= SAME_SHAPE:
                return frame
        return None


def _to_upright(x: float, y: float, orientation: int) -> tuple[float, float]:
    """Turn a point of the stored image as EXIF says that the image is to be turned."""
    turned = {
        2: (1 - x, y), 3: (1 - x, 1 - y), 4: (x, 1 - y), 5: (y, x),
        6: (1 - y, x), 7: (1 - y, 1 - x), 8: (y, 1 - x),
    }  # fmt: skip
    return turned.get(orientation, (x, y))


def _to_stored(x: float, y: float, orientation: int) -> tuple[float, float]:
    """Undo `_to_upright`: all turns but the two quarter ones undo themselves."""
    return _to_upright(x, y, {6: 8, 8: 6}.get(orientation, orientation))


def matched(boxes: Sequence[Box], others: Sequence[Sequence[float]]) -> dict[int, int]:
    """Return for each box the other box that it is, the best pairs first, none twice."""
    if not boxes or not others:
        return {}
    overlap = iou(
        np.asarray(boxes, np.float32).reshape(-1, 4), np.asarray(others, np.float32).reshape(-1, 4)
    )
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for flat in np.argsort(-overlap, axis=None, kind="stable").tolist():
        row, column = divmod(flat, len(others))
        if overlap[row, column] < LEAST_IOU:
            break
        if row not in pairs and column not in taken:
            pairs[row] = column
            taken.add(column)
    return pairs
