"""Reads the original photos of a lake's rows: their bytes as they were indexed, or small JPEGs.

Nothing else is ever returned: bytes that do not have the hash of the row are refused, so that
another file in a photo's place, or a link that leads elsewhere, is not shown instead.
"""

import hashlib
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from PIL import Image

from pipeline.config import DecodeConfig, ReadConfig
from pipeline.errors import ConfigError, ImageError, StorageError
from pipeline.imaging.record import Decoded
from pipeline.imaging.sandbox import Sandbox
from pipeline.sources.files import fetch_file
from pipeline.sources.identity import normal, spellings
from pipeline.sources.members import Member, Report
from pipeline.sources.shards import shard_members
from pipeline.sources.units import Unit, archive_kind, archive_of
from pipeline.storage.folder import printable, visible

T = TypeVar("T")

QUALITY = 85
# Photos read at once: storage answers in parallel, and each is some megabytes.
THREADS, READ_AT_ONCE = 8, 64
# `printable` writes bytes that are no UTF-8 like this.
_ESCAPED = re.compile("%([89A-F][0-9A-F])")


class Originals:
    """Reads photos by their rows; use as a context manager, which ends the decoding process.

    Threads may share it.

    Args:
        options: storage options for photos at URLs.
        config: how shards are read, see `lake.manifest.read_config`.
        side: pictures are at least this large before they are reduced to what is asked for.
    """

    def __init__(
        self,
        options: Mapping[str, Any] | None = None,
        config: ReadConfig | None = None,
        side: int = 2048,
    ) -> None:
        self.options = dict(options or {})
        self.config = config or ReadConfig()
        self.side = side
        self._sandbox = Sandbox(DecodeConfig(side=side))

    def __enter__(self) -> "Originals":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the decoding process; it starts again when it is needed."""
        self._sandbox.close()

    def read(self, row: Mapping[str, Any]) -> bytes:
        """Return the bytes of the photo of a row of `images` (`uri`, `shard`, `sha256`).

        Raises:
            StorageError: it is not there any more, cannot be read, or has changed.
        """
        uri, shard = str(row["uri"]), str(row["shard"] or "")
        archive = archive_of(uri, shard)
        member = self._member(archive, uri) if archive else self._file(uri)
        return _checked(row, member)

    def jpeg(self, row: Mapping[str, Any], side: int) -> bytes:
        """Return the photo of a row, upright, as a JPEG of at most `side` pixels a side.

        It holds pixels alone: no EXIF, no place, no name.

        Raises:
            StorageError: as `read`.
            ImageError: it cannot be decoded.
        """
        return small_jpeg(self._decoded(self.read(row)), side)

    def _decoded(self, data: bytes) -> Decoded:
        return self._sandbox.decode(data)[0]

    def try_jpeg(self, row: Mapping[str, Any], side: int) -> tuple[bytes | None, str]:
        """Return what `jpeg` does and "", or None and why there is no picture."""
        return self._try(lambda: self.jpeg(row, side))

    def _try(self, make: Callable[[], T]) -> tuple[T | None, str]:
        try:
            return make(), ""
        except (StorageError, ImageError, ConfigError) as error:
            return None, str(error)

    def try_jpegs(
        self, rows: Iterable[Mapping[str, Any]], side: int
    ) -> Iterator[tuple[Mapping[str, Any], bytes | None, str]]:
        """Yield each row with what `try_jpeg` gives, in any order; see `try_each`."""
        return self.try_each(rows, lambda _, decoded: small_jpeg(decoded, side))

    def try_each(
        self,
        rows: Iterable[Mapping[str, Any]],
        make: Callable[[Mapping[str, Any], Decoded], T],
    ) -> Iterator[tuple[Mapping[str, Any], T | None, str]]:
        """Yield each row with what `make` gives of its photo and "", or with None and why not.

        In any order. An archive is read once, whatever the number of its photos, and no further
        than needed.
        """
        return self._each(rows, lambda row, data: make(row, self._decoded(data)))

    def try_read(
        self, rows: Iterable[Mapping[str, Any]]
    ) -> Iterator[tuple[Mapping[str, Any], bytes | None, str]]:
        """Yield each row with the bytes of its photo, one at a time; see `try_each`."""
        return self._each(rows, lambda _, data: data)

    def _each(
        self, rows: Iterable[Mapping[str, Any]], make: Callable[[Mapping[str, Any], bytes], T]
    ) -> Iterator[tuple[Mapping[str, Any], T | None, str]]:
        loose, archives = _by_archive(rows)
        for row in loose:
            yield row, *self._made(row, None, make)
        for archive, inside in archives.items():
            yield from self._try_members(archive, inside, make)

    def try_bytes(
        self, rows: Iterable[Mapping[str, Any]], make: Callable[[Mapping[str, Any], bytes], T]
    ) -> Iterator[tuple[Mapping[str, Any], T | None, str]]:
        """Do what `try_each` does, with the bytes of each photo, several at once in threads."""
        loose, archives = _by_archive(rows)
        with ThreadPoolExecutor(THREADS) as pool:
            for start in range(0, len(loose), READ_AT_ONCE):
                block = loose[start : start + READ_AT_ONCE]
                made = pool.map(lambda row: self._made(row, None, make), block)
                yield from ((row, *one) for row, one in zip(block, made, strict=True))

            def members(archive: str) -> list[tuple[Mapping[str, Any], T | None, str]]:
                return list(self._try_members(archive, archives[archive], make))

            for inside in pool.map(members, archives):
                yield from inside

    def _made(
        self,
        row: Mapping[str, Any],
        member: Member | None,
        make: Callable[[Mapping[str, Any], bytes], T],
    ) -> tuple[T | None, str]:
        def now() -> T:
            return make(row, self.read(row) if member is None else _checked(row, member))

        return self._try(now)

    def _try_members(
        self,
        archive: str,
        rows: Sequence[Mapping[str, Any]],
        make: Callable[[Mapping[str, Any], bytes], T],
    ) -> Iterator[tuple[Mapping[str, Any], T | None, str]]:
        left: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            left.setdefault(normal(str(row["uri"])), []).append(row)
        why = "the archive does not hold it any more"
        report = Report()
        try:
            for member in self._members(archive, lambda uri: normal(uri) in left, report):
                for row in left.pop(normal(printable(f"{archive}#{member.key}")), []):
                    yield row, *self._made(row, member, make)
                if not left:
                    return
        except (StorageError, ConfigError) as error:
            why = str(error)
        why = report.damage[0] if report.damage else why
        for row in (row for some in left.values() for row in some):
            yield row, None, f"{visible(str(row['uri']))} cannot be read: {visible(why)}"

    def _file(self, uri: str) -> Member:
        file = self._fetch(uri)
        if file.data is None and "://" not in uri and _ESCAPED.search(uri):
            raw = _ESCAPED.sub(lambda match: chr(0xDC00 + int(match[1], 16)), uri)
            file = self._fetch(raw) if os.path.exists(raw) else file
        if file.data is None and "://" not in uri:
            other = next(filter(os.path.exists, spellings(uri)), None)
            file = self._fetch(other) if other else file
        return file

    def _fetch(self, uri: str) -> Member:
        options = self.options if "://" in uri else {}
        return fetch_file(uri, uri, Unit("files", "", options=options), self.config.max_bytes)

    def _member(self, archive: str, uri: str) -> Member | None:
        report = Report()
        wanted = normal(uri)
        found = self._members(archive, lambda other: normal(other) == wanted, report)
        member = next(iter(found), None)
        if member is None and report.damage:
            raise StorageError(report.damage[0])
        return member

    def _members(
        self, archive: str, wanted: Callable[[str], bool], report: Report
    ) -> Iterator[Member]:
        """Yield the members of an archive whose uris are wanted."""
        kind = archive_kind(archive)
        assert kind is not None  # `archive_of` saw to it
        options = self.options if "://" in archive else {}
        there = archive
        if "://" not in archive and not os.path.exists(archive):
            there = next(filter(os.path.exists, spellings(archive)), archive)
        unit = Unit(kind, there, options=options)

        def by_key(key: str) -> bool:
            return wanted(printable(f"{archive}#{key}"))

        for member in shard_members(unit, self.config, by_key, report):
            if by_key(member.key):
                yield member


def _by_archive(
    rows: Iterable[Mapping[str, Any]],
) -> tuple[list[Mapping[str, Any]], dict[str, list[Mapping[str, Any]]]]:
    """Return the rows of loose photos, and those of photos in archives by archive."""
    loose: list[Mapping[str, Any]] = []
    archives: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        archive = archive_of(str(row["uri"]), str(row["shard"] or ""))
        if archive:
            archives.setdefault(archive, []).append(row)
        else:
            loose.append(row)
    return loose, archives


def small_jpeg(decoded: Decoded, side: int) -> bytes:
    """Return a picture as a JPEG of at most `side` pixels a side; it holds pixels alone."""
    picture = Image.fromarray(decoded.pixels)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def _checked(row: Mapping[str, Any], member: Member | None) -> bytes:
    """Return the bytes of a row's photo, or raise StorageError if they are not those indexed."""
    uri = visible(str(row["uri"]))
    if member is None or member.data is None:
        why = member.detail if member is not None else "the archive does not hold it any more"
        raise StorageError(f"{uri} cannot be read: {visible(why)}")
    if hashlib.sha256(member.data).hexdigest() != row["sha256"]:
        raise StorageError(f"{uri} has changed since it was indexed")
    return member.data
