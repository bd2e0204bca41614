"""Write: publishes a batch as one part of the lake, and reports what was in it."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.columns import elements
from pipeline.lake import Lake, Models
from pipeline.retry import take_counts
from pipeline.stages.transport import SPENT
from pipeline.work import Stopwatch, fold

RESULT = pa.schema(
    [
        ("part", pa.string()),
        ("images", pa.int64()),
        ("faces", pa.int64()),
        ("with_face", pa.int64()),
        ("bytes", pa.int64()),
        ("errors", pa.string()),
        ("retries", pa.string()),
        ("work", pa.string()),  # by stage, as `pipeline.work.fold` has it
    ]
)


class Write:
    """Splits embedded rows into `images` and `faces` and publishes them.

    Args:
        lake: where to.
        models: recorded in every face's row.
        run_id: recorded in every row.
    """

    def __init__(self, lake: Lake, models: Models, run_id: str) -> None:
        self.lake = lake
        self.models = models
        self.run_id = run_id

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Publish one part and return one row of schema `RESULT`."""
        if not len(batch):  # a part without images would be a name for nothing
            return RESULT.empty_table()
        watch = Stopwatch()
        take_counts()
        counts, _ = elements(batch["found"])
        images, faces = self.tables(batch)
        name = self.lake.publish_part(images, faces, self.run_id)
        work = {f.name.removesuffix("_work"): fold(batch[f.name]) for f in SPENT}
        work["write"] = fold(watch.shares(len(images), 0).to_pylist())
        errors = Counter(e for e in batch["error"].to_pylist() if e)
        return pa.Table.from_pylist(
            [
                {
                    "part": name,
                    "images": len(images),
                    "faces": len(faces),
                    "with_face": int((counts > 0).sum()),
                    "bytes": pc.sum(batch["bytes"]).as_py() or 0,
                    "errors": json.dumps(errors),
                    "retries": json.dumps(take_counts()),
                    "work": json.dumps(work),
                }
            ],
            schema=RESULT,
        )

    def tables(self, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Return the rows of `images` and of `faces` for a batch of schema `embedded(D)`."""
        counts, found = elements(batch["found"])
        good = np.asarray(pc.is_null(batch["error"]))
        known = {name: batch[name] for name in batch.column_names}
        known["faces"] = pa.array(np.where(good, counts, 0), pa.int32(), mask=~good)
        known["run_id"] = pa.array([self.run_id] * len(batch), pa.string())
        images = pa.table([known[f.name] for f in schema.IMAGES], schema=schema.IMAGES)

        owner = np.repeat(np.arange(len(batch)), counts)
        rank = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        image_ids = batch["image_id"].to_pylist()
        uris = batch["uri"].to_pylist()
        columns: dict[str, object] = {f.name: found.field(f.name) for f in found.type}
        columns |= {
            "face_id": [f"{image_ids[i]}-{k}" for i, k in zip(owner, rank, strict=True)],
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
