"""Reads images out of Parquet shards that hold encoded bytes in a column."""

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import ReadConfig
from pipeline.sources.identity import Keys
from pipeline.sources.members import (
    TORN,
    Member,
    Report,
    Wanted,
    error_text,
    note_repeated,
    shown,
    too_many_bytes,
)

# Rows decompressed at once: encoded photos of some megabytes each.
PARQUET_BATCH = 32
COLUMNS_SHOWN = 8
# What pyarrow raises for a damaged file, and for values that Python cannot hold (a date in the year
# 300,000 as a key).
DAMAGED = (pa.ArrowException, OSError, OverflowError, *TORN)


def parquet_members(
    file: BinaryIO, wanted: Wanted, config: ReadConfig, report: Report
) -> Iterator[Member]:
    """Yield the images of a Parquet shard.

    The image column is binary, or a struct with a binary `bytes`.
    """
    keys = Keys()
    image_column, key_column = config.image_column, config.key_column
    try:
        table = pq.ParquetFile(file)
    except DAMAGED as error:
        report.damage.append(f"not a readable Parquet file: {error_text(error)}")
        return
    wrong = _wrong_columns(table.schema_arrow, image_column, key_column)
    if wrong:
        report.damage.append(wrong)
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
                data = value or b""
                if len(data) > config.max_bytes:
                    yield too_many_bytes(key, len(data), config.max_bytes)
                else:
                    yield Member(key, data, size=len(data))
        if row != table.metadata.num_rows:
            report.damage.append(
                f"the Parquet file promises {table.metadata.num_rows} rows and has {row}"
            )
    except DAMAGED as error:
        report.damage.append(f"the Parquet file is damaged after row {row}: {error_text(error)}")
    note_repeated(keys, report)


def _name(value: pa.Scalar) -> str:
    if pa.types.is_string(value.type) or pa.types.is_large_string(value.type):
        # a text column may hold bytes that are not UTF-8: surrogates stand for them, as in tars
        return (
            str(value.as_buffer().to_pybytes(), "utf-8", "surrogateescape")
            if value.is_valid
            else "None"
        )
    return str(value.as_py())


def wrong_columns(file: BinaryIO, image_column: str, key_column: str | None) -> str | None:
    """Return what is wrong with the columns of a Parquet shard; None when they will do.

    Damage of the file is not reported here, but when it is read.
    """
    try:
        return _wrong_columns(pq.ParquetFile(file).schema_arrow, image_column, key_column)
    except DAMAGED:
        return None


def _wrong_columns(schema: pa.Schema, image_column: str, key_column: str | None) -> str | None:
    missing = [c for c in (image_column, key_column) if c and c not in schema.names]
    if missing:
        names = ", ".join(shown(name) for name in schema.names[:COLUMNS_SHOWN])
        return (
            f"no column {missing[0]!r}, only {names}; name it with --image-column or --key-column"
        )
    kind = schema.field(image_column).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_null(kind)):
        return (
            f"column {image_column!r} holds {shown(str(kind))}, not bytes; name another with "
            "--image-column"
        )
    return None
