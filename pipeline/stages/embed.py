"""Embed: aligned crops in, unit vectors out."""

import numpy as np
import pyarrow as pa

from pipeline.config import Views
from pipeline.imaging.memory import give_back
from pipeline.lake.columns import elements, fixed_lists, lists_of, structs
from pipeline.models.embedder import load_embedder
from pipeline.models.runtime import Precision
from pipeline.models.weights.store import WeightStore
from pipeline.stages.records import embedded, embedded_fields
from pipeline.timing import Stopwatch


class Embed:
    """Gives every face its vector; the crops end here.

    Args:
        embedder: name, or path of an ONNX model with its card.
        precision: None takes the fastest that keeps the vectors of real faces.
        views: what a vector is made from, see `load_embedder`.
    """

    def __init__(
        self,
        embedder: str,
        *,
        device: str = "cpu",
        threads: int | None = None,
        store: WeightStore | None = None,
        precision: Precision | None = None,
        views: Views = "one",
    ) -> None:
        self.embedder = load_embedder(
            embedder, store=store, device=device, threads=threads, precision=precision, views=views
        )
        self.schema = embedded(self.embedder.card.dimension)
        give_back()  # what loading took, 110 MB of SFace's, until the first faces come

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return a table of schema `embedded(D)`, a row for each row of `batch`."""
        watch = Stopwatch()
        counts, faces = elements(batch["detections"])
        card = self.embedder.card
        size = card.input_size
        raw = b"".join(faces.field("crop").to_pylist())
        crops = np.frombuffer(raw, np.uint8).reshape(-1, size, size, 3)
        vectors, norms = self.embedder.embed(crops)
        fields = embedded_fields(card.dimension)
        face_columns = {f.name: faces.field(f.name) for f in faces.type if f.name != "crop"}
        face_columns["embedding"] = fixed_lists(vectors, fields[-2].type)
        face_columns["embedding_norm"] = pa.array(norms, pa.float32())
        columns = {name: batch[name] for name in batch.column_names}
        columns["detections"] = lists_of(
            counts.tolist(), structs(fields, [face_columns[f.name] for f in fields])
        )
        give_back()
        bytes_out = sum(column.nbytes for column in columns.values())
        columns["embed_timing"] = watch.shares(len(batch), bytes_out)
        return pa.table([columns[f.name] for f in self.schema], schema=self.schema)
