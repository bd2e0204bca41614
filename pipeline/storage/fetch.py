"""Fetches whole files from any storage, bounded in bytes and in time.

What a listing or a server says about a size is not relied on: bytes are counted as they come.
"""

import time
from collections import Counter
from collections.abc import Coroutine
from threading import Lock
from typing import Any, cast

import fsspec
from fsspec.asyn import sync

from pipeline.errors import StorageError
from pipeline.storage.folder import is_local
from pipeline.storage.patience import FILE, Patience, StallError, in_time
from pipeline.storage.retry import attempt

PIECE_BYTES = 1 << 20
# A server that stopped sending is asked a second time, not more: each costs `read_s`.
STALL_ATTEMPTS = 2
# A thread that does not notice its deadline by itself is left alone a little later.
GRACE_S = 1.0
# After so many files in a row of which none came, the next are given a tenth of the time: a dead
# host with a million addresses would take a month otherwise.
STALLED_FILES = 8
SHORTENED = 10

_stalled: Counter[str] = Counter()
_stalled_lock = Lock()


class TooManyBytesError(StorageError):
    """A file has more bytes than allowed.

    Attributes:
        size: as announced, or how many had come.
    """

    def __init__(self, size: int) -> None:
        super().__init__(f"{size} bytes, more than allowed")
        self.size = size


class StatusError(OSError):
    """A web server refused; `status` is its code."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"the server answered {status} {reason}".strip())
        self.status = status


class _Sink:
    """Gathers the pieces of a file until there are too many, or time is up."""

    def __init__(self, most: int, limits: Patience, deadline: float) -> None:
        self.most, self.limits, self.deadline = most, limits, deadline
        self.pieces: list[bytes] = []
        self.size = 0

    def announce(self, size: int) -> None:
        """Refuse a file by the size that the server gives, before a byte is read."""
        if size > self.most:
            self.pieces.clear()  # the exception's traceback would keep them
            raise TooManyBytesError(size)

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        self.announce(self.size)
        if time.monotonic() > self.deadline:
            raise StallError(
                f"the file did not come within {self.limits.file_s:g} s, {self.size} bytes did; "
                f"allow more by --storage-option {FILE}=SECONDS"
            )
        self.pieces.append(piece)


def fetch(
    fs: fsspec.AbstractFileSystem,
    path: str,
    most: int,
    limits: Patience,
    size: int | None = None,
) -> bytes:
    """Return the bytes of a file; `size` is what a listing says.

    Raises:
        TooManyBytesError: it has more than `most`.
        StallError: it did not come in time.
        Whatever the back end raised last.
    """
    host = path.split("/")[2] if "://" in path else ""
    share = SHORTENED if host and _stalled[host] >= STALLED_FILES else 1
    deadline = time.monotonic() + limits.file_s / share

    def once() -> bytes:
        sink = _Sink(most, limits, deadline)
        _read(fs, path, sink)
        if size is not None and size >= 0 and sink.size != size:
            raise OSError(f"{sink.size} of {size} bytes came")
        return b"".join(sink.pieces)

    def all_tries() -> bytes:
        if is_local(fs):
            return once()
        return attempt(once, stalls=1 if share > 1 else STALL_ATTEMPTS, until=deadline)

    seconds = limits.file_s / share + GRACE_S
    if share > 1:
        seconds = min(seconds, (limits.connect_s + limits.read_s) / share + GRACE_S)
    try:
        data = in_time(all_tries, seconds, "the storage did not give the file")
    except TimeoutError:
        with _stalled_lock:
            _stalled[host] += 1
        raise
    with _stalled_lock:
        _stalled.pop(host, None)
    return data


def _read(fs: fsspec.AbstractFileSystem, path: str, sink: _Sink) -> None:
    if is_local(fs):
        with open(path, "rb") as file:
            while piece := file.read(PIECE_BYTES):
                sink.add(piece)
    elif "http" in fs.protocol:
        _wait(fs, _read_http(fs, path, sink))
    elif "s3" in fs.protocol:
        _wait(fs, _read_s3(fs, path, sink))
    else:
        with fs.open(path, "rb") as file:
            while piece := file.read(PIECE_BYTES):
                sink.add(piece)


def _wait(fs: fsspec.AbstractFileSystem, work: Coroutine[Any, Any, None]) -> None:
    sync(fs.loop, lambda: work)


async def _read_http(fs: Any, url: str, sink: _Sink) -> None:
    """Read a URL; its status comes before its body, which may be the page of an error."""
    settings = dict(fs.kwargs)
    # Packed bytes would be counted after they were unpacked.
    settings["headers"] = {"Accept-Encoding": "identity"} | dict(settings.get("headers", {}))
    session = await fs.set_session()
    async with session.get(fs.encode_url(url), **settings) as response:
        if response.status >= 400:
            raise StatusError(response.status, response.reason or "")
        if response.content_length is not None:
            sink.announce(response.content_length)
        async for piece in response.content.iter_any():
            sink.add(piece)


async def _read_s3(fs: Any, path: str, sink: _Sink) -> None:
    bucket, key, version = fs.split_path(path)
    which = {"VersionId": version} if version else {}
    response = await fs._call_s3("get_object", Bucket=bucket, Key=key, **which, **fs.req_kw)
    sink.announce(int(response.get("ContentLength") or 0))
    async with response["Body"] as body:
        while piece := cast(bytes, await body.read(PIECE_BYTES)):
            sink.add(piece)


def is_page(fs: fsspec.AbstractFileSystem, url: str, most: int, limits: Patience) -> bool:
    """Return whether a web address is a page that may list files, and one that ends.

    Raises:
        StatusError: the server refuses.
        TooManyBytesError: a page that does not end.
    """

    async def ask() -> bool:
        session = await fs.set_session()
        async with session.get(fs.encode_url(url), **fs.kwargs) as response:
            if response.status >= 400:
                raise StatusError(response.status, response.reason or "")
            if "html" not in response.headers.get("Content-Type", ""):
                return False
            sink = _Sink(most, limits, time.monotonic() + limits.file_s)
            async for piece in response.content.iter_any():
                sink.add(piece)
            return True

    return cast(bool, sync(fs.loop, ask))
