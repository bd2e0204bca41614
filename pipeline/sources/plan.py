"""Turns the inputs that a user names into units of work."""

import codecs
import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from pipeline.errors import ConfigError, FacelakeError, NoImagesError, StorageError
from pipeline.ledger import Ledger
from pipeline.sources.identity import image_id
from pipeline.sources.members import Report, tar_members, zip_members
from pipeline.sources.units import IMAGE_BYTES, Plan, Unit, archive_kind
from pipeline.sources.walk import (
    Entry,
    reason_to_skip,
    reason_to_skip_folders,
    reason_to_skip_found,
    walk,
)
from pipeline.storage import (
    REACH_TIMEOUT_S,
    Folder,
    filesystem,
    is_local,
    printable,
    storage_errors,
    within,
)

# Loose files a read task is given at most: some gigabytes of photos, a minute of work.
FILES_PER_UNIT = 256
# Images of the first shard that are looked at to guess how many there are.
SAMPLE_IMAGES, SAMPLE_BYTES = 20, 2**24
LIST_ENDINGS = (".txt", ".lst", ".list")


@dataclass(frozen=True, slots=True)
class Found:
    """A file that an input names: `base` + `name` is where it is, `name` is its place."""

    base: str
    name: str
    size: int


def plan(
    inputs: Sequence[str],
    *,
    output: str,
    ledger: Ledger,
    options: Mapping[str, Any],
    parallelism: int = 1,
) -> Plan:
    """Find everything under `inputs`, except what the lake has.

    An input is a folder (searched to any depth), a glob, an image, a tar, zip or Parquet shard,
    or a text file that lists paths; each local or any fsspec URL. `parallelism` is how many read
    tasks may run at once.

    Raises:
        ConfigError: an input that is none of these, or holds the output.
        NoImagesError: nothing to read under all inputs.
        StorageError: storage that cannot be reached within 15 s, or refuses.
    """
    result = Plan()
    files: dict[str, list[Found]] = {}
    seen: set[str] = set()
    real: dict[str, str] = {}
    places: set[str] = set()
    repeats = len(inputs) > 1 or any(i.lower().endswith(LIST_ENDINGS) for i in inputs)
    salted: dict[str, set[int]] = {}
    listed = 0
    for text in inputs:
        refuse_inside(text, output)
        for found in expand(text, options, result):
            listed += 1
            where = found.base + found.name
            again = False
            if repeats:
                path = real_path(where, real)
                if path in seen:
                    result.skipped["named twice"] += 1
                    continue
                seen.add(path)
                again = found.name in places
                places.add(found.name)
            kind = archive_kind(found.name)
            if kind:
                result.units.append(
                    Unit(
                        kind,
                        where,
                        place=found.name,
                        sizes=(found.size,),
                        salted=frozenset({0} if again else ()),
                        options=options,
                    )
                )
                continue
            group = files.setdefault(found.base, [])
            if again:
                salted.setdefault(found.base, set()).add(len(group))
            group.append(found)
    if not listed:
        raise NoImagesError(
            f"No images under {', '.join(inputs)}; check the path, and that files end in .jpg, "
            f".png, .heic ... or .tar, .zip, .parquet{_skipped_hint(result)}"
        )
    for base, group in files.items():
        result.units[:0] = _file_units(
            base, group, salted.get(base, set()), ledger, options, parallelism, result
        )
    result.image_bytes = mean_size(result)
    return result


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
    try:
        fs, path = filesystem(shard.base, shard.options)
        with fs.open(path, "rb") as file:
            found = members(file, lambda key: True, SAMPLE_BYTES, Report())
            return [m.size for m in islice(found, SAMPLE_IMAGES) if m.size > 0]
    except (OSError, FacelakeError):
        return []  # the read task will say what is wrong


def _skipped_hint(result: Plan) -> str:
    if not result.skipped:
        return ""
    return " (passed over: " + ", ".join(f"{n} {why}" for why, n in result.skipped.items()) + ")"


def _file_units(
    base: str,
    group: list[Found],
    salted: set[int],
    ledger: Ledger,
    options: Mapping[str, Any],
    parallelism: int,
    result: Plan,
) -> list[Unit]:
    """Group loose files into units, leaving out those that the lake has from the same place."""
    rows = ledger.find([image_id(found.name) for found in group])
    todo = []
    for i, (found, row) in enumerate(zip(group, rows.tolist(), strict=True)):
        if row >= 0 and i not in salted and ledger.shard_of(row) == parent(base, found.name):
            result.done += 1
            if found.size >= 0 and 0 <= int(ledger.size[row]) != found.size:
                result.skipped["changed since it was indexed"] += 1
        else:
            todo.append(i)
    per_unit = max(1, min(FILES_PER_UNIT, -(-len(todo) // max(1, 4 * parallelism))))
    units = []
    for start in range(0, len(todo), per_unit):
        members = todo[start : start + per_unit]
        units.append(
            Unit(
                "files",
                base,
                names=tuple(group[i].name for i in members),
                sizes=tuple(group[i].size for i in members),
                salted=frozenset(k for k, i in enumerate(members) if i in salted),
                options=options,
            )
        )
    return units


def parent(base: str, name: str) -> str:
    """Return the folder that a loose file lies in, as `images.shard` has it."""
    return printable((base + name).rsplit("/", 1)[0] or "/")


def real_path(where: str, known: dict[str, str]) -> str:
    """Return a local file's path with the links and dots on its way resolved; a URL as it is.

    `known` keeps what folders are called in truth.
    """
    if "://" in where:
        return where
    folder, name = where.rsplit("/", 1)
    if folder not in known:
        known[folder] = os.path.realpath(folder or "/")
    return f"{known[folder]}/{name}"


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


def expand(text: str, options: Mapping[str, Any], result: Plan) -> Iterator[Found]:
    """Yield the images and shards that one input names."""
    source = Folder(text, options)
    fs, path = source.fs, source.path()
    local = is_local(fs)
    kind = (
        _local_kind(path)
        if local
        else within(REACH_TIMEOUT_S, lambda: _remote_kind(source), "read", source.url)
    )
    if kind == "folder":
        for entry in walk(fs, path, result.skipped):
            yield _found(source.url.rstrip("/") + "/", path.rstrip("/") + "/", entry)
    elif kind == "file":
        folder, name = source.url.rsplit("/", 1)
        if name.lower().endswith(LIST_ENDINGS):
            yield from _listed(source, result)
        elif archive_kind(name) or reason_to_skip(name) is None:
            size = os.path.getsize(path) if local else int(fs.info(path)["size"])
            yield Found(folder + "/", name, size)
        else:
            raise ConfigError(
                f"Cannot use {text}: not an image, a .tar, .zip or .parquet shard, or a .txt list"
            )
    elif glob.has_magic(text):
        yield from _globbed(source, result)
    else:
        raise StorageError(f"Cannot read {text}: it does not exist; check the path")


def _local_kind(path: str) -> str | None:
    return "folder" if os.path.isdir(path) else "file" if os.path.exists(path) else None


def _remote_kind(source: Folder) -> str | None:
    """Tell folder from file with one listing, which also shows whether we may read."""
    try:
        entries = source.fs.ls(source.path(), detail=True)
    except FileNotFoundError:
        return None
    alone = len(entries) == 1 and entries[0]["name"].rstrip("/") == source.path()
    return "file" if alone and entries[0]["type"] != "directory" else "folder"


def _found(base: str, root: str, entry: Entry) -> Found:
    return Found(base, entry.path.removeprefix(root), entry.size)


def _globbed(source: Folder, result: Plan) -> Iterator[Found]:
    """Yield what a glob matches; places are relative to the part before the first wildcard."""
    fs, pattern = source.fs, source.path()
    root = _literal(pattern, is_local(fs))
    base = source.url[: len(source.url) - len(pattern)] + root
    with storage_errors("list", source.url):
        matches = fs.glob(glob.escape(root) + pattern.removeprefix(root), detail=True)
    silent: dict[str, bool] = {}
    walked: set[str] = set()
    for path, info in sorted(matches.items()):
        folder = info["type"] == "directory"
        place = (path.rstrip("/") + "/" * folder).removeprefix(root)
        above = _folders(place, root)
        if not walked.isdisjoint(above):
            continue  # `**` matches folders, which are walked, and what is in them
        reason = reason_to_skip_folders(place)
        if reason is None and any(_silent(fs, name, silent) for name in above):
            reason = "file in a .nomedia folder"
        if reason is None and not folder:
            reason = reason_to_skip_found(place)
        if reason:
            result.skipped[reason] += 1
        elif folder:
            walked.add(path.rstrip("/"))
            for entry in walk(fs, path.rstrip("/"), result.skipped):
                yield _found(base, root, entry)
        else:
            size = info.get("size")
            yield _found(base, root, Entry(path, -1 if size is None else int(size)))


def _literal(pattern: str, local: bool) -> str:
    """Return the folder that a glob starts from: one on disk may be called `2020 [best]`."""
    parts = pattern.split("/")
    count = 0
    for part in parts[:-1]:
        if glob.has_magic(part) and not (local and os.path.isdir("/".join(parts[: count + 1]))):
            break
        count += 1
    return "/".join(parts[:count]) + "/" if count else ""


def _folders(place: str, root: str) -> list[str]:
    """Return `root` and the folders below it that `place` lies in."""
    parts = place.rstrip("/").split("/")
    return [(root + "/".join(parts[:n])).rstrip("/") for n in range(len(parts) if place else 0)]


def _silent(fs: fsspec.AbstractFileSystem, folder: str, known: dict[str, bool]) -> bool:
    if folder not in known:
        known[folder] = bool(fs.exists(f"{folder}/.nomedia"))
    return known[folder]


def _listed(source: Folder, result: Plan) -> Iterator[Found]:
    """Yield the paths that a text file lists, one a line; relative ones start at its folder.

    A local folder in the list is walked.
    """
    folder = source.url.rsplit("/", 1)[0]
    with storage_errors("read", source.url):
        data = source.fs.cat_file(source.path())
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # PowerShell's `>`
        text = data.decode("utf-16", "replace")
    else:
        text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    for line in text.split("\n"):  # not splitlines: names may hold its rarer separators
        entry = line.strip(" \t\r")
        if not entry:
            continue
        absolute = "://" in entry or entry.startswith("/")
        base = "" if absolute else folder + "/"
        if not absolute:  # find writes `./a.jpg`: the same place as `a.jpg`
            entry = "/".join(part for part in entry.split("/") if part not in ("", "."))
        path = base + entry
        if "://" not in path and not _is_name_of_image(entry) and os.path.isdir(path):
            for found in walk(LocalFileSystem(), path.rstrip("/"), result.skipped):
                yield _found(base, base, found)
        else:
            yield Found(base, entry, -1)


def _is_name_of_image(name: str) -> bool:
    """Return whether a name ends like an image or shard; spares asking storage about it."""
    return bool(os.path.splitext(name)[1]) and reason_to_skip_found(name) is None
