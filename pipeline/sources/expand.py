"""Finds the files that one input names: a folder, a glob, a list of paths, or a file."""

import codecs
import glob
import io
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from pipeline.errors import ConfigError, StorageError
from pipeline.sources.units import Extent, Plan, archive_kind
from pipeline.sources.walk import (
    Entry,
    extension_of,
    is_uncertain,
    local_version,
    pass_over,
    reason_to_skip_file,
    reason_to_skip_folders,
    reason_to_skip_found,
    version_of,
    walk,
)
from pipeline.storage.errors import storage_errors, within
from pipeline.storage.fetch import fetch, is_page
from pipeline.storage.folder import Folder, is_local, printable
from pipeline.storage.patience import patience

LIST_ENDINGS = (".txt", ".lst", ".list")
# More than ten million paths; and a page that lists as many links as anybody has.
LIST_BYTES, PAGE_BYTES = 4 * 2**30, 256 * 2**20


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that an input names: `base` + `name` is where it is, `name` is its place.

    `size` is -1 and `version` None where the listing does not say; `missing` is a file that a list
    names, and which is not there.
    """

    base: str
    name: str
    size: int = -1
    version: str | None = None
    missing: bool = False


def expand(text: str, options: Mapping[str, Any], result: Plan) -> Iterator[SourceFile]:
    """Yield the images and shards that one input names."""
    source = Folder(text, options)
    fs, path = source.fs, source.path()
    local = is_local(fs)
    kind = _local_kind(path) if local else within(lambda: _remote_kind(source), "read", source.url)
    if kind == "folder":
        extent = _extent(source, path, text, result)
        for entry in walk(fs, path, result, extent):
            extent.files += 1
            yield _source_file(source.url.rstrip("/") + "/", path.rstrip("/") + "/", entry)
    elif kind == "file":
        folder, name = source.url.rsplit("/", 1)
        if name.lower().endswith(LIST_ENDINGS):
            yield from _listed(source, result)
        elif archive_kind(name) or reason_to_skip_found(fs, path) is None:
            yield _local_file(folder + "/", name) if local else _remote_file(source)
        else:
            raise ConfigError(
                f"Cannot use {text}: not an image, a .tar, .zip or .parquet shard, or a .txt list"
            )
    elif glob.has_magic(text):
        yield from _globbed(source, text, result)
    else:
        raise StorageError(f"Cannot read {text}: it does not exist; check the path")


def _local_kind(path: str) -> str | None:
    return "folder" if os.path.isdir(path) else "file" if os.path.exists(path) else None


def _remote_kind(source: Folder) -> str | None:
    """Tell folder from file with one listing, which also shows whether we may read."""
    if "http" in source.fs.protocol:
        # Its listing reads a whole page, whatever it is and however long.
        name = source.url.rsplit("/", 1)[-1]
        if name.lower().endswith(LIST_ENDINGS) or _is_name_of_image(name):
            return "file"
        limits = patience(source.options)
        return "folder" if is_page(source.fs, source.url, PAGE_BYTES, limits) else "file"
    try:
        entries = source.fs.ls(source.path(), detail=True)
    except FileNotFoundError:
        return None
    alone = len(entries) == 1 and entries[0]["name"].rstrip("/") == source.path()
    return "file" if alone and entries[0]["type"] != "directory" else "folder"


def _remote_file(source: Folder) -> SourceFile:
    folder, name = source.url.rsplit("/", 1)
    info = within(lambda: source.fs.info(source.path()), "read", source.url)
    size = -1 if info.get("size") is None else int(info["size"])
    return SourceFile(folder + "/", name, size, version_of(info))


def _local_file(base: str, name: str) -> SourceFile:
    """Return a local file as it is now, if it is there."""
    try:
        status = os.stat(base + name)
    except (FileNotFoundError, NotADirectoryError):
        return SourceFile(base, name, missing=True)
    except (OSError, ValueError):
        return SourceFile(base, name)
    if not stat.S_ISREG(status.st_mode):
        return SourceFile(base, name)
    return SourceFile(base, name, status.st_size, local_version(status))


def _source_file(base: str, root: str, entry: Entry) -> SourceFile:
    return SourceFile(base, entry.path.removeprefix(root), entry.size, entry.version)


def _extent(
    source: Folder, root: str, text: str, result: Plan, pattern: str | None = None
) -> Extent:
    """Return what an input covers, noted in `result`; no page of links says that it is all."""
    base = source.url[: len(source.url) - len(source.path())] if "://" in source.url else ""
    where = base + root if base else os.path.realpath(root or "/")
    match = re.compile(re.escape(base) + glob_translate(pattern)) if pattern else None
    extent = Extent(printable(where).rstrip("/"), text, match)
    if "http" not in source.fs.protocol:
        result.extents.append(extent)
    return extent


def _globbed(source: Folder, text: str, result: Plan) -> Iterator[SourceFile]:
    """Yield what a glob matches; places are relative to the part before the first wildcard."""
    fs, pattern = source.fs, source.path()
    root = _literal(pattern, is_local(fs))
    base = source.url[: len(source.url) - len(pattern)] + root
    with storage_errors("list", source.url):
        whole = glob.escape(root) + pattern.removeprefix(root)
        matches = source.attempt(lambda: fs.glob(whole, detail=True))
    extent = _extent(source, root, text, result, whole)
    nomedia: dict[str, bool] = {}
    walked: set[str] = set()
    for path, info in sorted(matches.items()):
        folder = info["type"] == "directory"
        place = (path.rstrip("/") + "/" * folder).removeprefix(root)
        above = _folders(place, root)
        if not walked.isdisjoint(above):
            continue  # `**` matches folders, which are walked, and what is in them
        reason = reason_to_skip_folders(place)
        if reason is None and any(_has_nomedia(fs, name, nomedia) for name in above):
            reason = "file in a .nomedia folder"
        if reason is None and not folder:
            reason = reason_to_skip_file(place) or reason_to_skip_found(fs, path)
        if reason:
            pass_over(path, reason, result)
        elif folder:
            walked.add(path.rstrip("/"))
            for entry in walk(fs, path.rstrip("/"), result, extent):
                extent.files += 1
                yield _source_file(base, root, entry)
        elif is_local(fs):
            extent.files += 1
            yield _local_file(base, path.removeprefix(root))
        else:
            extent.files += 1
            size = -1 if info.get("size") is None else int(info["size"])
            yield _source_file(base, root, Entry(path, size, version_of(info)))


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


def _has_nomedia(fs: fsspec.AbstractFileSystem, folder: str, cache: dict[str, bool]) -> bool:
    if folder not in cache:
        cache[folder] = bool(fs.exists(f"{folder}/.nomedia"))
    return cache[folder]


def _listed(source: Folder, result: Plan) -> Iterator[SourceFile]:
    """Yield the paths that a text file lists, one a line; relative ones start at its folder.

    A local folder in the list is walked.
    """
    folder = source.url.rsplit("/", 1)[0]
    for line in _lines(source):
        entry = line.strip(" \t\r\n")
        if not entry:
            continue
        absolute = "://" in entry or entry.startswith("/")
        base = "" if absolute else folder + "/"
        if not absolute:  # find writes `./a.jpg`: the same place as `a.jpg`
            entry = "/".join(part for part in entry.split("/") if part not in ("", "."))
        path = base + entry
        if "://" not in path and not _is_name_of_image(entry) and os.path.isdir(path):
            for file in walk(LocalFileSystem(), path.rstrip("/"), result):
                yield _source_file(base, base, file)
        else:
            yield SourceFile(base, entry) if "://" in path else _local_file(base, entry)


def _lines(source: Folder) -> Iterator[str]:
    """Yield the lines of a text file, a local one without holding it."""
    with storage_errors("read", source.url), ExitStack() as stack:
        if is_local(source.fs):
            file: BinaryIO = stack.enter_context(open(source.path(), "rb"))
        else:
            data = fetch(source.fs, source.path(), LIST_BYTES, patience(source.options))
            file = io.BytesIO(data)
        start = file.read(len(codecs.BOM_UTF8))
        utf16 = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # PowerShell's `>`
        file.seek(0 if utf16 or start != codecs.BOM_UTF8 else len(start))
        encoding, errors = ("utf-16", "replace") if utf16 else ("utf-8", "surrogateescape")
        # Not all that splitlines ends a line at: names may hold its rarer separators.
        text = io.TextIOWrapper(file, encoding, errors, newline="\n")
        yield from stack.enter_context(text)


def _is_name_of_image(name: str) -> bool:
    """Return whether a name ends like an image or shard; spares asking storage about it."""
    certain = bool(extension_of(name)) and not is_uncertain(name)
    return certain and reason_to_skip_file(name) is None
