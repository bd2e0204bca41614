"""Views and builders between Arrow columns and NumPy arrays, without copies where possible."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Bools, Floats32, Pixels

# How far the norm of a vector may lie from 1.
NORM_TOLERANCE = 1e-3


def pixels_column(images: Sequence[Pixels | None]) -> pa.Array:
    """Return images uint8 [H, W, 3] as one large_binary array; None becomes null.

    One copy into one buffer, however many images there are; `pixel_views` needs the sizes.
    """
    lengths = np.array([0 if image is None else image.size for image in images], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    buffer = np.empty(int(offsets[-1]), dtype=np.uint8)
    for image, start, length in zip(images, offsets, lengths, strict=False):
        if image is not None:
            buffer[start : start + length] = image.reshape(-1)
    valid = np.array([image is not None for image in images], dtype=bool)
    bitmap = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(
        pa.large_binary(), len(images), [bitmap, pa.py_buffer(offsets), pa.py_buffer(buffer)]
    )


def binary_views(column: pa.ChunkedArray) -> list[npt.NDArray[np.uint8] | None]:
    """Return read-only views uint8 [length] of a (large_)binary column; None for null."""
    views: list[npt.NDArray[np.uint8] | None] = []
    for chunk in column.chunks:
        width = np.int64 if pa.types.is_large_binary(chunk.type) else np.int32
        _, offset_buffer, data = chunk.buffers()
        if len(chunk) == 0:
            continue
        offsets = np.frombuffer(offset_buffer, width)[chunk.offset : chunk.offset + len(chunk) + 1]
        values = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
        values.flags.writeable = False  # others may hold the same buffer
        valid = np.asarray(chunk.is_valid())
        views.extend(
            values[start:end] if ok else None
            for start, end, ok in zip(offsets[:-1], offsets[1:], valid, strict=True)
        )
    return views


def pixel_views(
    column: pa.ChunkedArray,
    heights: Sequence[int | None],
    widths: Sequence[int | None],
    reduced: Sequence[int | None],
) -> list[Pixels | None]:
    """Return read-only images uint8 [H, W, 3] of a column made by `pixels_column`.

    Their sides are `heights` and `widths` divided by `reduced`, rounded up.
    """
    rows = zip(binary_views(column), heights, widths, reduced, strict=True)
    return [
        None
        if view is None
        else view.reshape(-(-(h or 0) // (r or 1)), -(-(w or 0) // (r or 1)), 3)
        for view, h, w, r in rows
    ]


def fixed_lists(values: npt.NDArray[np.float32], kind: pa.FixedSizeListType) -> pa.Array:
    """Return the rows of `values` [N, D] as fixed-size lists."""
    flat = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), type=kind)


def matrix(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.float32]:
    """Return a column of fixed-size lists without nulls as float32 [N, D]."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    return np.asarray(array.flatten()).reshape(len(array), array.type.list_size)


def lists_of(counts: Sequence[int], values: pa.Array) -> pa.ListArray:
    """Return consecutive runs of `values` as lists of the given lengths."""
    offsets = np.concatenate([[0], np.cumsum(np.asarray(counts, dtype=np.int64))])
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)


def structs(fields: Sequence[pa.Field], columns: Sequence[Any]) -> pa.StructArray:
    """Return one struct array of `columns`, each cast to its field's type."""
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, type=kind.type)
        for kind, column in zip(fields, columns, strict=True)
    ]
    return pa.StructArray.from_arrays(arrays, fields=[f.remove_metadata() for f in fields])


def elements(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], pa.StructArray]:
    """Return the list lengths [N] of a list column without nulls, and all elements in order."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    counts = np.diff(np.asarray(array.offsets)).astype(np.int64)
    return counts, array.flatten()


def digest(table: pa.Table) -> str:
    """Return a hash of what a table holds, 32 hex digits: names, nulls and values.

    It does not depend on chunks, offsets or file format, so it can be kept in a Parquet file's
    metadata and compared with what is read back.
    """
    hasher = hashlib.blake2b(digest_size=16)
    for column in table.schema:
        hasher.update(f"{column.name};".encode())
        chunks = table[column.name].chunks or [pa.array([], column.type)]
        _feed(hasher, pa.concat_arrays(chunks))
    return hasher.hexdigest()


def _feed(hasher: hashlib.blake2b, array: pa.Array) -> None:
    if array.null_count:
        hasher.update(np.packbits(np.asarray(array.is_valid())).data)
        kept = array.drop_null()
    else:  # the same bits, without a bool for each of a million vectors' numbers
        whole, rest = divmod(len(array), 8)
        hasher.update(b"\xff" * whole + bytes([0xFF00 >> rest & 0xFF] if rest else []))
        kept = array
    if pa.types.is_fixed_size_list(kept.type):
        _feed(hasher, kept.flatten())
    elif pa.types.is_list(kept.type):
        hasher.update(np.asarray(kept.value_lengths(), dtype=np.int64).tobytes())
        _feed(hasher, kept.flatten())
    elif pa.types.is_fixed_size_binary(kept.type):
        hasher.update(b"".join(kept.to_pylist()))
    elif pa.types.is_string(kept.type) or pa.types.is_binary(kept.type):
        lengths = np.asarray(pc.binary_length(kept), dtype=np.int64)
        hasher.update(lengths.tobytes())
        hasher.update(b"".join(kept.cast(pa.binary()).to_pylist()))
    else:
        hasher.update(np.asarray(kept).tobytes())


def is_unit(vectors: Floats32) -> Bools:
    """Return which vectors [N, D] are of unit norm; those that are not finite are not."""
    unit: Bools = np.abs(np.linalg.norm(vectors, axis=1) - 1) <= NORM_TOLERANCE
    return unit
