"""A remote file for seeking and reading that survives faults of its storage."""

import io
from collections.abc import Callable
from typing import BinaryIO, TypeVar

import fsspec

from pipeline.errors import FacelakeError, StorageError
from pipeline.storage.errors import reason
from pipeline.storage.fetch import STALL_ATTEMPTS
from pipeline.storage.patience import Patience, in_time
from pipeline.storage.retry import attempt

T = TypeVar("T")

BLOCK_BYTES = 8 * 2**20


class RemoteFile(io.RawIOBase):
    """Reads a remote file; a failed or short read is repeated from a fresh connection.

    Args:
        fs: the file system.
        path: of the file in it.
        limits: how long one piece of it may take.
    """

    def __init__(
        self, fs: fsspec.AbstractFileSystem, path: str, limits: Patience | None = None
    ) -> None:
        super().__init__()
        self._limits = limits or Patience()
        self._open: Callable[[], BinaryIO] = lambda: fs.open(
            path, "rb", block_size=BLOCK_BYTES, cache_type="readahead"
        )
        size = self._attempt(lambda: fs.info(path)["size"])
        if size is None:
            raise OSError("the server does not say how large the file is; copy it to a disk first")
        self._size = int(size)
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
        pieces, at = [], self._at
        while wanted:
            pieces.append(self._piece(at, min(wanted, BLOCK_BYTES)))
            at += len(pieces[-1])
            wanted -= len(pieces[-1])
        self._at = at
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readinto(self, buffer: "memoryview", /) -> int:  # type: ignore[override]
        """Fill `buffer`, or what there is."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the connection."""
        self._drop()
        super().close()

    def _attempt(self, call: Callable[[], T]) -> T:
        """Return what `call` returns; storage that stalls is asked a second time at most."""
        seconds = self._limits.file_s
        return attempt(
            lambda: in_time(call, seconds, "the storage did not answer"), stalls=STALL_ATTEMPTS
        )

    def _piece(self, at: int, wanted: int) -> bytes:
        def read() -> tuple[BinaryIO, bytes]:
            # Nobody else may use the file meanwhile: a call that stalled keeps it for ever.
            file, self._file = self._file or self._open(), None
            try:
                file.seek(at)
                data = file.read(wanted)
                if len(data) != wanted:
                    raise OSError(f"{len(data)} of {wanted} bytes came")
            except Exception:
                file.close()
                raise
            return file, data

        try:
            self._file, data = self._attempt(read)
        except FacelakeError:
            raise
        except Exception as error:
            # Not an OSError, which readers of archives take for damage of the archive.
            raise StorageError(f"the storage failed at byte {at:,}: {reason(error)}") from error
        return data

    def _drop(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
