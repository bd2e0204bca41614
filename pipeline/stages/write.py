"""Write: publishes a batch as one part of the lake, and reports what was in it."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Bools, Floats32
from pipeline.lake import schema
from pipeline.lake.columns import elements, matrix
from pipeline.lake.store import LakeStore, Models
from pipeline.lake.tombstones import NOTHING, Forgotten
from pipeline.stages.records import TIMINGS
from pipeline.storage.retry import take_counts
from pipeline.timing import Stopwatch, summed

RESULT = pa.schema(
    [
        ("part", pa.string()),
        ("images", pa.int64()),
        ("faces", pa.int64()),
        ("with_face", pa.int64()),
        ("bytes", pa.int64()),
        ("errors", pa.string()),
        ("retries", pa.string()),
        ("timing", pa.string()),  # by stage, as `pipeline.timing.summed` has it
    ]
)


class Write:
    """Splits embedded rows into `images` and `faces` and publishes them.

    Args:
        lake: where to.
        models: recorded in every face's row.
        run_id: recorded in every row.
        forgotten: photos and faces that are left out.
    """

    def __init__(
        self, lake: LakeStore, models: Models, run_id: str, forgotten: Forgotten = NOTHING
    ) -> None:
        self.lake = lake
        self.models = models
        self.run_id = run_id
        self.forgotten = forgotten

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Publish one part and return one row of schema `RESULT`."""
        batch = self._allowed(batch)
        if not len(batch):  # a part without images would be a name for nothing
            return RESULT.empty_table()
        watch = Stopwatch()
        take_counts()
        images, faces = self.tables(batch)
        name = self.lake.publish_part(images, faces, self.run_id)
        timing = {f.name.removesuffix("_timing"): summed(batch[f.name]) for f in TIMINGS}
        timing["write"] = summed(watch.shares(len(images), 0).to_pylist())
        errors = Counter(e for e in batch["error"].to_pylist() if e)
        return pa.Table.from_pylist(
            [
                {
                    "part": name,
                    "images": len(images),
                    "faces": len(faces),
                    "with_face": pc.sum(pc.greater(images["faces"], 0)).as_py() or 0,
                    "bytes": pc.sum(batch["bytes"]).as_py() or 0,
                    "errors": json.dumps(errors),
                    "retries": json.dumps(take_counts()),
                    "timing": json.dumps(timing),
                }
            ],
            schema=RESULT,
        )

    def _allowed(self, batch: pa.Table) -> pa.Table:
        """Return the rows of photos that may be in the lake, now that their pixels are known."""
        if not self.forgotten.images:
            return batch
        rows = zip(*(batch[n].to_pylist() for n in ("uri", "sha256", "pixels_sha256")), strict=True)
        return batch.filter(pa.array([not self.forgotten.hides(*row) for row in rows], pa.bool_()))

    def _hidden(self, batch: pa.Table, owner: npt.NDArray[np.int64], boxes: Floats32) -> Bools:
        """Return which faces must not be in the lake, bool [N]; `owner` is the row of each."""
        hidden = np.zeros(len(owner), bool)
        if not self.forgotten.boxes:
            return hidden
        columns = ("width", "height", "uri", "sha256", "pixels_sha256")
        rows = zip(*(batch[name].to_pylist() for name in columns), strict=True)
        for row, (width, height, *photo) in enumerate(rows):
            faces = owner == row
            if faces.any():
                hidden[faces] = self.forgotten.hidden_faces(boxes[faces], width, height, *photo)
        return hidden

    def _face_ids(self, image_id: str, count: int) -> Iterator[str]:
        """Yield the ids of an image's faces by rank, without those of forgotten faces.

        So the other faces keep their ids, and the corrections that name them still hold.
        """
        rank = itertools.count()
        while count:
            face = schema.face_id_of(image_id, next(rank))
            if not self.forgotten.faces or self.forgotten.key(face) not in self.forgotten.faces:
                yield face
                count -= 1

    def tables(self, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Return the rows of `images` and of `faces` for a batch of schema `embedded(D)`."""
        counts, detections = elements(batch["detections"])
        owner = np.repeat(np.arange(len(batch)), counts)
        kept = np.flatnonzero(~self._hidden(batch, owner, matrix(detections.field("box"))))
        owner, detections = owner[kept], detections.take(pa.array(kept))
        counts = np.bincount(owner, minlength=len(batch))
        good = np.asarray(pc.is_null(batch["error"]))
        image_columns = {name: batch[name] for name in batch.column_names}
        image_columns["faces"] = pa.array(np.where(good, counts, 0), pa.int32(), mask=~good)
        image_columns["run_id"] = pa.array([self.run_id] * len(batch), pa.string())
        images = schema.completed(pa.table(image_columns))

        image_ids = batch["image_id"].to_pylist()
        uris = batch["uri"].to_pylist()
        columns: dict[str, object] = {f.name: detections.field(f.name) for f in detections.type}
        columns |= {
            "face_id": [
                face
                for image, count in zip(image_ids, counts.tolist(), strict=True)
                for face in self._face_ids(image, count)
            ],
            "image_id": [image_ids[i] for i in owner],
            "uri": [uris[i] for i in owner],
            "detector": [self.models.detector] * len(owner),
            "embedder": [self.models.embedder] * len(owner),
            "run_id": [self.run_id] * len(owner),
        }
        table = schema.faces_schema(self.models.dimension)
        faces = pa.table(
            [pa.chunked_array([_array(columns[f.name], f.type)]) for f in table], schema=table
        )
        return images, faces


def _array(values: object, kind: pa.DataType) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, kind)
