"""A mark: where on a photo a person saw a face."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from pipeline.arrays import Floats32
from pipeline.errors import StorageError
from pipeline.imaging.geometry import iou
from pipeline.lake.tombstones import SAME_FACE
from pipeline.people.constraints import MARK, Constraint

# Drawn by hand, or found in the metadata of another program.
Source = Literal["drawn", "region"]
Box = tuple[float, float, float, float]
# By how much the shapes of two versions of a photo may differ by rounding.
SAME_SHAPE = 0.02


@dataclass(frozen=True, slots=True)
class Mark:
    """The place of a marked face; `value` of its correction, as JSON.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the upright photo, as `faces.box`.
        width, height: of that photo.
        source: who knew of it.
    """

    box: Box
    width: int
    height: int
    source: Source = "drawn"

    def value(self) -> str:
        """Return it as it is written."""
        return json.dumps(asdict(self))

    @staticmethod
    def of(row: Constraint) -> "Mark":
        """Return the mark of a correction.

        Raises:
            StorageError: it is damaged.
        """
        try:
            fields = json.loads(row.value or "")
            x1, y1, x2, y2 = map(float, fields["box"])
            return Mark(
                (x1, y1, x2, y2), int(fields["width"]), int(fields["height"]), fields["source"]
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"Correction {row.constraint_id} marks no face ({error}); take it back with "
                f"`facelake people LAKE undo {row.constraint_id}`"
            ) from error

    def on(self, width: int, height: int) -> Box | None:
        """Return the box on a version of the photo of another size; None: of another shape."""
        if not (width and height) or abs(self.width * height / (self.height * width) - 1) > (
            SAME_SHAPE
        ):
            return None
        x, y = width / self.width, height / self.height
        x1, y1, x2, y2 = self.box
        return x1 * x, y1 * y, x2 * x, y2 * y


def marks_of(rows: Iterable[Constraint], faces: Iterable[str]) -> Mapping[str, Mark]:
    """Return the mark of each of some faces that corrections speak of."""
    wanted = set(faces)
    return {
        face: Mark.of(row)
        for row in rows
        if row.kind == MARK
        for face in row.faces
        if face in wanted
    }


def overlapped(box: Sequence[float], boxes: Sequence[Sequence[float]]) -> int | None:
    """Return the number of the box that is the same face as `box`; None: there is none."""
    if not boxes:
        return None
    overlaps: Floats32 = iou(np.array([box], np.float32), np.array(boxes, np.float32))
    best = int(np.argmax(overlaps[0]))
    return best if overlaps[0, best] >= SAME_FACE else None
