"""Walks folders and classifies names: what is an image, a shard, or passed over and why."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import fsspec

from pipeline.imaging.formats import IMAGE_EXTENSIONS, UNDECODABLE_IMAGE_EXTENSIONS
from pipeline.sources.units import archive_kind
from pipeline.storage.errors import storage_errors
from pipeline.storage.folder import is_local, printable
from pipeline.storage.retry import attempt

# Folders that photo servers and systems keep beside pictures: previews and thrown-away files.
SYSTEM_FOLDERS = frozenset({"@eadir", "__macosx", "#recycle", "$recycle.bin"})


@dataclass(frozen=True, slots=True)
class Entry:
    """A file found: its path for the file system, and its size in bytes (-1: unknown)."""

    path: str
    size: int


def reason_to_skip(name: str) -> str | None:
    """Return why a file of this name is passed over, or None when it may be an image.

    A name without an extension may be one; its first bytes decide when it is read. RAW and other
    formats that we cannot decode are images: they get a row with `unsupported_format`.
    """
    base = name.rsplit("/", 1)[-1]
    if base.startswith("._"):
        return "AppleDouble file"
    if base.startswith("."):
        return "hidden file"
    extension = os.path.splitext(base)[1].lower()
    if extension and extension not in IMAGE_EXTENSIONS | UNDECODABLE_IMAGE_EXTENSIONS:
        return f"not an image ({extension})" if len(extension) <= 8 else "not an image"
    return None


def reason_to_skip_folders(name: str) -> str | None:
    """Return why a file is passed over for one of the folders on its path."""
    for folder in name.split("/")[:-1]:
        if folder.lower() in SYSTEM_FOLDERS:
            return f"{folder} folder"
        if folder.startswith(".") and folder not in (".", ".."):
            return "hidden folder"
    return None


def reason_to_skip_member(name: str) -> str | None:
    """Return why an archive member is passed over, folders on its path included."""
    return reason_to_skip_folders(name) or reason_to_skip(name)


def reason_to_skip_file(name: str) -> str | None:
    """Return why a file is passed over that a walk or a glob found: shards are not."""
    hidden = name.rsplit("/", 1)[-1].startswith(".")
    return None if archive_kind(name) and not hidden else reason_to_skip(name)


def walk(fs: fsspec.AbstractFileSystem, root: str, skipped: Counter[str]) -> Iterator[Entry]:
    """Yield every image and shard below folder `root`, folder by folder, in the order of names.

    What is passed over is counted in `skipped`. Links to folders are not followed.
    """
    pending = [root]
    while pending:
        folder = pending.pop()
        folders, files = _local(folder, skipped) if is_local(fs) else _remote(fs, folder)
        if any(entry.path.rsplit("/", 1)[-1] == ".nomedia" for entry in files):
            skipped["file in a .nomedia folder"] += len(files) - 1
            if folders:
                skipped["folder below a .nomedia folder"] += len(folders)
            continue
        for entry in sorted(files, key=lambda entry: entry.path):
            reason = reason_to_skip_file(entry.path)
            if reason:
                skipped[reason] += 1
                continue
            yield entry
        for path in sorted(folders, reverse=True):
            name = path.rstrip("/").rsplit("/", 1)[-1]
            if name.lower() in SYSTEM_FOLDERS:
                skipped[f"{name} folder"] += 1
            elif name.startswith("."):
                skipped["hidden folder"] += 1
            else:
                pending.append(path)


def _local(folder: str, skipped: Counter[str]) -> tuple[list[str], list[Entry]]:
    """List a local folder; scandir knows types without a call a file."""
    folders, files = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.is_dir():
                        skipped["link to a folder"] += 1
                    elif entry.is_file():
                        files.append(Entry(entry.path, entry.stat().st_size))
                    elif entry.is_symlink():
                        files.append(Entry(entry.path, -1))  # broken: becomes an unreadable row
                    else:
                        skipped["device, socket or pipe"] += 1
                except OSError:  # links in a circle, a file that is gone: an unreadable row
                    files.append(Entry(entry.path, -1))
    except PermissionError:
        skipped[f"folder that may not be listed: {printable(folder)}"] += 1
    except OSError as error:  # gone since its parent was listed, or damaged
        skipped[f"folder that cannot be listed: {printable(folder)}: {error.strerror}"] += 1
    return folders, files


def _remote(fs: fsspec.AbstractFileSystem, folder: str) -> tuple[list[str], list[Entry]]:
    """List a remote folder."""
    with storage_errors("list", folder):
        entries = attempt(lambda: fs.ls(folder, detail=True))
    here = folder.rstrip("/")
    folders = [e["name"] for e in entries if e["type"] == "directory" and e["name"] != here]
    # Object stores may list the folder itself as an empty file.
    files = [
        Entry(e["name"], int(e["size"] if e.get("size") is not None else -1))
        for e in entries
        if e["type"] != "directory" and e["name"].rstrip("/") != here
    ]
    return folders, files
