"""Reads images out of Parquet shards: bytes in a column, or files that a column names."""

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

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

# Rows decompressed at once, and about how many bytes of them at most.
PARQUET_BATCH, BATCH_BYTES = 32, 32 * 2**20
# Pages are read one by one through a buffer: read ahead, a row group would stand in memory whole,
# as it is stored and as it is handed on.
BUFFER_BYTES = 2**20
COLUMNS_SHOWN = 8
LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)
BYTES = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
    pa.types.is_null,
)
# What pyarrow raises for a damaged file, and for values that Python cannot hold (a date in the year
# 300,000 as a key).
DAMAGED = (pa.ArrowException, OSError, OverflowError, *TORN)

# Reads the file that a row names: its key and path.
Beside = Callable[[str, str], Member]


def parquet_members(
    file: BinaryIO, wanted: Wanted, config: ReadConfig, report: Report, beside: Beside | None = None
) -> Iterator[Member]:
    """Yield the images of a Parquet shard.

    The image column is binary of any layout, a struct with binary `bytes` (and perhaps a `path`,
    which `beside` reads where there are no bytes, as data sets of Hugging Face have it), or a list
    of such: the second image of row 7 has the key `7/1`.
    """
    keys = Keys()
    image_column, key_column = config.image_column, config.key_column
    try:
        table = pq.ParquetFile(file, pre_buffer=False, buffer_size=BUFFER_BYTES)
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
            _batch_rows(table.metadata),
            columns=[c for c in (image_column, key_column) if c],
            use_threads=False,
        ):
            for i in range(batch.num_rows):
                name = _name(batch[key_column][i]) if key_column else str(row)
                row += 1
                for place, image in _images(batch[image_column], i):
                    key = keys.key(name + place)
                    if wanted(key):
                        yield _member(key, image.as_py(), config.max_bytes, beside)
        if row != table.metadata.num_rows:
            report.damage.append(
                f"the Parquet file promises {table.metadata.num_rows} rows and has {row}"
            )
    except DAMAGED as error:
        report.damage.append(f"the Parquet file is damaged after row {row}: {error_text(error)}")
    note_repeated(keys, report)


def _batch_rows(about: pq.FileMetaData) -> int:
    """Return how many rows to unpack at once: fewer where images are large."""
    groups = (about.row_group(i) for i in range(about.num_row_groups))
    largest = max((g.total_byte_size // max(1, g.num_rows) for g in groups), default=0)
    return int(max(1, min(PARQUET_BATCH, BATCH_BYTES // max(1, largest))))


def _images(column: pa.Array, row: int) -> Iterator[tuple[str, pa.Scalar]]:
    """Yield the images of a row, each with what its key ends with."""
    value = column[row]
    if not _is_list(column.type):
        yield "", value
        return
    for i, item in enumerate(value.values if value.is_valid else ()):
        yield f"/{i}", item


def _member(key: str, value: Any, max_bytes: int, beside: Beside | None) -> Member:
    path = None
    if isinstance(value, dict):
        value, path = value.get("bytes"), value.get("path")
    data = value or b""
    if not data and isinstance(path, str) and path and beside is not None:
        return beside(key, path)
    if len(data) > max_bytes:
        return too_many_bytes(key, len(data), max_bytes)
    return Member(key, data, size=len(data))


def _name(value: pa.Scalar) -> str:
    if isinstance(value, pa.DictionaryScalar) and value.is_valid:
        value = value.value
    kind = value.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
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
    if not _holds_bytes(kind):
        return (
            f"column {image_column!r} holds {shown(str(kind))}, not bytes; name another with "
            "--image-column"
        )
    return None


def _is_list(kind: pa.DataType) -> bool:
    return any(is_one(kind) for is_one in LISTS)


def _holds_bytes(kind: pa.DataType) -> bool:
    """Return whether images can be taken out of a column of this type."""
    if _is_list(kind):
        kind = kind.value_type
    kind = _plain(kind)
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = _plain(kind.field("bytes").type)
    return any(is_one(kind) for is_one in BYTES)


def _plain(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return kind.value_type if pa.types.is_dictionary(kind) else kind
