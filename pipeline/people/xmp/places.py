"""Where the sidecars of photos lie: in a folder laid out as the photos are, or beside them."""

import hashlib
import os
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from pipeline.errors import ConfigError
from pipeline.sources.units import archive_of
from pipeline.storage.folder import split_file, visible

Naming = Literal["full", "stem"]
ENDING = ".xmp"
# File systems take names of 255 bytes.
LONGEST_PART = 200


class NoFileError(ConfigError):
    """At the place of a sidecar is a folder, a pipe, a device, or a link that leads nowhere."""


class Places:
    """Finds the photo of a sidecar: by its place in the folder, beside it, or by its name alone."""

    def __init__(self, photos: Mapping[str, Mapping[str, Any]]) -> None:
        root = common_root(row["uri"] for row in photos.values())
        self.by_place: dict[str, set[str]] = defaultdict(set)
        self.by_path: dict[str, set[str]] = defaultdict(set)
        self.by_name: dict[str, set[str]] = defaultdict(set)
        for image, row in photos.items():
            parts = parts_of(row["uri"])
            path = "/".join(parts[len(root) :])
            for naming in ("full", "stem"):
                self.by_place[_key(named(path, naming))].add(image)
                self.by_path[_key(named("/" + "/".join(parts), naming))].add(image)
                self.by_name[_key(named(parts[-1] if parts else "", naming))].add(image)

    def image_of(self, file: str, inside: str) -> str | None:
        """Return the image of a sidecar at `file`, `inside` the folder that was named."""
        candidates = (
            self.by_path[_key(os.path.abspath(file))],
            self.by_place[_key(inside)],
            self.by_name[_key(os.path.basename(file))],
        )
        return next((next(iter(images)) for images in candidates if len(images) == 1), None)


def _key(path: str) -> str:
    """Return what spellings of a sidecar's path share: photo.XMP, letters that macOS decomposed."""
    start, _, _ = path.rpartition(".")
    return unicodedata.normalize("NFC", start) + ENDING


def common_root(uris: Iterable[str]) -> list[str]:
    """Return the parts of the folder that all photos lie in."""
    root: list[str] | None = None
    for uri in uris:
        parts = parts_of(uri)[:-1]
        if root is None:
            root = parts
        while root != parts[: len(root)]:
            root.pop()
    return root or []


def parts_of(uri: str) -> list[str]:
    """Return the parts of a photo's path; none of them leads upwards or is too long."""
    path = uri.partition("://")[2] if "://" in uri else uri
    path = path.replace("#", "/")  # a member is shown as if its archive were a folder
    return [_short(part) for part in path.split("/") if part not in ("", ".", "..")]


def _short(part: str) -> str:
    clear = part.replace("\0", "_")
    data = clear.encode("utf-8", "surrogateescape")
    if len(data) <= LONGEST_PART:
        return clear
    stem, dot, ending = clear.rpartition(".")
    tail = f"{dot}{ending}" if dot and len(ending) <= 8 else ""
    mark = hashlib.blake2b(data, digest_size=8).hexdigest()
    return f"{(stem or clear)[:40]}-{mark}{tail}"


def named(path: str, naming: str) -> str:
    """Return the path of a photo's sidecar."""
    head, slash, last = path.rpartition("/")
    stem = last.rpartition(".")[0] or last
    return f"{head}{slash}{last if naming == 'full' else stem}{ENDING}"


def target(
    uri: str, folder: str | None, root: list[str], naming: Naming, shard: str = ""
) -> str | None:
    """Return where a photo's sidecar is written, a path or URL; None: no place is beside it."""
    if folder is not None:
        inside = "/".join(parts_of(uri)[len(root) :])
        if "://" in folder:
            return named(f"{folder.rstrip('/')}/{inside}", naming)
        return named(os.path.join(os.path.abspath(os.path.expanduser(folder)), inside), naming)
    if "://" in uri:
        readable_only = uri.startswith(("http://", "https://"))
        return None if readable_only or archive_of(uri, shard) else named(uri, naming)
    return named(uri, naming) if os.path.isabs(uri) and os.path.isfile(uri) else None


def files(path: str) -> Iterator[tuple[str, str]]:
    """Yield the sidecars at a path, and their places in it; `content` tells which are files."""
    path = os.path.abspath(os.path.expanduser(path))
    if os.path.isfile(path):
        yield path, os.path.basename(path)
        return
    if not os.path.isdir(path):
        raise ConfigError(f"There is no sidecar or folder {visible(path)}; check the path")
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            file = os.path.join(folder, name)
            if name.lower().endswith(ENDING):
                yield file, os.path.relpath(file, path)


def content(path: str, most_bytes: int, options: Mapping[str, Any] | None = None) -> bytes | None:
    """Return the bytes of the file at a path or URL, None if nothing is there.

    Raises:
        NoFileError: it is no regular file.
        ConfigError: it has more than `most_bytes`.
        StorageError, OSError: it cannot be read.
    """
    if "://" in path:
        folder, name = split_file(path, options)
        if not folder.exists(name):
            return None
        with folder.open(name) as remote:
            return _bounded(remote.read(most_bytes + 1), path, most_bytes)
    try:
        # A pipe would be waited for until somebody writes into it.
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        if os.path.islink(path):
            raise NoFileError(f"{visible(path)} is a link that leads nowhere") from None
        return None
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise NoFileError(f"{visible(path)} is no regular file")
    with open(opened, "rb") as file:
        return _bounded(file.read(most_bytes + 1), path, most_bytes)


def _bounded(data: bytes, path: str, most_bytes: int) -> bytes:
    if len(data) > most_bytes:
        raise ConfigError(f"{visible(path)} has more than {most_bytes:,} bytes")
    return data
