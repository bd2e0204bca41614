"""Writes the vectors of a lake as a Lance dataset, a format with vector indexes of its own."""

import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigError, needs_extra
from pipeline.lake import schema
from pipeline.lake.store import LakeStore
from pipeline.search.vectors import sizes_of, table_batches

COLUMNS = ("face_id", "image_id", "uri", "box", "score", "size_px", "quality", "embedding")


def lance() -> Any:
    """Return the library Lance.

    Raises:
        ConfigError: it is not installed.
    """
    with needs_extra("lance", "Export to Lance needs"):
        import lance as library
    return library


def to_lance(lake: LakeStore, target: str) -> int:
    """Write faces and vectors as a Lance dataset, batch by batch, and return how many.

    Raises:
        ConfigError: Lance is not installed, or the target is there already.
    """
    library = lance()
    models = lake.existing_models()
    if "://" not in target and os.path.exists(target):
        raise ConfigError(f"{target} is there already; name a folder that is not")
    whole = schema.faces_schema(models.dimension)
    columns = pa.schema([whole.field(name).remove_metadata() for name in COLUMNS],
                        {"embedder": models.embedder, "detector": models.detector})  # fmt: skip
    count = 0

    def read() -> Iterator[pa.RecordBatch]:
        nonlocal count
        for name in sizes_of(lake):
            for batch in table_batches(lake, name, list(COLUMNS)):
                count += len(batch)
                yield pa.RecordBatch.from_arrays(batch.columns, schema=columns)

    try:
        library.write_dataset(pa.RecordBatchReader.from_batches(columns, read()), target)
    except OSError as error:
        raise ConfigError(f"Lance cannot write {target}: {error}") from error
    return count
