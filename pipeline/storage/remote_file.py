"""A remote file for seeking and reading that survives faults of its storage."""

import io
from collections.abc import Callable
from typing import BinaryIO

import fsspec

from pipeline.storage.retry import attempt

BLOCK_BYTES = 8 * 2**20


class RemoteFile(io.RawIOBase):
    """Reads a remote file; a failed or short read is repeated from a fresh connection.

    Args:
        fs: the file system.
        path: of the file in it.
    """

    def __init__(self, fs: fsspec.AbstractFileSystem, path: str) -> None:
        super().__init__()
        self._open: Callable[[], BinaryIO] = lambda: fs.open(
            path, "rb", block_size=BLOCK_BYTES, cache_type="readahead"
        )
        self._size = int(attempt(lambda: fs.info(path)["size"]))
        self._file: BinaryIO | None = None
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move; nothing is asked of the storage."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative position {start + offset}")
        self._at = start + offset
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """Return `size` bytes, or all that are left: never fewer while there are more."""
        left = max(0, self._size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        data = attempt(lambda: self._read(wanted)) if wanted else b""
        self._at += len(data)
        return data

    def readinto(self, buffer: "memoryview", /) -> int:  # type: ignore[override]
        """Fill `buffer`, or what there is."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the connection."""
        self._drop()
        super().close()

    def _read(self, wanted: int) -> bytes:
        try:
            if self._file is None:
                self._file = self._open()
            self._file.seek(self._at)
            data = self._file.read(wanted)
        except Exception:
            self._drop()
            raise
        if len(data) != wanted:
            self._drop()
            raise OSError(f"{len(data)} of {wanted} bytes came")
        return data

    def _drop(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
