"""One pass over the faces of a lake: measures of all, pictures and boxes of those shown."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Floats32, Ints
from pipeline.lake.columns import matrix
from pipeline.lake.store import LakeStore
from pipeline.web.pages import is_picture
from pipeline.web.report.spool import Spool

MEASURES = ("score", "size_px", "quality", "sharpness")
# Rows at once: their thumbnails are some 15 MB.
BATCH = 4_096


@dataclass(frozen=True)
class Faces:
    """Faces of a lake.

    Attributes:
        measures: each of `MEASURES` of all faces, float32 [faces]; NaN where it is not known.
        pictures: number in the spool of each face shown, int64 [shown]; -1: none.
        boxes: float32 [shown, 4]; zeros for faces that are not there.
        sizes: px, float32 [shown].
    """

    measures: dict[str, Floats32]
    pictures: Ints
    boxes: Floats32
    sizes: Floats32


def gather(lake: LakeStore, shown: pa.Array, spool: Spool) -> Faces:
    """Read all faces, part by part, and set aside the thumbnails of `shown`, which are face ids."""
    columns: dict[str, list[Floats32]] = {name: [] for name in MEASURES}
    pictures = np.full(len(shown), -1, np.int64)
    boxes = np.zeros((len(shown), 4), np.float32)
    sizes = np.zeros(len(shown), np.float32)
    for batch in batches(lake, ["face_id", "box", "thumbnail", *MEASURES]):
        for name in MEASURES:
            columns[name].append(batch[name].to_numpy(zero_copy_only=False).astype(np.float32))
        place = pc.fill_null(pc.index_in(batch["face_id"], shown), -1).to_numpy()
        rows = np.flatnonzero(place >= 0)
        if not len(rows):
            continue
        boxes[place[rows]] = matrix(batch["box"])[rows]
        sizes[place[rows]] = columns["size_px"][-1][rows]
        for row in rows:
            picture = batch["thumbnail"][row].as_py()
            if is_picture(picture):
                pictures[place[row]] = spool.add(picture)
    empty = np.zeros(0, np.float32)
    measures = {name: np.concatenate([empty, *values]) for name, values in columns.items()}
    return Faces(measures, pictures, boxes, sizes)


def first_faces(lake: LakeStore, count: int) -> pa.Table:
    """Return `face_id` and `image_id` of some faces, to show before the lake is clustered."""
    columns = ["face_id", "image_id"]
    rows = next(iter(batches(lake, columns)), None)
    kind = pa.schema([(name, pa.string()) for name in columns])
    return kind.empty_table() if rows is None else pa.Table.from_batches([rows.slice(0, count)])


def batches(lake: LakeStore, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield columns of the faces of all complete parts."""
    for name in lake.parts():
        yield from lake.face_batches(name, columns, BATCH)
