"""Turns the inputs that a user names into units of work."""

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fsspec.utils import glob_translate

from pipeline.arrays import Ints
from pipeline.errors import ConfigError, FacelakeError, NoImagesError
from pipeline.lake.ledger import Keys, Ledger, Places, text_key
from pipeline.lake.moves import Place
from pipeline.lake.store import Shards
from pipeline.sources.expand import LIST_ENDINGS, SourceFile, expand
from pipeline.sources.members import Report
from pipeline.sources.parquet import wrong_columns
from pipeline.sources.seen import Seen
from pipeline.sources.tars import tar_members
from pipeline.sources.units import IMAGE_BYTES, Plan, Unit, Units, archive_kind
from pipeline.sources.walk import unopened_text
from pipeline.sources.zips import zip_members
from pipeline.storage.errors import within
from pipeline.storage.folder import Folder, filesystem, printable

# Loose files a read task is given at most: some gigabytes of photos, a minute of work.
FILES_PER_UNIT = 256
# Files of a listing that are compared with the lake at once.
FILES_AT_ONCE = 4096
# Images of the first shard that are looked at to guess how many there are.
SAMPLE_IMAGES, SAMPLE_BYTES = 20, 2**24


def plan(
    inputs: Sequence[str],
    *,
    output: str,
    ledger: Ledger,
    options: Mapping[str, Any],
    parallelism: int = 1,
    shards: Shards | None = None,
) -> Plan:
    """Find everything under `inputs`, except what the lake has; `shards` are read to their ends.

    An input is a folder (searched to any depth), a glob, an image, a tar, zip or Parquet shard,
    or a text file that lists paths; each is local or an fsspec URL. `parallelism` is how many read
    tasks may run at once.

    Raises:
        ConfigError: an input that is none of these, or holds the output.
        NoImagesError: nothing to read under all inputs.
        StorageError: storage that cannot be reached within 15 s, or refuses.
    """
    result = Plan(present=ledger.mask("present"), units=Units(options))
    loose: dict[str, _Loose] = {}
    known = KnownShards(ledger, result.places)
    for file, repeats_place in _distinct_files(inputs, output, options, result):
        kind = archive_kind(file.name)
        if kind:
            shard = Unit(
                kind,
                file.base + file.name,
                place=file.name,
                sizes=(file.size,),
                salted=frozenset({0} if repeats_place else ()),
                options=options,
                versions=(file.version,),
            )
            if not _has_all(known, shard, shards or {}, result):
                result.units.append(shard)
            continue
        if file.base not in loose:
            loose[file.base] = _Loose(file.base, ledger, result, 4 * max(1, parallelism))
        loose[file.base].add(file, repeats_place)
    if result.unopened:
        result.damage.append(unopened_text(result.unopened))
    if not result.units and not loose and not result.already_in_lake:
        raise NoImagesError(
            f"No images under {', '.join(inputs)}; check the path, and that files end in .jpg, "
            f".png, .heic ... or .tar, .zip, .parquet{_skipped_hint(result)}"
            + "".join(f"; {text}" for text in result.damage)
        )
    for group in loose.values():
        group.finish()
    result.image_bytes = mean_size(result)
    return result


class _Loose:
    """Loose files of one base: those that are to be read become units of the plan.

    `units` is among how many at least the last of them are shared out.
    """

    def __init__(self, base: str, ledger: Ledger, result: Plan, units: int) -> None:
        self.base, self.ledger, self.result, self.units = base, ledger, result, units
        self._listed: list[tuple[SourceFile, bool]] = []
        self._new: list[tuple[SourceFile, bool]] = []

    def add(self, file: SourceFile, salted: bool) -> None:
        """Take a file; `salted` says that an earlier one has the same place."""
        self._listed.append((file, salted))
        if len(self._listed) >= FILES_AT_ONCE:
            self._look()

    def finish(self) -> None:
        """Make units of what is left."""
        self._look()
        per_unit = max(1, min(FILES_PER_UNIT, -(-len(self._new) // self.units)))
        for start in range(0, len(self._new), per_unit):
            self._append(self._new[start : start + per_unit])

    def _append(self, files: Sequence[tuple[SourceFile, bool]]) -> None:
        self.result.units.append(
            Unit(
                "files",
                self.base,
                names=tuple(file.name for file, _ in files),
                sizes=tuple(file.size for file, _ in files),
                salted=frozenset(k for k, (_, salted) in enumerate(files) if salted),
                versions=tuple(file.version for file, _ in files),
            )
        )

    def _look(self) -> None:
        """Keep of the listed files those that are to be read: new ones, and changed ones."""
        ledger, listed = self.ledger, self._listed
        names = [file.name for file, _ in listed]
        rows = ledger.at(places_of(self.base, names, self.result.places)).tolist()
        for (file, salted), row in zip(listed, rows, strict=True):
            if self._is_new(file, row):
                self._new.append((file, salted))
        self._listed = []
        ledger.shelf.let_go()
        most = FILES_PER_UNIT * self.units
        full = max(0, len(self._new) - most) // FILES_PER_UNIT * FILES_PER_UNIT
        for start in range(0, full, FILES_PER_UNIT):
            self._append(self._new[start : start + FILES_PER_UNIT])
        del self._new[:full]

    def _is_new(self, file: SourceFile, row: int) -> bool:
        """Note what the listing says of the image in `row`, and return whether it is to be read."""
        ledger, result = self.ledger, self.result
        if row < 0:
            return True
        gone = bool(ledger.is_gone(row))
        if file.missing:
            if not gone:
                result.absent.append(row)
            return False
        result.present[row] = True
        if ledger.is_current(row, file.version, file.size):
            result.already_in_lake += 1
            if file.version and not ledger.version[row]:
                where = self.base + file.name
                place = Place(printable(where), parent(self.base, file.name), file.version)
                result.unversioned[row] = place
            return False
        result.rereads |= not gone
        return True


class KnownShards:
    """The folders and archives that the lake has images of, by their names with links followed."""

    def __init__(self, ledger: Ledger, places: Places) -> None:
        self.ledger, self.places = ledger, places
        # As Arrow's text and hashes: there may be millions of folders.
        self._names = pa.array((places.real(name) for name in ledger.shards), pa.large_string())
        keys = np.fromiter(map(text_key, map(places.real, ledger.shards)), np.uint64)
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def name(self, shard: Unit) -> str:
        """Return the name of an archive with the links on its way followed."""
        return self.places.real(printable(shard.base))

    def rows(self, shard: Unit, gone: bool = False) -> Ints:
        """Return the rows of the images of an archive; those that are gone only if asked for."""
        key = np.uint64(text_key(self.name(shard)))
        ends = (np.searchsorted(self._keys, key, side) for side in ("left", "right"))
        rows = self.ledger.rows_of(self._order[slice(*ends)])
        return rows if gone else rows[~self.ledger.is_gone(rows)]

    def below(self, root: str) -> Ints:
        """Return the numbers of the folders and archives at or below a folder."""
        inside = pc.or_(pc.equal(self._names, root), pc.starts_with(self._names, f"{root}/"))
        return np.flatnonzero(np.asarray(inside))


def _has_all(known: KnownShards, shard: Unit, whole: Shards, result: Plan) -> bool:
    """Note that a shard is there, and return whether all its images are in the lake."""
    rows = known.rows(shard)
    result.present[rows] = True
    version, images = whole.get(known.name(shard), (None, 0))
    same = version is not None and version == shard.version(0) and images == len(rows)
    if not same or known.ledger.is_again(rows).any():
        result.rereads |= len(rows) > 0
        return False
    result.already_in_lake += len(rows)
    return True


def _distinct_files(
    inputs: Sequence[str], output: str, options: Mapping[str, Any], result: Plan
) -> Iterator[tuple[SourceFile, bool]]:
    """Yield every file under `inputs` once, and whether an earlier file has the same place."""
    may_repeat = len(inputs) > 1 or any(i.lower().endswith(LIST_ENDINGS) for i in inputs)
    for text in inputs:
        refuse_inside(text, output)
    files = (file for text in inputs for file in expand(text, options, result))
    if not may_repeat:
        yield from ((file, False) for file in files)
        return
    paths, places = Seen(), Seen()
    while some := list(islice(files, FILES_AT_ONCE)):
        first = paths.new([real_path(file.base + file.name, result.places) for file in some])
        result.skipped.update(["named twice"] * first.count(False))
        once = [file for file, is_first in zip(some, first, strict=True) if is_first]
        new = places.new([file.name for file in once])
        yield from ((file, not is_new) for file, is_new in zip(once, new, strict=True))


def check_columns(result: Plan, image_column: str, key_column: str | None) -> None:
    """Look into the first Parquet shard when there is nothing but such shards to read.

    Raises:
        ConfigError: it has no such columns, or the images are no bytes.
    """
    if not result.units or any(unit.kind != "parquet" for unit in result.units):
        return
    first = result.units[0]

    def look() -> str | None:
        fs, path = filesystem(first.base, first.options)
        with fs.open(path, "rb") as file:
            return wrong_columns(file, image_column, key_column)

    wrong = within(look, "read", first.base)
    if wrong:
        raise ConfigError(f"{first.base}: {wrong}")


def mean_size(result: Plan) -> int:
    """Return the mean encoded size of an image: of loose files, else of a shard's first images."""
    units = result.units
    if units.sized:
        return (units.bytes - units.shard_bytes) // units.sized
    shard = next((unit for unit in units if unit.kind in ("tar", "zip")), None)
    sizes = sample_sizes(shard) if shard else []
    return int(sum(sizes) / len(sizes)) if sizes else IMAGE_BYTES


def sample_sizes(shard: Unit) -> list[int]:
    """Return the encoded sizes of the first images of a tar or zip; none when it is damaged."""
    members = tar_members if shard.kind == "tar" else zip_members

    def sample() -> list[int]:
        fs, path = filesystem(shard.base, shard.options)
        with fs.open(path, "rb") as file:
            images = members(file, lambda key: True, SAMPLE_BYTES, Report())
            return [m.size for m in islice(images, SAMPLE_IMAGES) if m.size > 0]

    try:
        return within(sample, "read", shard.base)
    except FacelakeError:
        return []  # the read task will say what is wrong


def _skipped_hint(result: Plan) -> str:
    if not result.skipped:
        return ""
    return " (passed over: " + ", ".join(f"{n} {why}" for why, n in result.skipped.items()) + ")"


def places_of(base: str, names: Sequence[str], places: Places) -> Keys:
    """Return the keys of the places of loose files, uint64 [N]."""
    keys = (places.key(parent(base, name), printable(base + name)) for name in names)
    return np.fromiter(keys, np.uint64, len(names))


def parent(base: str, name: str) -> str:
    """Return the folder that a loose file lies in, as `images.shard` has it."""
    return printable((base + name).rsplit("/", 1)[0] or "/")


def real_path(where: str, places: Places) -> str:
    """Return a local file's path with the links and dots on its way resolved; a URL as it is."""
    if "://" in where:
        return where
    folder, name = where.rsplit("/", 1)
    return f"{places.real(folder)}/{name}"


def refuse_inside(text: str, output: str) -> None:
    """Raise ConfigError when the lake would lie inside the folder it is made from."""
    if not output:
        return
    root, lake = Folder(text).url, Folder(output).url
    if "://" not in root:
        root = os.path.realpath(root)
    if "://" not in lake:
        lake = os.path.realpath(lake)
    inside = lake == root or lake.startswith(root.rstrip("/") + "/")
    if inside or (glob.has_magic(text) and _reaches(root, lake)):
        raise ConfigError(
            f"The output {output} lies inside the input {text}: its thumbnails and tables would "
            "be read as photos; choose an output beside the input"
        )


def _reaches(pattern: str, lake: str) -> bool:
    """Return whether a glob matches a folder above the lake, or any of its tables."""
    parts = lake.split("/")
    above = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    tables = [f"{lake}/{table}/part-0.parquet" for table in ("images", "faces")]
    matches = re.compile(glob_translate(pattern)).match
    return any(matches(path) for path in [*above, f"{lake}/images", *tables])
