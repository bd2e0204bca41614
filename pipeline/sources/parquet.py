"""Reads images out of Parquet shards that hold encoded bytes in a column."""

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.sources.identity import Keys
from pipeline.sources.members import (
    TORN,
    Member,
    Report,
    Wanted,
    note_repeated,
    shown,
    told,
    too_many_bytes,
)

# Rows decompressed at once: encoded photos of some megabytes each.
PARQUET_BATCH = 32
COLUMNS_SHOWN = 8
# What pyarrow raises for a damaged file, and for values that Python cannot hold (a date in the year
# 300,000 as a key).
DAMAGED = (pa.ArrowException, OSError, OverflowError, *TORN)


def parquet_members(
    file: BinaryIO, wanted: Wanted, max_bytes: int, report: Report, columns: tuple[str, str | None]
) -> Iterator[Member]:
    """Yield the images of a Parquet shard.

    `columns` are the image column (binary, or a struct with a binary `bytes`) and the key column,
    or None to use row numbers.
    """
    keys = Keys()
    image_column, key_column = columns
    try:
        table = pq.ParquetFile(file)
    except DAMAGED as error:
        report.damage.append(f"not a readable Parquet file: {told(error)}")
        return
    missing = [c for c in (image_column, key_column) if c and c not in table.schema_arrow.names]
    if missing:
        names = ", ".join(shown(name) for name in table.schema_arrow.names[:COLUMNS_SHOWN])
        report.damage.append(
            f"no column {missing[0]!r}, only {names}; name it with --image-column or --key-column"
        )
        return
    row = 0
    try:
        for batch in table.iter_batches(
            PARQUET_BATCH, columns=[c for c in (image_column, key_column) if c]
        ):
            for i in range(batch.num_rows):
                name = _name(batch[key_column][i]) if key_column else str(row)
                row += 1
                key = keys.key(name)
                if not wanted(key):
                    continue
                value = batch[image_column][i].as_py()
                if isinstance(value, dict):
                    value = value.get("bytes")
                if value is not None and not isinstance(value, bytes):
                    kind = shown(str(batch[image_column].type))
                    report.damage.append(
                        f"column {image_column!r} holds {kind}, not bytes; name another "
                        "with --image-column"
                    )
                    return
                data = value or b""
                if len(data) > max_bytes:
                    yield too_many_bytes(key, len(data), max_bytes)
                else:
                    yield Member(key, data, size=len(data))
        if row != table.metadata.num_rows:
            report.damage.append(
                f"the Parquet file promises {table.metadata.num_rows} rows and has {row}"
            )
    except DAMAGED as error:
        report.damage.append(f"the Parquet file is damaged after row {row}: {told(error)}")
    note_repeated(keys, report)


def _name(value: pa.Scalar) -> str:
    if pa.types.is_string(value.type) or pa.types.is_large_string(value.type):
        # not all that is called text is UTF-8: surrogates stand for the rest, as in tars
        return (
            str(value.as_buffer().to_pybytes(), "utf-8", "surrogateescape")
            if value.is_valid
            else "None"
        )
    return str(value.as_py())
