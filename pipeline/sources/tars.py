"""Reads images out of tar shards, plain or compressed, front to back."""

import tarfile
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
    shown,
    skip,
    told,
    too_many_bytes,
    unsafe,
)

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
    except (tarfile.TarError, OSError, *TORN) as error:
        report.damage.append(f"not a readable tar: {told(error)}")
        return
    with archive:
        while True:
            try:
                info = archive.next()
                more = info is None and _has_more(archive)
            except (tarfile.TarError, OSError, *TORN) as error:
                report.damage.append(
                    f"the tar is damaged or cut after {len(keys)} members: {told(error)}"
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
                except (tarfile.TarError, OSError, *TORN) as error:
                    yield Member(
                        key,
                        error=ErrorCode.TRUNCATED,
                        detail=f"the tar ends inside this image: {told(error)}",
                        size=info.size,
                    )
                    report.damage.append(
                        f"the tar is cut inside {shown(key)}; later images are lost"
                    )
                    return
                yield Member(key, data, size=len(data))
    note_repeated(keys, report)
