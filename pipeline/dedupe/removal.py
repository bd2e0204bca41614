"""Moves copies aside, and back.

Nothing is ever deleted. A file is moved only while it is, byte for byte, the one that was indexed,
and the picture that is kept in its stead is there and unchanged. What belongs to it, sidecars and
the like, goes with it, or it stays.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow.compute as pc

from pipeline.config import ReadConfig
from pipeline.dedupe.duplicates import Duplicates
from pipeline.dedupe.plans import Copy, Place
from pipeline.errors import ConfigError, StorageError
from pipeline.lake.ledger import Ledger
from pipeline.lake.manifest import inputs
from pipeline.sources.members import Report
from pipeline.sources.read import read
from pipeline.sources.units import Unit, archive_kind
from pipeline.storage.errors import storage_errors
from pipeline.storage.folder import Folder, is_local, split_file

CHUNK_BYTES = 1 << 20


@dataclass
class Moved:
    """What became of copies.

    Attributes:
        moved, bytes: how many, and how large.
        companions: files that belong to them, and went with them.
        skipped: why others stayed, and how many.
        failed: how many of these because storage refused.
        log: where it is written what was moved; empty when nothing was to be.
    """

    moved: int = 0
    bytes: int = 0
    companions: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    log: str = ""

    def fail(self, error: BaseException) -> None:
        """Count a file that storage refused."""
        self.failed += 1
        text = str(error) if isinstance(error, StorageError) else error.__class__.__name__
        self.skipped[text] += 1


def move(
    copies: Sequence[Copy], folder: Folder, name: str, config: ReadConfig | None = None
) -> Moved:
    """Move copies into `folder`, below their own paths; the caller holds the lake's lock.

    All are checked first, then the log of what will be moved is written there, then files go one by
    one, unless they have changed since; a run that stops in between can be repeated or undone.

    Args:
        copies: what to move.
        folder: where to; on the storage of the copies.
        name: of the log.
        config: how archives are read, in which kept pictures may lie.
    """
    result = Moved()
    kept = Kept(folder, [copy.kept for copy in copies], config or ReadConfig())
    movable: list[Movable] = []
    for copy in copies:
        try:
            reason = why_not(copy, folder, kept)
        except (StorageError, OSError) as error:
            result.fail(error)
            continue
        if reason:
            result.skipped[reason] += 1
        else:
            movable.append(Movable(copy, signature(copy), _steps(copy, folder)))
    if not movable:
        return result
    lines = [step.line() for one in movable for step in one.steps]
    folder.publish(name, "".join(line + "\n" for line in lines).encode())
    result.log = f"{folder.url}/{name}"
    for one in movable:
        try:
            if signature(one.copy) != one.before:
                result.skipped["changed while others were checked"] += 1
                continue
            together(one.steps, folder)
        except (StorageError, OSError) as error:
            result.fail(error)
            continue
        result.moved += 1
        result.bytes += one.copy.place.bytes
        result.companions += len(one.steps) - 1
    return result


@dataclass(frozen=True)
class Step:
    """One file that is moved, a line of the log.

    Attributes:
        uri: where it was.
        to: where it goes, below the folder of copies.
        belongs_to: the picture that it goes with; empty for a picture.
    """

    uri: str
    to: str
    sha256: str
    bytes: int
    belongs_to: str = ""

    def line(self) -> str:
        """Return it as the log has it."""
        return json.dumps(
            {"from": self.uri} | {k: v for k, v in asdict(self).items() if k != "uri"}
        )


@dataclass(frozen=True)
class Movable:
    """A copy that may go, as it was when it was checked, and the files that go, itself the last."""

    copy: Copy
    before: object
    steps: list[Step]


def _steps(copy: Copy, folder: Folder) -> list[Step]:
    place, steps = copy.place, []
    for uri in copy.companions:
        sha256, size = digest_of(*located(uri, folder))
        if sha256 is not None:
            steps.append(Step(uri, target(uri), sha256, size, place.uri))
    return [*steps, Step(place.uri, target(place.uri), place.sha256, place.bytes)]


def together(steps: Sequence[Step], folder: Folder) -> None:
    """Move files into the folder, all or none."""
    moved: list[Step] = []
    try:
        for step in steps:
            source, file = located(step.uri, folder)
            relocate(source, file, folder, step.to, step.sha256)
            moved.append(step)
    except (StorageError, OSError):
        for step in reversed(moved):
            source, file = located(step.uri, folder)
            relocate(folder, step.to, source, file, step.sha256)
        raise


def signature(copy: Copy) -> object:
    """Return what changes when a local copy, or the picture kept instead, is written or moved."""
    stats = []
    for path in (copy.place.uri, copy.kept.archive or copy.kept.uri, *copy.companions):
        if "://" not in path:
            stat = os.stat(path)
            stats.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return stats


def target(uri: str) -> str:
    """Return the name below the folder of copies: the whole path, so that none collide."""
    return uri.split("://", 1)[-1].lstrip("/")


def why_not(copy: Copy, folder: Folder, kept: "Kept") -> str | None:
    """Return why a copy must stay where it is, None if it may be moved."""
    if copy.place.archive:
        return "inside an archive"
    if ("://" in copy.place.uri) != ("://" in folder.url):
        return "on another storage than the folder"
    if "://" not in copy.place.uri and os.path.islink(copy.place.uri):
        return "a link, not a file"
    if is_one_file(copy.place.uri, copy.kept.uri):
        return "another name of the very file to keep"
    if not kept.is_there(copy.kept):
        return "the picture to keep is missing or has changed"
    sha256 = sha256_of(*located(copy.place.uri, folder))
    if sha256 is None:
        return "gone already"
    if sha256 != copy.place.sha256:
        return "changed since it was indexed"
    if any(folder.exists(target(uri)) for uri in (copy.place.uri, *copy.companions)):
        return "there is a file of its name in the folder"
    return None


def is_one_file(first: str, second: str) -> bool:
    """Return whether two places are one file, through links or by their names."""
    if first == second:
        return True
    if "://" in first or "://" in second:
        return False
    with suppress(OSError):
        return os.path.samefile(first, second)
    return False


class Kept:
    """Tells whether kept pictures are still there as they were; archives are read once."""

    def __init__(self, folder: Folder, places: Sequence[Place], config: ReadConfig) -> None:
        self.folder = folder
        self.config = config
        self.archives = sorted({place.archive for place in places if place.archive})
        self.uris = {place.uri for place in places if place.archive}
        self.hashes: dict[str, str | None] = {}
        self.read = False

    def is_there(self, place: Place) -> bool:
        """Return whether the picture has the bytes that were indexed."""
        if place.archive and not self.read:
            self.read = True
            for archive in self.archives:
                hashes = members(archive, self.folder, self.config)
                self.hashes |= {uri: sha for uri, sha in hashes if uri in self.uris}
        if place.uri not in self.hashes:
            sha256 = None if place.archive else sha256_of(*located(place.uri, self.folder))
            self.hashes[place.uri] = sha256
        return self.hashes[place.uri] == place.sha256


def members(archive: str, folder: Folder, config: ReadConfig) -> Iterator[tuple[str, str]]:
    """Yield places and hashes of what an archive holds."""
    kind = archive_kind(archive)
    assert kind is not None
    unit = Unit(kind, archive, options=folder.options if "://" in archive else {})
    for table in read(unit, Ledger.empty(), config, Report()):
        yield from zip(table["uri"].to_pylist(), table["sha256"].to_pylist(), strict=True)


def located(uri: str, folder: Folder) -> tuple[Folder, str]:
    """Return the folder and name of a file, with the options of the folder of copies."""
    return split_file(uri, folder.options)


def sha256_of(folder: Folder, name: str) -> str | None:
    """Return the hash of a file's bytes, None when it is not there."""
    return digest_of(folder, name)[0]


def digest_of(folder: Folder, name: str) -> tuple[str | None, int]:
    """Return the hash of a file's bytes and their number; None and 0 when it is not there."""
    hasher, size = hashlib.sha256(), 0
    with suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
        if is_local(folder.fs):
            with open(folder.path(name), "rb") as file:
                while data := file.read(CHUNK_BYTES):
                    hasher.update(data)
                    size += len(data)
            return hasher.hexdigest(), size
        if folder.exists(name):
            data = folder.read(name)
            return hashlib.sha256(data).hexdigest(), len(data)
    return None, 0


def relocate(source: Folder, file: str, folder: Folder, name: str, sha256: str) -> None:
    """Move a file without replacing another; it is whole in one of the two places at any time."""
    with storage_errors("move", f"{source.url}/{file}"):
        if is_local(source.fs) and is_local(folder.fs):
            old, new = source.path(file), folder.path(name)
            os.makedirs(os.path.dirname(new), exist_ok=True)
            try:
                os.link(old, new)  # unlike a rename it never replaces what is there
            except FileExistsError:
                raise
            except OSError:  # another device, or a file system without links
                _copy_local(old, new, sha256)
            try:
                os.unlink(old)
            except OSError:
                os.unlink(new)  # else it would be in both places
                raise
            return
        data = source.read(file)
        if hashlib.sha256(data).hexdigest() != sha256 or not folder.create(name, data):
            raise StorageError(f"{source.url}/{file} changed while it was moved; it stays")
        source.remove(file)


def _copy_local(old: str, new: str, sha256: str) -> None:
    try:
        with open(new, "xb") as out, open(old, "rb") as data:
            shutil.copyfileobj(data, out, CHUNK_BYTES)
            out.flush()
            os.fsync(out.fileno())
        shutil.copystat(old, new)
        if sha256_of(*split_file(new)) != sha256:
            raise StorageError(f"{old} could not be copied to {new} as it is; it stays")
    except FileExistsError:
        raise
    except BaseException:  # a disk that is full, or Ctrl-C: no half of a file stays
        with suppress(OSError):
            os.unlink(new)
        raise


def undo(log: str, options: Mapping[str, Any]) -> Moved:
    """Move back the files of a log; those that never moved, or are back already, are left alone.

    Raises:
        ConfigError: it is no such log.
    """
    folder, name = split_file(log, options)
    try:
        steps = [_step(json.loads(line)) for line in folder.read(name).decode().splitlines()]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{log} is no log of moved copies ({error})") from error
    result = Moved(log=log)
    for step in steps:
        if sha256_of(folder, step.to) != step.sha256:
            result.skipped["not in the folder, or changed there"] += 1
            continue
        home, file = located(step.uri, folder)
        if home.exists(file):
            result.skipped["there is a file in its old place"] += 1
            continue
        try:
            relocate(folder, step.to, home, file, step.sha256)
        except (StorageError, OSError) as error:
            result.fail(error)
            continue
        if step.belongs_to:
            result.companions += 1
            continue
        result.moved += 1
        result.bytes += step.bytes
    return result


def _step(line: Mapping[str, Any]) -> Step:
    return Step(
        str(line["from"]),
        str(line["to"]),
        str(line["sha256"]),
        int(line["bytes"]),
        str(line.get("belongs_to", "")),
    )


def refuse_target(duplicates: Duplicates, folder: Folder) -> None:
    """Raise ConfigError for a folder whose files the next `facelake index` would read as photos."""
    lake = duplicates.lake
    shards = pc.unique(lake.read("images", ["shard"])["shard"]).drop_null().to_pylist()
    path = real(folder.url)
    for root in [*shards, *inputs(lake), lake.folder.url]:
        above = real(Folder(root).url)
        if path == above or path.startswith(f"{above}/"):
            raise ConfigError(
                f"{folder.url} lies inside {above}, where photos are read from; choose a folder "
                "beside it"
            )


def real(url: str) -> str:
    """Return a local path without links; a URL as it is."""
    return url if "://" in url else os.path.realpath(url)
