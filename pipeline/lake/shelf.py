"""Sorted arrays of rows: in memory when they are few, in files of this run when they are many.

So a process that works on them stays as small as it was, however many there are: what it has looked
at lies in the system's file cache, which gives way to everything else.
"""

import math
import mmap
import os
import pickle
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Ints
from pipeline.storage.scratch import scratch, scratch_errors

Array = npt.NDArray[Any]
# More rows than this go into files: some ten megabytes, which nobody minds.
HELD_ROWS = 2**18
# Rows worked on at once.
CHUNK_ROWS = 2**20
# Files that rows are split into by their first byte; one of them is sorted at a time.
BUCKETS = 256
ABOUT = "about.pickle"


def chunks(count: int) -> Iterator[slice]:
    """Yield slices that cover `count` rows, in order."""
    for start in range(0, count, CHUNK_ROWS):
        yield slice(start, min(count, start + CHUNK_ROWS))


class Shelf:
    """Keeps arrays by name. Its folder is made when there is something for it, and removed with it.

    Args:
        held_rows: how many rows are kept in memory; the arrays of more are files.
        folder: of the shelf of another process, which removes it.
    """

    def __init__(self, held_rows: int = HELD_ROWS, folder: str | None = None) -> None:
        self.held_rows = held_rows
        self.folder = folder
        self._maps: list[np.memmap[Any, Any]] = []

    def path(self, name: str) -> str:
        """Return the path of a file, whose folder is there."""
        if self.folder is None:
            stack = ExitStack()
            with scratch_errors():
                self.folder = stack.enter_context(scratch())
            weakref.finalize(self, stack.close)
        return os.path.join(self.folder, name)

    def zeros(
        self, name: str, count: int, kind: npt.DTypeLike, shape: tuple[int, ...] = ()
    ) -> Array:
        """Return a new array [count, *shape] to be filled, in a file where the other rows are."""
        if not count or (self.folder is None and count <= self.held_rows):
            return np.zeros((count, *shape), kind)
        path = self.path(name)
        with suppress(FileNotFoundError):
            os.unlink(path)  # an array that is still in use keeps its own
        with scratch_errors(), open(path, "wb") as file:
            # Room is taken now: a mapped file on a full disk would end the process.
            size = math.prod(shape, start=count) * np.dtype(kind).itemsize
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            file.truncate(size)
        return self._kept(np.memmap(path, kind, "r+", shape=(count, *shape)))

    def keep(self, name: str, array: Array) -> Array:
        """Return an array as it lies in a new file."""
        with scratch_errors():
            array.tofile(self.path(name))
        return self.there(name, array.dtype)

    def there(self, name: str, kind: npt.DTypeLike) -> Array:
        """Return the array that lies in a file of this name; an empty file holds an empty one."""
        path = self.path(name)
        if not os.path.getsize(path):
            return np.zeros(0, kind)
        return self._kept(np.memmap(path, kind, "r"))

    def _kept(self, array: "np.memmap[Any, Any]") -> Array:
        self._maps.append(array)
        return np.asarray(array)

    def let_go(self) -> None:
        """Give back the memory of what was looked at; it is read again where it is needed."""
        for array in self._maps:
            array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]

    def note(self, value: object) -> None:
        """Keep a value beside the arrays, for who opens the folder."""
        with scratch_errors(), open(self.path(ABOUT), "wb") as file:
            pickle.dump(value, file)

    def noted(self) -> Any:
        """Return the value that was noted."""
        with open(self.path(ABOUT), "rb") as file:
            return pickle.load(file)  # noqa: S301  # of this run's own driver

    def sorted_by(
        self, name: str, keys: Array, numbers: Iterator[tuple[Ints, Array]]
    ) -> tuple[Array, Ints]:
        """Return keys uint64 in order, and the number of each; equal ones by a second key.

        Args:
            name: of the files.
            keys: of all rows, spread evenly over their range.
            numbers: pieces of the rows that count, each with their second keys.
        """
        kind = np.dtype([("key", np.uint64), ("second", np.uint8), ("row", np.int64)])
        sorter = Sorter(self, name, kind, ("key", "second", "row"))
        for rows, second in numbers:
            piece = np.zeros(len(rows), kind)
            piece["key"], piece["second"], piece["row"] = keys[rows], second, rows
            sorter.add(piece)
        columns = sorter.columns({"key": f"{name}-keys", "row": f"{name}-rows"})
        return columns["key"], columns["row"]


class Sorter:
    """Sorts rows in memory, or, when there are many, in pieces of which each fits into it.

    Args:
        shelf: where to.
        name: of its files.
        kind: of the rows.
        by: fields to sort by; the first is uint64, and its values are spread evenly.
    """

    def __init__(self, shelf: Shelf, name: str, kind: np.dtype[Any], by: Sequence[str]) -> None:
        self.shelf, self.name, self.kind, self.by = shelf, name, kind, by
        self._held: list[Array] = []
        self._count = 0
        self._split = False

    def add(self, rows: Array) -> None:
        """Take some rows [N] of the kind."""
        self._held.append(rows)
        self._count += len(rows)
        if self._count > (CHUNK_ROWS if self._split else self.shelf.held_rows):
            self._spill()

    def columns(self, files: Mapping[str, str]) -> dict[str, Array]:
        """Return fields of all rows in order, each kept under the name of its file."""
        if not self._split:
            rows = self._in_order(self._taken())
            return {field: np.ascontiguousarray(rows[field]) for field in files}
        self._spill()
        with scratch_errors(), ExitStack() as stack:
            outputs = {
                field: stack.enter_context(open(self.shelf.path(name), "wb"))
                for field, name in files.items()
            }
            for bucket in range(BUCKETS):
                rows = self._in_order(self._bucket(bucket))
                for field, output in outputs.items():
                    output.write(np.ascontiguousarray(rows[field]).data)
        return {f: self.shelf.there(name, self.kind[f]) for f, name in files.items()}

    def _in_order(self, rows: Array) -> Array:
        return rows[np.lexsort([rows[field] for field in reversed(self.by)])]

    def _taken(self) -> Array:
        rows = np.concatenate([np.zeros(0, self.kind), *self._held])
        self._held, self._count = [], 0
        return rows

    def _file(self, bucket: int) -> str:
        return self.shelf.path(f"{self.name}-{bucket}")

    def _spill(self) -> None:
        """Append the rows that are held to the files of their buckets."""
        self._split = True
        rows = self._taken()
        buckets = (rows[self.by[0]] >> np.uint64(56)).astype(np.uint8)
        order = np.argsort(buckets, kind="stable")
        ends = np.cumsum(np.bincount(buckets, minlength=BUCKETS)).tolist()
        for bucket, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            if end > start:
                with scratch_errors(), open(self._file(bucket), "ab") as file:
                    file.write(rows[order[start:end]].data)

    def _bucket(self, bucket: int) -> Array:
        path = self._file(bucket)
        if not os.path.exists(path):
            return np.zeros(0, self.kind)
        rows = np.fromfile(path, self.kind)
        os.unlink(path)
        return rows
