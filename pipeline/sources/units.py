"""Units of work: what one read task is given."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

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


# A guess for when there is nothing to sample.
IMAGE_BYTES = 500_000


@dataclass(slots=True)
class Plan:
    """Everything that a run will read, and what it passes over.

    Attributes:
        units: in the order of the inputs.
        skipped: how many files were passed over, by reason.
        already_in_lake: images that the lake has, as far as the listing tells.
        notices: what the user should know, in words.
        damage: why images may be missing, as of `Report`.
        unopened: archives of kinds that are not read.
        image_bytes: mean encoded size of an image, from the listing or a sample.
    """

    units: list[Unit] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    already_in_lake: int = 0
    notices: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    unopened: list[str] = field(default_factory=list)
    image_bytes: int = IMAGE_BYTES

    @property
    def images(self) -> int:
        """Loose images to read; those inside shards are not counted yet."""
        return sum(len(unit.names) for unit in self.units if unit.kind == "files")

    @property
    def shards(self) -> int:
        """Archives and tables to read."""
        return sum(unit.kind != "files" for unit in self.units)

    def estimated_images(self) -> int:
        """Return about how many images there are to read, those inside shards included."""
        inside = sum(sum(unit.sizes) for unit in self.units if unit.kind != "files")
        return self.images + inside // max(1, self.image_bytes)

    @property
    def bytes(self) -> int:
        """Encoded bytes to read, as far as the listing tells."""
        return sum(size for unit in self.units for size in unit.sizes if size > 0)
