"""Reads images out of tar shards, plain or compressed, front to back."""

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Iterator
from typing import IO, BinaryIO, cast

import pyarrow as pa

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
    shown,
    skip,
    too_many_bytes,
    unsafe,
)

END_MARK: type[Exception] = tarfile.EOFHeaderError  # type: ignore[attr-defined]  # not in the stubs

# What a long name or a PAX header may hold: names have 4 KiB at most, but attributes of files are
# stored there too. `tarfile` reads it whole, whatever size it claims.
MAX_HEADER_BYTES = 1 << 20
SKIP_BYTES = 1 << 20
MAX_TEXT_BYTES = 1 << 20  # of a label
DAMAGED = (tarfile.TarError, OSError, *TORN)
# Python 3.11 knows neither; Arrow comes anyway.
ARROW_CODECS = {b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}
LZMA_MAGIC = (b"\xfd7zXZ\0", b"\x5d\0\0\x80")


class _Tar(tarfile.TarFile):
    """A tar that knows whether it came to its end mark.

    `TarFile.next` returns None at the mark, but also where the file is cut between two members,
    and at a header that is damaged: then images would be missing without a word.
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

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size < 0:  # the next header would be this one, or one before
            raise tarfile.ReadError(f"a header claims {self.size} bytes")
        if self.type in EXTENDED and not 0 <= self.size <= MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header claims to have {self.size} bytes")
        inherited = super()._proc_member  # type: ignore[misc]  # not in the stubs
        member: tarfile.TarInfo = inherited(archive)
        return member


EXTENDED = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


class _Forward:
    """A file that is read front to back, and notices its end when it skips.

    The stream of `tarfile` goes on for as long as a header claims, up to centuries.
    """

    def __init__(self, file: IO[bytes] | gzip.GzipFile) -> None:
        self._file = file
        self._at = 0

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._at += len(data)
        return data

    def seek(self, to: int) -> None:
        if to < self._at:
            raise tarfile.ReadError("a header leads backwards")
        while self._at < to and self.read(min(to - self._at, SKIP_BYTES)):
            pass


def _unpacked(file: BinaryIO) -> IO[bytes] | gzip.GzipFile:
    """Return the file, unpacked if it is gzip, bzip2, xz, Zstandard or LZ4.

    In its own way `tarfile` would unpack ten kilobytes of it at a time, out of which come
    megabytes, or gigabytes of bzip2, and copies all that is left of those with every read.
    """
    head = file.read(6)
    file.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if head.startswith(b"BZh"):
        return bz2.BZ2File(file)
    for magic, name in ARROW_CODECS.items():
        if head.startswith(magic):
            return cast(IO[bytes], pa.CompressedInputStream(pa.PythonFile(file, "r"), name))
    return lzma.LZMAFile(file) if head.startswith(LZMA_MAGIC) else file


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
    archive = _opened(file, report)
    if archive is None:
        return
    with archive:
        for info in _entries(archive, keys, report):
            if info.isdir() or skip(info.name, report):
                continue
            key = keys.key(info.name)
            if not wanted(key):
                continue
            member = _refused(info, key, max_bytes) or _read(archive, info, key)
            yield member
            if member.error == ErrorCode.TRUNCATED:
                report.damage.append(f"the tar is cut inside {shown(key)}; later images are lost")
                return


def tar_texts(
    file: BinaryIO, endings: tuple[str, ...], report: Report
) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of the small files of a tar with these endings: labels beside images."""
    archive = _opened(file, report)
    if archive is None:
        return
    with archive:
        for info in _entries(archive, Keys(), report):
            if info.isreg() and info.size <= MAX_TEXT_BYTES and info.name.endswith(endings):
                member = _read(archive, info, info.name)
                if member.data is not None:
                    yield info.name, member.data


def _opened(file: BinaryIO, report: Report) -> _Tar | None:
    try:
        forward = cast(IO[bytes], _Forward(_unpacked(file)))  # all that `tarfile` needs of one
        return _Tar.open(fileobj=forward, mode="r:", tarinfo=_Header)
    except DAMAGED as error:
        report.damage.append(f"not a readable tar: {error_text(error)}")
        return None


def _entries(archive: _Tar, keys: Keys, report: Report) -> Iterator[tarfile.TarInfo]:
    """Yield the entries of a tar up to its end, and report how it ends."""
    while True:
        try:
            info = archive.next()
            more = info is None and _has_more(archive)
        except DAMAGED as error:
            report.damage.append(
                f"the tar is damaged or cut after {len(keys)} members: {error_text(error)}"
            )
            return
        if info is None:
            break
        archive.members.clear()  # type: ignore[attr-defined]  # else memory grows with the shard
        yield info
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
    note_repeated(keys, report)


def _refused(info: tarfile.TarInfo, key: str, max_bytes: int) -> Member | None:
    """Return the error row of an entry that is not read, None for one that may be."""
    if not info.isreg():
        return unsafe(key, "is a link, a device or a pipe")
    if is_unsafe(info.name):
        return unsafe(key, "leads out of its archive")
    return too_many_bytes(key, info.size, max_bytes) if info.size > max_bytes else None


def _read(archive: _Tar, info: tarfile.TarInfo, key: str) -> Member:
    try:
        data = archive.extractfile(info).read()  # type: ignore[union-attr]
    except DAMAGED as error:
        detail = f"the tar ends inside this image: {error_text(error)}"
        return Member(key, error=ErrorCode.TRUNCATED, detail=detail, size=info.size)
    return Member(key, data, size=len(data))
