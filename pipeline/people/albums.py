"""Photos of somebody for other programs: a zip file, packed as it is sent, or links in a folder."""

import io
import os
import posixpath
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import ConfigError
from pipeline.sources.originals import Originals
from pipeline.storage.folder import visible

MISSING = "not included.txt"
# Zip files hold no earlier dates.
FIRST_YEAR = 1980


def file_names(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a name for a copy of each photo: its own, numbered where two are the same."""
    used: set[str] = {MISSING}
    names = []
    for row in rows:
        own = visible(posixpath.basename(str(row["uri"]).replace("#", "/").replace("\\", "/")))
        own = own.lstrip(".") or str(row["image_id"])
        stem, dot, ending = own.rpartition(".")
        name, number = own, 1
        while name.casefold() in used:
            number += 1
            name = f"{stem or own} ({number}){dot if stem else ''}{ending if stem else ''}"
        used.add(name.casefold())
        names.append(name)
    return names


def zipped(originals: Originals, rows: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:
    """Yield a zip file of the original photos of rows of `images`, piece by piece.

    Only one photo is in memory at a time, and an archive is read once. Those that cannot be read
    any more are listed in `MISSING` with the reason.
    """
    out = _Pieces()
    missing = []
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as packed:
        names = dict(zip((row["image_id"] for row in rows), file_names(rows), strict=True))
        for row, data, why in originals.try_read(rows):
            if data is None:
                missing.append(f"{visible(str(row['uri']))}: {why}\n")
                continue
            about = zipfile.ZipInfo(names[row["image_id"]])
            if row.get("taken_at") and row["taken_at"].year >= FIRST_YEAR:
                about.date_time = row["taken_at"].timetuple()[:6]
            packed.writestr(about, data)
            yield out.taken()
        if missing:
            packed.writestr(MISSING, "".join(missing))
    yield out.taken()


@dataclass
class Linked:
    """What became of links.

    Attributes:
        links: how many were made, or were there already.
        skipped: why others were not, with how many.
    """

    links: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


def linked(rows: Sequence[Mapping[str, Any]], folder: str) -> Linked:
    """Make a symbolic link in a folder for each photo that is a file of its own.

    Nothing that is in the folder already is changed.

    Raises:
        ConfigError: the folder cannot be made.
    """
    folder = os.path.abspath(os.path.expanduser(folder))
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{visible(folder)} cannot be made: {error.strerror}") from error
    done = Linked()
    for row, name in zip(rows, file_names(rows), strict=True):
        photo, link = str(row["uri"]), os.path.join(folder, name)
        if "://" in photo or not os.path.isfile(photo):
            done.skipped["photos in archives, at URLs or gone: use --zip"] += 1
            continue
        try:
            os.symlink(os.path.abspath(photo), link)
        except FileExistsError:
            if not (os.path.islink(link) and os.path.realpath(link) == os.path.realpath(photo)):
                done.skipped["names that are taken in the folder"] += 1
                continue
        except OSError:
            done.skipped["links that cannot be made here: use --zip"] += 1
            continue
        done.links += 1
    return done


class _Pieces(io.RawIOBase):
    """A file that can only be written, and whose bytes are taken as they come."""

    def __init__(self) -> None:
        super().__init__()
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._written += data
        return len(data)

    def taken(self) -> bytes:
        data = bytes(self._written)
        self._written.clear()
        return data
