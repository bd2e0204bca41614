"""Reads some columns and rows of Parquet files of one schema."""

import io
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.storage.errors import storage_errors
from pipeline.storage.folder import Folder, is_local


def scan(
    folder: Folder,
    names: Sequence[str],
    whole: pa.Schema,
    columns: Sequence[str] | None = None,
    where: pc.Expression | None = None,
) -> pa.Table:
    """Return rows of the named Parquet files that `where` keeps, or all.

    Raises:
        StorageError: a file cannot be read.
    """
    if not names:
        return pa.schema([whole.field(name) for name in columns or whole.names]).empty_table()
    paths = [folder.path(name) for name in names]

    def load() -> pa.Table:
        data = ds.dataset(paths, filesystem=folder.fs, format="parquet", schema=whole)
        return data.to_table(
            columns=list(columns) if columns else None,
            filter=where,
            # Arrow's threads may outlive the read, and abort the process if it ends while they
            # hold a remote file system, which is Python's.
            use_threads=is_local(folder.fs),
        )

    with storage_errors("read", folder.url):
        return folder.attempt(load)


def read_batches(
    folder: Folder, name: str, columns: Sequence[str], rows: int
) -> Iterator[pa.RecordBatch]:
    """Yield columns of one Parquet file, at most `rows` at once.

    Raises:
        StorageError: it cannot be read.
    """
    with storage_errors("read", f"{folder.url}/{name}"):
        # A remote part is fetched whole, so that a failed read can be tried again.
        local = is_local(folder.fs)
        source = folder.path(name) if local else io.BytesIO(folder.read(name))
        with pq.ParquetFile(source, memory_map=local) as file:
            yield from file.iter_batches(rows, columns=list(columns), use_threads=False)
