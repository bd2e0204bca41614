"""Reads one loose file: its bytes, or why there are none."""

import os
import stat
from functools import partial

from pipeline.errors import ErrorCode
from pipeline.sources.members import Member, too_many_bytes
from pipeline.sources.units import Unit
from pipeline.sources.walk import HEAD_BYTES, is_uncertain, reason_by_bytes
from pipeline.storage.errors import reason
from pipeline.storage.fetch import TooManyBytesError, fetch
from pipeline.storage.folder import filesystem, is_local, printable
from pipeline.storage.patience import in_time, patience

# Smaller files whose names do not tell what they are are fetched whole.
MAX_LOOK = 1 << 16


def fetch_file(name: str, url: str, unit: Unit, max_bytes: int, listed: int = -1) -> Member:
    """Return a loose file, or why it cannot be read; `listed` is its size in the listing."""
    if listed > max_bytes and not is_uncertain(name):
        return too_many_bytes(name, listed, max_bytes)
    try:
        fs, _ = filesystem(unit.base or url, unit.options)
        path = fs._strip_protocol(url)
        limits = patience(unit.options)
        if is_local(fs):
            status = in_time(lambda: os.stat(path), limits.file_s, "the disk did not answer")
            if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait
                return _unreadable(name, OSError("a folder, pipe or device, not a file"))
            if status.st_size > max_bytes:
                return too_many_bytes(name, status.st_size, max_bytes)
            listed = -1  # it may have grown since
        elif is_uncertain(name) and listed > MAX_LOOK and "http" not in fs.protocol:
            head = in_time(partial(fs.cat_file, path, 0, HEAD_BYTES), limits.file_s, "no answer")
            if reason_by_bytes(head, name):
                return Member(name, head, size=listed)  # no image, as these bytes tell
        data = fetch(fs, path, max_bytes, limits, listed)
    except TooManyBytesError as error:
        return too_many_bytes(name, error.size, max_bytes)
    except Exception as error:  # of any back end: this one image is lost, and its row says why
        return _unreadable(name, error)
    return Member(name, data, size=len(data))


def _unreadable(name: str, error: BaseException) -> Member:
    detail = reason(error)
    if isinstance(error, FileNotFoundError) and "://" in str(error):
        detail = f"{type(error).__name__}: it is not there"
    return Member(name, error=ErrorCode.UNREADABLE, detail=printable(detail))
