"""Turns the inputs that a user names into units of work."""

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from fsspec.utils import glob_translate

from pipeline.arrays import Ints
from pipeline.errors import ConfigError, FacelakeError, NoImagesError
from pipeline.lake.ledger import Keys, Ledger, Places
from pipeline.lake.moves import Place
from pipeline.lake.store import Shards
from pipeline.sources.expand import LIST_ENDINGS, SourceFile, expand
from pipeline.sources.members import Report
from pipeline.sources.parquet import wrong_columns
from pipeline.sources.tars import tar_members
from pipeline.sources.units import IMAGE_BYTES, Plan, Unit, archive_kind
from pipeline.sources.walk import unopened_text
from pipeline.sources.zips import zip_members
from pipeline.storage.errors import within
from pipeline.storage.folder import Folder, filesystem, printable

# Loose files a read task is given at most: some gigabytes of photos, a minute of work.
FILES_PER_UNIT = 256
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
    result = Plan(present=np.zeros(len(ledger), bool))
    groups: dict[str, _FileGroup] = {}
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
        group = groups.setdefault(file.base, _FileGroup(file.base))
        if repeats_place:
            group.salted.add(len(group.files))
        group.files.append(file)
    if result.unopened:
        result.damage.append(unopened_text(result.unopened))
    if not result.units and not groups and not result.already_in_lake:
        raise NoImagesError(
            f"No images under {', '.join(inputs)}; check the path, and that files end in .jpg, "
            f".png, .heic ... or .tar, .zip, .parquet{_skipped_hint(result)}"
            + "".join(f"; {text}" for text in result.damage)
        )
    for group in groups.values():
        new = _new_files(group, ledger, result)
        per_unit = max(1, min(FILES_PER_UNIT, -(-len(new) // max(1, 4 * parallelism))))
        result.units[:0] = [
            group.unit(new[start : start + per_unit], options)
            for start in range(0, len(new), per_unit)
        ]
    result.image_bytes = mean_size(result)
    return result


@dataclass(slots=True)
class _FileGroup:
    """Loose files of one base; `salted` are those whose place an earlier file has too."""

    base: str
    files: list[SourceFile] = field(default_factory=list)
    salted: set[int] = field(default_factory=set)

    def unit(self, chosen: Sequence[int], options: Mapping[str, Any]) -> Unit:
        """Return the unit of some of the files."""
        return Unit(
            "files",
            self.base,
            names=tuple(self.files[i].name for i in chosen),
            sizes=tuple(self.files[i].size for i in chosen),
            salted=frozenset(k for k, i in enumerate(chosen) if i in self.salted),
            options=options,
            versions=tuple(self.files[i].version for i in chosen),
        )


class KnownShards:
    """The folders and archives that the lake has images of, by their names with links followed."""

    def __init__(self, ledger: Ledger, places: Places) -> None:
        self.ledger, self.places = ledger, places
        self._numbers: dict[str, list[int]] = {}
        for number, name in enumerate(ledger.shards):
            self._numbers.setdefault(places.real(name), []).append(number)

    def name(self, shard: Unit) -> str:
        """Return the name of an archive with the links on its way followed."""
        return self.places.real(printable(shard.base))

    def rows(self, shard: Unit) -> Ints:
        """Return the rows of the images of an archive that are not gone."""
        rows = self.ledger.rows_of(self._numbers.get(self.name(shard), ()))
        return rows[~self.ledger.gone[rows]]

    def below(self, root: str) -> list[int]:
        """Return the numbers of the folders and archives at or below a folder."""
        start = f"{root}/"
        return [number for name, numbers in self._numbers.items()
                if name == root or name.startswith(start) for number in numbers]  # fmt: skip


def _has_all(known: KnownShards, shard: Unit, whole: Shards, result: Plan) -> bool:
    """Note that a shard is there, and return whether all its images are in the lake."""
    rows = known.rows(shard)
    result.present[rows] = True
    version, images = whole.get(known.name(shard), (None, 0))
    same = version is not None and version == shard.version(0) and images == len(rows)
    if not same or known.ledger.again[rows].any():
        result.rereads |= len(rows) > 0
        return False
    result.already_in_lake += len(rows)
    return True


def _distinct_files(
    inputs: Sequence[str], output: str, options: Mapping[str, Any], result: Plan
) -> Iterator[tuple[SourceFile, bool]]:
    """Yield every file under `inputs` once, and whether an earlier file has the same place."""
    may_repeat = len(inputs) > 1 or any(i.lower().endswith(LIST_ENDINGS) for i in inputs)
    seen: set[str] = set()
    places: set[str] = set()
    for text in inputs:
        refuse_inside(text, output)
        for file in expand(text, options, result):
            if not may_repeat:
                yield file, False
                continue
            path = real_path(file.base + file.name, result.places)
            if path in seen:
                result.skipped["named twice"] += 1
                continue
            seen.add(path)
            yield file, file.name in places
            places.add(file.name)


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
    sizes = [s for unit in result.units if unit.kind == "files" for s in unit.sizes if s > 0]
    if not sizes:
        shard = next((unit for unit in result.units if unit.kind in ("tar", "zip")), None)
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


def _new_files(group: _FileGroup, ledger: Ledger, result: Plan) -> list[int]:
    """Return which files of a group are to be read: new ones, and those that were changed."""
    names = [file.name for file in group.files]
    rows = ledger.at(places_of(group.base, names, result.places)).tolist()
    new = []
    for i, (file, row) in enumerate(zip(group.files, rows, strict=True)):
        if row >= 0 and file.missing:
            if not ledger.gone[row]:
                result.absent.append(row)
            continue
        if row >= 0:
            result.present[row] = True
            if ledger.is_current(row, file.version, file.size):
                result.already_in_lake += 1
                if file.version and not ledger.version[row]:
                    where = group.base + file.name
                    place = Place(printable(where), parent(group.base, file.name), file.version)
                    result.unversioned[row] = place
                continue
            result.rereads |= not ledger.gone[row]
        new.append(i)
    return new


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
