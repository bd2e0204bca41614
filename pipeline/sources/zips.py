"""Reads images out of zip files."""

import bz2
import copy
import itertools
import stat
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from pipeline.errors import ErrorCode
from pipeline.sources.identity import Keys
from pipeline.sources.members import (
    TORN,
    Member,
    Report,
    Wanted,
    error_text,
    is_unsafe,
    note_repeated,
    skip,
    too_many_bytes,
    unsafe,
)

HEADER_BYTES = 30  # of a member, without its name


def zip_members(file: BinaryIO, wanted: Wanted, max_bytes: int, report: Report) -> Iterator[Member]:
    """Yield the images of a zip file."""
    keys = Keys()
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, OSError, *TORN) as error:
        report.damage.append(f"not a readable zip (cut, or no zip at all): {error_text(error)}")
        return
    with archive:
        entries = archive.infolist()
        promised = _entries_promised(file, len(archive.comment))
        if promised is not None and promised != len(entries):
            report.damage.append(
                f"the directory of the zip is damaged: it promises {promised} members and names "
                f"{len(entries)}"
            )
        overlapping = _overlapping(entries)
        for info in entries:
            if info.filename.endswith("/") or skip(info.filename, report):
                continue
            key = keys.key(info.filename)
            if not wanted(key):
                continue
            refused = _refused(info, key, info in overlapping, max_bytes)
            yield refused or _read(archive, info, key)
    note_repeated(keys, report)


def _refused(info: zipfile.ZipInfo, key: str, overlaps: bool, max_bytes: int) -> Member | None:
    """Return the error row of a member that is not read, None for one that may be."""
    if is_unsafe(info.filename):
        return unsafe(key, "leads out of its archive")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        return unsafe(key, "is a link, a device or a pipe")
    if overlaps:
        return unsafe(key, "shares its bytes with another member, as zip bombs do")
    if info.flag_bits & 1:
        return Member(key, error=ErrorCode.ENCRYPTED, detail="behind a password")
    size = max(info.file_size, info.compress_size)
    return too_many_bytes(key, size, max_bytes) if size > max_bytes else None


def _entries_promised(file: BinaryIO, comment: int) -> int | None:
    """Return how many members the end record counts, None where it cannot say (Zip64).

    `zipfile` reads as many as it finds, and says nothing about the others.
    """
    file.seek(-22 - comment, 2)
    record = file.read(12)
    count = int.from_bytes(record[10:], "little")
    return count if record.startswith(b"PK\5\6") and count < 0xFFFF else None


def _overlapping(entries: list[zipfile.ZipInfo]) -> set[zipfile.ZipInfo]:
    """Return the members that reach into the next one.

    So a zip of ten megabytes can hold 281 terabytes (Fifield, "A better zip bomb", WOOT 2019).
    """
    ordered = sorted(entries, key=lambda info: info.header_offset)
    return {
        info
        for info, following in itertools.pairwise(ordered)
        if info.header_offset + HEADER_BYTES + info.compress_size > following.header_offset
    }


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, key: str) -> Member:
    try:
        if info.compress_type == zipfile.ZIP_BZIP2:
            data = _bzip2(archive, info)
        else:
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
        return Member(
            key, error=ErrorCode.CORRUPT, detail=f"damaged in the zip: {error_text(error)}"
        )
    return Member(key, data, size=len(data))


def _bzip2(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return a member packed by bzip2, no more of it than the directory promises.

    `zipfile` unpacks four kilobytes at a time, out of which gigabytes can come.
    """
    packed = copy.copy(info)
    packed.compress_type, packed.file_size = zipfile.ZIP_STORED, info.compress_size
    packed.CRC = None  # type: ignore[assignment]  # not to be checked
    with archive.open(packed) as member:
        raw = member.read()
    unpacker, data = bz2.BZ2Decompressor(), b""
    while len(data) < info.file_size and not unpacker.eof:
        more = unpacker.decompress(raw, info.file_size - len(data))
        if not more and unpacker.needs_input:
            raise EOFError("the data ends early")
        data, raw = data + more, b""
    if zlib.crc32(data) != info.CRC:
        raise zipfile.BadZipFile("wrong checksum")
    return data
