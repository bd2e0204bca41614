"""Reads images out of tar, zip and Parquet shards, one member at a time.

Nothing is ever extracted to disk. Readers yield `Member`s and never raise for what a shard holds:
a member that cannot be used carries an error, and what is wrong with the shard as a whole goes
into its `Report`.
"""

import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ErrorCode
from pipeline.sources.identity import Keys
from pipeline.sources.units import archive_kind
from pipeline.sources.walk import reason_to_skip_member
from pipeline.storage import printable

# A hostile name is shown, not repeated whole.
NAME_SHOWN = 200
PARQUET_BATCH = 32
NOTICES = 20


@dataclass(slots=True)
class Member:
    """One image of a shard: its key, its encoded bytes, or why there are none."""

    key: str
    data: bytes | None = None
    error: ErrorCode | None = None
    detail: str = ""
    size: int = -1


@dataclass(slots=True)
class Report:
    """What one unit passed over or found wrong.

    Attributes:
        skipped: members that are no image, by reason.
        notices: what the user should know.
        damage: why images of the shard may be missing; the run's exit code tells of it.
        done: images that the lake had already.
    """

    skipped: Counter[str] = field(default_factory=Counter)
    notices: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    done: int = 0

    def note(self, text: str) -> None:
        """Add a notice; a flood of them is cut."""
        if len(self.notices) < NOTICES:
            self.notices.append(text)


Wanted = Callable[[str], bool]


def shown(name: str) -> str:
    """Return a member's name fit for a message."""
    text = printable(name)
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= NAME_SHOWN else text[:NAME_SHOWN] + "..."


def is_unsafe(name: str) -> bool:
    """Return whether a member's name leads out of its archive."""
    parts = name.replace("\\", "/").split("/")
    return (
        name.startswith(("/", "\\")) or ".." in parts or (len(parts[0]) == 2 and parts[0][1] == ":")
    )


def skip(name: str, report: Report) -> bool:
    """Count a member that is no image, and return whether it is passed over."""
    if archive_kind(name):
        report.skipped["archive inside an archive"] += 1
        report.note(f"{shown(name)} is an archive inside an archive and was not opened")
        return True
    reason = reason_to_skip_member(name.replace("\\", "/"))  # some zips of Windows
    if reason:
        report.skipped[reason] += 1
    return reason is not None


def unsafe(key: str, what: str) -> Member:
    """Return the error row of a member that must not be followed."""
    return Member(
        key, error=ErrorCode.UNSAFE_MEMBER, detail=f"{shown(key)} {what}; it was not followed"
    )


# What archive readers and decompressors raise for damaged data, their own classes apart; tarfile
# takes the ord() of a byte that is not there.
_TORN = (ValueError, TypeError, EOFError, struct.error, zlib.error, lzma.LZMAError)
END_MARK: type[Exception] = tarfile.EOFHeaderError  # type: ignore[attr-defined]  # not in the stubs


class _Tar(tarfile.TarFile):
    """A tar that knows whether it came to its end mark.

    `TarFile.next` returns None at the mark, but also where the file is cut between two members,
    and at a header that is damaged: then images are missing and nobody would be told.
    """

    ended = False


class _Header(tarfile.TarInfo):
    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> "_Header":
        """Read the next header, and note the end mark."""
        try:
            return super().fromtarfile(tarfile)
        except END_MARK:
            tarfile.ended = True  # type: ignore[attr-defined]  # of _Tar
            raise


def _has_more(archive: tarfile.TarFile) -> bool:
    """Return whether anything but padding follows the end mark: tars joined end to end."""
    while block := archive.fileobj.read(tarfile.RECORDSIZE):
        if block.strip(b"\0"):
            return True
    return False


def tar_members(file: BinaryIO, wanted: Wanted, max_bytes: int, report: Report) -> Iterator[Member]:
    """Yield the images of a tar shard, plain or compressed, read front to back.

    `wanted(key)` tells whether the bytes of an image are needed. A shard that is cut keeps every
    image before the cut; the image in which it is cut gets an error.
    """
    keys = Keys()
    try:
        archive = _Tar.open(fileobj=file, mode="r|*", tarinfo=_Header)
    except (tarfile.TarError, OSError, *_TORN) as error:
        report.damage.append(f"not a readable tar: {error}")
        return
    with archive:
        while True:
            try:
                info = archive.next()
                more = info is None and _has_more(archive)
            except (tarfile.TarError, OSError, *_TORN) as error:
                report.damage.append(
                    f"the tar is damaged or cut after {len(keys)} members: {error}"
                )
                return
            if info is None:
                if not archive.ended:
                    report.damage.append(
                        f"the tar has no end mark, or a damaged header, after {len(keys)} images: "
                        "later ones are lost if it was cut"
                    )
                elif more:
                    report.damage.append(
                        f"more data follows the end of the tar, after {len(keys)} images, and was "
                        "not read; if tars were joined, unpack them and pack them as one"
                    )
                break
            archive.members.clear()  # type: ignore[attr-defined]  # else memory grows with the shard
            if info.isdir() or skip(info.name, report):
                continue
            key = keys.key(info.name)
            if not wanted(key):
                continue
            if not info.isreg():
                yield unsafe(key, "is a link, a device or a pipe")
            elif is_unsafe(info.name):
                yield unsafe(key, "leads out of its archive")
            elif info.size > max_bytes:
                yield too_many_bytes(key, info.size, max_bytes)
            else:
                try:
                    data = archive.extractfile(info).read()  # type: ignore[union-attr]
                except (tarfile.TarError, OSError, *_TORN) as error:
                    yield Member(
                        key,
                        error=ErrorCode.TRUNCATED,
                        detail=f"the tar ends inside this image: {error}",
                        size=info.size,
                    )
                    report.damage.append(
                        f"the tar is cut inside {shown(key)}; later images are lost"
                    )
                    return
                yield Member(key, data, size=len(data))
    if keys.repeated:
        report.note(
            f"{len(keys.repeated)} names occur more than once, each image kept under its own key "
            f"(name@2 ...), the first: {shown(keys.repeated[0])}"
        )


def too_many_bytes(key: str, size: int, max_bytes: int) -> Member:
    """Return the error row of an image with more encoded bytes than allowed."""
    return Member(
        key,
        error=ErrorCode.TOO_LARGE,
        detail=f"{size} bytes, more than the {max_bytes} allowed by --max-bytes",
        size=size,
    )


def zip_members(file: BinaryIO, wanted: Wanted, max_bytes: int, report: Report) -> Iterator[Member]:
    """Yield the images of a zip file."""
    keys = Keys()
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, OSError, *_TORN) as error:
        report.damage.append(f"not a readable zip (cut, or no zip at all): {error}")
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
            if info.is_dir() or skip(info.filename, report):
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
    if keys.repeated:
        report.note(
            f"{len(keys.repeated)} names occur more than once, each image kept under its own key "
            f"(name@2 ...), the first: {shown(keys.repeated[0])}"
        )


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
        *_TORN,
    ) as error:
        # bz2 raises OSError for bad data, without a number; storage's own have one
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return Member(key, error=ErrorCode.CORRUPT, detail=f"damaged in the zip: {error}")
    return Member(key, data, size=len(data))


def parquet_members(
    file: BinaryIO, wanted: Wanted, max_bytes: int, report: Report, columns: tuple[str, str | None]
) -> Iterator[Member]:
    """Yield the images of a Parquet shard.

    `columns` are the image column (binary, or a struct with a binary `bytes`) and the key column,
    or None to use row numbers.
    """
    keys = Keys()
    image_column, key_column = columns
    try:
        table = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        report.damage.append(f"not a readable Parquet file: {error}")
        return
    missing = [c for c in (image_column, key_column) if c and c not in table.schema_arrow.names]
    if missing:
        report.damage.append(
            f"no column {missing[0]!r}, only {', '.join(table.schema_arrow.names[:20])}; name it "
            "with --image-column or --key-column"
        )
        return
    row = 0
    try:
        for batch in table.iter_batches(
            PARQUET_BATCH, columns=[c for c in (image_column, key_column) if c]
        ):
            for i in range(batch.num_rows):
                name = str(batch[key_column][i].as_py()) if key_column else str(row)
                row += 1
                key = keys.key(name)
                if not wanted(key):
                    continue
                value = batch[image_column][i].as_py()
                if isinstance(value, dict):
                    value = value.get("bytes")
                if value is not None and not isinstance(value, bytes):
                    report.damage.append(
                        f"column {image_column!r} holds {batch[image_column].type}, not bytes; "
                        "name another with --image-column"
                    )
                    return
                data = value or b""
                if len(data) > max_bytes:
                    yield too_many_bytes(key, len(data), max_bytes)
                else:
                    yield Member(key, data, size=len(data))
        if row != table.metadata.num_rows:
            report.damage.append(
                f"the Parquet file promises {table.metadata.num_rows} rows and has {row}"
            )
    except (pa.ArrowException, OSError) as error:
        report.damage.append(f"the Parquet file is damaged after row {row}: {error}")
    if keys.repeated:
        report.note(
            f"{len(keys.repeated)} keys occur more than once, each image kept under its own key "
            f"(key@2 ...), the first: {shown(keys.repeated[0])}"
        )
