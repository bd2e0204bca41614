"""Units of work: what one read task is given."""

import pickle
import re
import weakref
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from tempfile import SpooledTemporaryFile
from typing import Any, Literal

import numpy as np

from pipeline.arrays import Bools
from pipeline.lake.ledger import Places
from pipeline.lake.moves import Place
from pipeline.storage.scratch import scratch_errors

UnitKind = Literal["files", "tar", "zip", "parquet"]

ARCHIVES: Mapping[str, UnitKind] = {
    ".tar": "tar",
    ".tar.gz": "tar",
    ".tgz": "tar",
    ".tar.bz2": "tar",
    ".tar.xz": "tar",
    ".tar.zst": "tar",
    ".tar.lz4": "tar",
    ".tar.lzma": "tar",
    ".tbz2": "tar",
    ".tbz": "tar",
    ".txz": "tar",
    ".tzst": "tar",
    ".zip": "zip",
    ".cbz": "zip",
    ".parquet": "parquet",
}


def archive_kind(name: str) -> UnitKind | None:
    """Return what kind of shard a file of this name is, or None."""
    lower = name.lower()
    return next((kind for ending, kind in ARCHIVES.items() if lower.endswith(ending)), None)


def archive_of(uri: str, shard: str) -> str | None:
    """Return the archive or table that holds an image; None for a file of its own."""
    return shard if uri.startswith(f"{shard}#") and archive_kind(shard) else None


@dataclass(frozen=True, slots=True)
class Unit:
    """A shard, or a group of loose files, that one task reads.

    Attributes:
        kind: how it is read.
        base: URL that each of `names` is appended to (files), or the shard's URL.
        place: the shard's path relative to the input root; empty for files, whose names are
            their places.
        names: files only.
        sizes: bytes of each file, -1 where the listing does not say; or of the shard.
        versions: of each file, or of the shard, see `walk.file_version`; None where it is not
            known.
        salted: indices into `names` of files that share their place with another file of this
            run, which came first; {0} for such a shard.
        options: storage options.
    """

    kind: UnitKind
    base: str
    place: str = ""
    names: Sequence[str] = ()
    sizes: Sequence[int] = ()
    salted: frozenset[int] = frozenset()
    options: Mapping[str, Any] = field(default_factory=dict)
    versions: Sequence[str | None] = ()

    def version(self, index: int) -> str | None:
        """Return the version of a file, or of the shard that all images come from."""
        at = index if self.kind == "files" else 0
        return self.versions[at] if self.versions else None

    def size_of_file(self, index: int) -> int:
        """Return the size of a file of its own, -1 where it is not known."""
        return self.sizes[index] if self.kind == "files" and self.sizes else -1

    def some(self, chosen: Sequence[int]) -> "Unit":
        """Return a unit of some of the files."""
        return replace(
            self,
            names=tuple(self.names[k] for k in chosen),
            sizes=tuple(self.sizes[k] for k in chosen),
            versions=tuple(self.versions[k] for k in chosen) if self.versions else (),
            salted=frozenset(at for at, k in enumerate(chosen) if k in self.salted),
        )


@dataclass(slots=True)
class Extent:
    """What one input covers: images below it that were not listed are not there any more.

    Attributes:
        root: folder, with the links on the way to it followed, or URL.
        text: the input as it was given.
        pattern: what full paths match, for a glob; None for a folder.
        files: how many files were listed.
        unlisted: folders that could not be listed.
        empty: folders below it that are there and hold nothing: perhaps a disk is not mounted.
    """

    root: str
    text: str
    pattern: re.Pattern[str] | None = None
    files: int = 0
    unlisted: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)


# A guess for when there is nothing to sample.
IMAGE_BYTES = 500_000
# Units in memory; more lie in a file.
HELD_BYTES = 32 * 2**20


class Units:
    """Units of work, first those of loose files, then shards; in a file when there are many.

    Attributes:
        images: loose images.
        sized: how many of them have a known size.
        bytes, shard_bytes: encoded bytes of all, and of the shards, as far as the listing tells.
    """

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        # The storage options of all units; they may hold a secret, and are not written.
        self.options = options or {}
        self.images = self.sized = self.bytes = self.shard_bytes = 0
        self._file = SpooledTemporaryFile(HELD_BYTES)  # noqa: SIM115  # until nobody needs it
        weakref.finalize(self, self._file.close)
        self._end = 0
        self._loose, self._shards = array("q"), array("q")

    def append(self, unit: Unit) -> None:
        """Add a unit behind those of its kind."""
        loose = unit.kind == "files"
        known = sum(size for size in unit.sizes if size > 0)
        self.images += len(unit.names)
        self.sized += sum(size > 0 for size in unit.sizes) if loose else 0
        self.bytes += known
        self.shard_bytes += 0 if loose else known
        (self._loose if loose else self._shards).append(self._end)
        with scratch_errors():
            self._file.seek(self._end)
            self._end += self._file.write(pickle.dumps(replace(unit, options={}), -1))

    @property
    def shards(self) -> int:
        """How many archives and tables there are."""
        return len(self._shards)

    def __len__(self) -> int:
        return len(self._loose) + len(self._shards)

    def __getitem__(self, index: int) -> Unit:
        loose = len(self._loose)
        self._file.seek(self._loose[index] if index < loose else self._shards[index - loose])
        unit: Unit = pickle.load(self._file)  # noqa: S301  # as append wrote it
        return replace(unit, options=self.options)

    def __iter__(self) -> Iterator[Unit]:
        return (self[index] for index in range(len(self)))


@dataclass(slots=True)
class Plan:
    """Everything that a run will read, and what it passes over.

    Attributes:
        units: what is to be read.
        skipped: how many files were passed over, by reason.
        already_in_lake: images that the lake has, as far as the listing tells.
        notices: what the user should know, in words.
        damage: why images may be missing, as of `Report`.
        places: the links on the way to folders and archives, followed once.
        extents: what the inputs cover, to tell which images are not there any more.
        present: which rows of the ledger have their file in the listing, bool [N].
        absent: rows whose file a list names, and which is not there.
        unversioned: rows that were written before versions were, and the version of their file.
        rereads: whether images that the lake has may be read again.
        unopened: archives of kinds that are not read.
        image_bytes: mean encoded size of an image, from the listing or a sample.
    """

    units: Units = field(default_factory=Units)
    skipped: Counter[str] = field(default_factory=Counter)
    already_in_lake: int = 0
    notices: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    places: Places = field(default_factory=Places)
    extents: list[Extent] = field(default_factory=list)
    present: Bools = field(default_factory=lambda: np.zeros(0, bool))
    absent: list[int] = field(default_factory=list)
    unversioned: dict[int, Place] = field(default_factory=dict)
    rereads: bool = False
    unopened: list[str] = field(default_factory=list)
    image_bytes: int = IMAGE_BYTES

    @property
    def images(self) -> int:
        """Loose images to read; those inside shards are not counted yet."""
        return self.units.images

    @property
    def shards(self) -> int:
        """Archives and tables to read."""
        return self.units.shards

    @property
    def bytes(self) -> int:
        """Encoded bytes to read, as far as the listing tells."""
        return self.units.bytes

    def estimated_images(self) -> int:
        """Return about how many images there are to read, those inside shards included."""
        return self.images + self.units.shard_bytes // max(1, self.image_bytes)
