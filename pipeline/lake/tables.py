"""Tables of a lake as a reader sees them: Arrow batches in bounded memory, pandas, vectors."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.arrays import Floats32
from pipeline.lake import schema
from pipeline.lake.columns import matrix
from pipeline.lake.generations import Generations
from pipeline.lake.scan import read_batches, scan
from pipeline.lake.store import LakeStore
from pipeline.storage.errors import storage_errors
from pipeline.storage.folder import Folder

if TYPE_CHECKING:
    import pandas as pd

BATCH_ROWS = 16_384


@dataclass(frozen=True)
class Table:
    """One table of a lake, as it is at the moment of each call.

    Attributes:
        name: of its folder.
        folder: where its parts lie.
        parts: returns the names of the parts that count.
        schema_now: returns its columns.
    """

    name: str
    folder: Folder
    parts: Callable[[], Sequence[str]]
    schema_now: Callable[[], pa.Schema]

    @property
    def schema(self) -> pa.Schema:
        """The columns; their metadata says what they mean, and in which unit."""
        return self.schema_now()

    def __len__(self) -> int:
        """Return the number of rows, read from the ends of the files."""
        rows = 0
        for name in self.parts():
            path = f"{self.folder.url}/{name}"
            with storage_errors("read", path), self.folder.open(name) as file:
                rows += pq.ParquetFile(file).metadata.num_rows
        return rows

    def batches(
        self, columns: Sequence[str] | None = None, rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Yield all rows, at most `rows` at once; memory is that of one batch and one part's pages.

        Raises:
            StorageError: a part cannot be read.
        """
        for name in self.parts():
            yield from read_batches(self.folder, name, self._checked(columns), rows)

    def to_arrow(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """Return the rows that `where` keeps, all at once.

            lake.faces.to_arrow(["uri", "box"], pc.field("quality") > 0.8)

        Raises:
            ConfigError: there is no such column.
            StorageError: a part cannot be read.
        """
        names = self._checked(columns)
        return scan(self.folder, list(self.parts()), self.schema, names, where)

    def to_pandas(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> "pd.DataFrame":
        """Return what `to_arrow` does as a data frame; boxes and vectors become NumPy arrays."""
        frame: pd.DataFrame = self.to_arrow(columns, where).to_pandas()
        return frame

    def _checked(self, columns: Sequence[str] | None) -> list[str]:
        return schema.checked_columns(self.name, self.schema, columns)


@dataclass(frozen=True)
class FaceTable(Table):
    """The faces, whose vectors can be had as one matrix."""

    def vectors(self) -> tuple[np.ndarray, Floats32]:
        """Return the face ids, objects [N], and their unit vectors, float32 [N, D], in order.

        The matrix is filled part by part: nothing but it and one batch is in memory.
        """
        total = len(self)
        dimension = self.schema.field("embedding").type.list_size
        ids, vectors = np.empty(total, object), np.empty((total, dimension), np.float32)
        start = 0
        for batch in self.batches(["face_id", "embedding"]):
            end = start + len(batch)
            ids[start:end] = batch["face_id"].to_numpy(zero_copy_only=False)
            vectors[start:end] = matrix(batch["embedding"])
            start = end
        return ids[:start], vectors[:start]


def images_of(lake: LakeStore) -> Table:
    """Return the table of images."""
    return Table("images", lake.folder.child("images"), lake.parts, lambda: schema.IMAGES)


def faces_of(lake: LakeStore) -> FaceTable:
    """Return the table of faces."""

    def columns() -> pa.Schema:
        return schema.faces_schema(lake.existing_models().dimension)

    return FaceTable("faces", lake.folder.child("faces"), lake.parts, columns)


def table_of(generations: Generations, name: str, columns: pa.Schema) -> Table:
    """Return a table that a run makes anew."""
    folder = generations.lake.folder.child(name)
    return Table(name, folder, lambda: generations.part_names(name), lambda: columns)
