"""Walks folders and classifies names: what is an image, a shard, or passed over and why."""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import fsspec

from pipeline.imaging.formats import (
    IMAGE_EXTENSIONS,
    MAX_BRANDS_BYTES,
    UNDECODABLE_IMAGE_EXTENSIONS,
    probe,
)
from pipeline.sources.units import Extent, Plan, archive_kind
from pipeline.storage.errors import storage_errors
from pipeline.storage.folder import is_local, printable, visible
from pipeline.storage.retry import attempt

# Folders that photo servers and systems keep beside pictures: previews and thrown-away files.
SYSTEM_FOLDERS = frozenset({"@eadir", "__macosx", "#recycle", "$recycle.bin"})


HEAD_BYTES = MAX_BRANDS_BYTES
UNOPENED = "archive that cannot be opened"
UNOPENED_SHOWN = 8
_UNOPENED_NAMES = re.compile(
    r"\.(7z|rar|cbr|cb7|cab|iso|dmg|arj|lzh|lha|ace|wim|sitx?|xar|alz|egg|cpio|z\d\d|r\d\d|tlz"
    r"|tar\.(z|lz|lzo|br)|(7z|rar|zip|tar)\.\d{3})$"
)
_UNOPENED_MAGIC = (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"MSCF\0\0\0\0", b"xar!")
# What is no photo whatever it holds: not looked into, for each look costs a seek. All other unknown
# names are judged by their first bytes.
_OTHER = {
    "texts and tables": "txt md rst log ini cfg conf yaml yml toml json jsonl ndjson xml html htm "
    "css csv tsv sql tex bib rtf doc docx xls xlsx ppt pptx odt ods odp pdf epub mobi eml ics vcf",
    "programs": "py pyc ipynb js ts rb pl sh bat ps1 c h cc cpp java go rs exe dll so dylib jar "
    "apk deb rpm msi ttf otf woff woff2 lnk url",
    "sound": "mp3 wav flac ogg oga m4a aac wma aif aiff mid opus amr",
    "films": "mp4 mov m4v avi mkv webm mpg mpeg mts m2ts 3gp 3g2 wmv flv vob ogv lrv insv srt vtt",
    "what stands beside photos": "xmp aae thm pp3 dop cos on1 nksc lrcat lrprev gpx kml kmz md5 "
    "sha1 sha256 sig asc db sqlite sqlite3",
    "arrays and models": "npy npz pt pth onnx pkl h5 arrow feather",
}
OTHER_EXTENSIONS = frozenset(f".{name}" for names in _OTHER.values() for name in names.split())
KNOWN_EXTENSIONS = IMAGE_EXTENSIONS | UNDECODABLE_IMAGE_EXTENSIONS | OTHER_EXTENSIONS


@dataclass(frozen=True, slots=True)
class Entry:
    """A file found.

    Attributes:
        path: for the file system.
        size: in bytes, -1 where it is not known.
        version: see `file_version`.
    """

    path: str
    size: int = -1
    version: str | None = None


# What back ends call the mark or time of a file's content.
_MARKS = ("ETag", "etag", "e_tag", "md5Hash", "LastModified", "last_modified", "updated",
          "modified", "mtime", "created")  # fmt: skip
MOST_MARK = 100


def version_of(info: Mapping[str, Any]) -> str | None:
    """Return the version of a file as a remote listing tells it, None where it does not.

    It differs as soon as the file has other bytes: by its ETag, or by size and time of change.
    """
    mark = next((info[name] for name in _MARKS if info.get(name) is not None), None)
    if mark is None:
        return None
    text = mark.isoformat() if isinstance(mark, datetime) else str(mark).strip('"')
    return f"{info.get('size')} {text[:MOST_MARK]}"


def local_version(status: os.stat_result) -> str:
    """Return the version of a local file: its size and when its bytes were changed."""
    return f"{status.st_size} {status.st_mtime_ns}"


def reason_to_skip(name: str) -> str | None:
    """Return why a file of this name is passed over, or None when it may be an image.

    RAW and other formats that we cannot decode are images: they get a row with
    `unsupported_format`. Whether a name that `is_uncertain` is one, its first bytes decide.
    """
    base = name.rsplit("/", 1)[-1]
    if base.startswith("._"):
        return "AppleDouble file"
    if base.startswith("."):
        return "hidden file"
    if is_unopened_archive(base):
        return UNOPENED
    return not_an_image(base) if extension_of(base) in OTHER_EXTENSIONS else None


def extension_of(name: str) -> str:
    """Return what a file's name ends with, in lower case, with its dot; empty without one."""
    return os.path.splitext(name.rsplit("/", 1)[-1])[1].lower()


def is_uncertain(name: str) -> bool:
    """Return whether a name does not tell if it is an image: `photo.jpg_large`, `Dr. Smith`."""
    return extension_of(name) not in KNOWN_EXTENSIONS and archive_kind(name) is None


def not_an_image(name: str) -> str:
    """Return the reason why a file that is no image is passed over, with its extension."""
    extension = extension_of(name)
    told = extension[1:].isalnum() and len(extension) <= 8
    return f"not an image ({extension})" if told else "not an image"


def is_unopened_archive(name: str) -> bool:
    """Return whether a file of this name is an archive of a kind that is not read."""
    return archive_kind(name) is None and _UNOPENED_NAMES.search(name.lower()) is not None


def reason_by_bytes(head: bytes, name: str) -> str | None:
    """Return why a file whose name `is_uncertain` is passed over, None for an image.

    `head` are its first bytes, `HEAD_BYTES` of them or all.
    """
    if probe(head) is not None:
        return None
    return UNOPENED if head.startswith(_UNOPENED_MAGIC) else not_an_image(name)


def _reason_by_local_bytes(path: str) -> str | None:
    """Return why a local file is passed over though its name says nothing against it."""
    if not extension_of(path) or not is_uncertain(path):
        return None  # without an extension: when it is read
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            return reason_by_bytes(file.read(HEAD_BYTES), path)
    except OSError:
        return None  # its row will say why


def reason_to_skip_found(fs: fsspec.AbstractFileSystem, path: str) -> str | None:
    """Return why a file is passed over that a walk or a glob found, by its name, then its bytes.

    Bytes of remote files are looked at when they are read.
    """
    reason = reason_to_skip_file(path)
    return reason or (_reason_by_local_bytes(path) if is_local(fs) else None)


def unopened_text(names: Sequence[str]) -> str:
    """Return what the user should know about archives that were not opened."""
    shown = ", ".join(names[:UNOPENED_SHOWN])
    more = f" and {len(names) - UNOPENED_SHOWN} more" if len(names) > UNOPENED_SHOWN else ""
    what = "1 archive was" if len(names) == 1 else f"{len(names)} archives were"
    return (
        f"{what} not opened, and photos in there are missing: {shown}{more}; unpack, or pack as "
        ".zip or .tar, and index again"
    )


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


def walk(
    fs: fsspec.AbstractFileSystem, root: str, result: Plan, extent: Extent | None = None
) -> Iterator[Entry]:
    """Yield every image and shard below folder `root`, folder by folder, in the order of names.

    What is passed over is counted in `result`, and what cannot be listed is noted in `extent`.
    Links to folders are not followed.
    """
    skipped = result.skipped
    extent = extent or Extent(root, root)
    pending = [root]
    while pending:
        folder = pending.pop()
        folders, files = _local(folder, skipped, extent) if is_local(fs) else _remote(fs, folder)
        if any(entry.path.rsplit("/", 1)[-1] == ".nomedia" for entry in files):
            skipped["file in a .nomedia folder"] += len(files) - 1
            if folders:
                skipped["folder below a .nomedia folder"] += len(folders)
            continue
        for entry in sorted(files, key=lambda entry: entry.path):
            reason = reason_to_skip_found(fs, entry.path)
            if reason:
                pass_over(entry.path, reason, result)
            else:
                yield entry
        for path in sorted(folders, reverse=True):
            name = path.rstrip("/").rsplit("/", 1)[-1]
            if name.lower() in SYSTEM_FOLDERS:
                skipped[f"{name} folder"] += 1
            elif name.startswith("."):
                skipped["hidden folder"] += 1
            else:
                pending.append(path)


def pass_over(path: str, reason: str, result: Plan) -> None:
    """Count a file that is passed over; archives are named."""
    result.skipped[reason] += 1
    if reason == UNOPENED:
        result.unopened.append(visible(path))


def _local(folder: str, skipped: Counter[str], extent: Extent) -> tuple[list[str], list[Entry]]:
    """List a local folder; scandir knows types without a call a file."""
    folders: list[str] = []
    files: list[Entry] = []
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
        if not found:
            extent.empty.append(folder)
        for entry in found:
            _sort_in(entry, folders, files, skipped)
    except OSError as error:  # gone since its parent was listed, or damaged
        extent.unlisted.append(folder)
        why = "may not be listed" if isinstance(error, PermissionError) else "cannot be listed"
        more = "" if isinstance(error, PermissionError) else f": {error.strerror}"
        skipped[f"folder that {why}: {printable(folder)}{more}"] += 1
    return folders, files


def _sort_in(
    entry: "os.DirEntry[str]", folders: list[str], files: list[Entry], skipped: Counter[str]
) -> None:
    try:
        if entry.is_dir(follow_symlinks=False):
            folders.append(entry.path)
        elif entry.is_dir():
            skipped["link to a folder"] += 1
        elif entry.is_file():
            status = entry.stat()
            files.append(Entry(entry.path, status.st_size, local_version(status)))
        elif entry.is_symlink():
            files.append(Entry(entry.path))  # broken: becomes an unreadable row
        else:
            skipped["device, socket or pipe"] += 1
    except OSError:  # links in a circle, a file that is gone: an unreadable row
        files.append(Entry(entry.path))


def _remote(fs: fsspec.AbstractFileSystem, folder: str) -> tuple[list[str], list[Entry]]:
    """List a remote folder."""
    with storage_errors("list", folder):
        entries = attempt(lambda: fs.ls(folder, detail=True))
    here = folder.rstrip("/")
    folders = [e["name"] for e in entries if e["type"] == "directory" and e["name"] != here]
    # Object stores may list the folder itself as an empty file.
    files = [
        Entry(e["name"], int(e["size"] if e.get("size") is not None else -1), version_of(e))
        for e in entries
        if e["type"] != "directory" and e["name"].rstrip("/") != here
    ]
    return folders, files
