"""Reads images out of zip files."""

import stat
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from pipeline.errors import ErrorCode
from pipeline.sources.identity import Keys
from pipeline.sources.members import (
    TORN,
    Member,
    Report,
    Wanted,
    is_unsafe,
    note_repeated,
    skip,
    told,
    too_many_bytes,
    unsafe,
)


def zip_members(file: BinaryIO, wanted: Wanted, max_bytes: int, report: Report) -> Iterator[Member]:
    """Yield the images of a zip file."""
    keys = Keys()
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, OSError, *TORN) as error:
        report.damage.append(f"not a readable zip (cut, or no zip at all): {told(error)}")
        return
    with archive:
        entries = archive.infolist()
        promised = _entries_promised(file, len(archive.comment))
        if promised is not None and promised != len(entries):
            report.damage.append(
                f"the directory of the zip is damaged: it promises {promised} members and names "
                f"{len(entries)}"
            )
        for info in entries:
            if info.filename.endswith("/") or skip(info.filename, report):
                continue
            key = keys.key(info.filename)
            if not wanted(key):
                continue
            if is_unsafe(info.filename):
                yield unsafe(key, "leads out of its archive")
            elif stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                yield unsafe(key, "is a link, a device or a pipe")
            elif info.flag_bits & 1:
                yield Member(key, error=ErrorCode.ENCRYPTED, detail="behind a password")
            elif info.file_size > max_bytes:
                yield too_many_bytes(key, info.file_size, max_bytes)
            else:
                yield _zip_member(archive, info, key)
    note_repeated(keys, report)


def _entries_promised(file: BinaryIO, comment: int) -> int | None:
    """Return how many members the end record counts, None where it cannot say (Zip64).

    `zipfile` reads as many as it finds, and keeps still about the others.
    """
    file.seek(-22 - comment, 2)
    record = file.read(12)
    count = int.from_bytes(record[10:], "little")
    return count if record.startswith(b"PK\5\6") and count < 0xFFFF else None


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, key: str) -> Member:
    try:
        with archive.open(info) as member:
            # No more than the directory promises: a bomb may lie about its size.
            data = member.read(info.file_size + 1)
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        EOFError,
        OSError,
        RuntimeError,
        *TORN,
    ) as error:
        # bz2 raises OSError for bad data, without a number; storage's own have one
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return Member(key, error=ErrorCode.CORRUPT, detail=f"damaged in the zip: {told(error)}")
    return Member(key, data, size=len(data))
