"""Opens a shard, of whatever kind, and yields its images."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO, cast

from pipeline.config import ReadConfig
from pipeline.errors import ConfigError, StorageError
from pipeline.sources.files import fetch_file
from pipeline.sources.members import Member, Report, Wanted, is_unsafe, shown, unsafe
from pipeline.sources.parquet import parquet_members
from pipeline.sources.tars import tar_members
from pipeline.sources.units import Unit
from pipeline.sources.zips import zip_members
from pipeline.storage.errors import storage_errors
from pipeline.storage.folder import filesystem, is_local, printable
from pipeline.storage.patience import patience
from pipeline.storage.remote_file import RemoteFile


@contextmanager
def open_shard(unit: Unit) -> Iterator[BinaryIO]:
    """Open a shard for seeking and reading; a remote one survives faults of its storage."""
    fs, path = filesystem(unit.base, unit.options)
    with (
        storage_errors("read", printable(unit.base)),
        open(path, "rb")
        if is_local(fs)
        else cast(BinaryIO, RemoteFile(fs, path, patience(unit.options))) as file,
    ):
        yield file


def members_of(
    file: BinaryIO, unit: Unit, config: ReadConfig, wanted: Wanted, report: Report
) -> Iterator[Member]:
    """Return the images of an open shard."""
    if unit.kind == "tar":
        return tar_members(file, wanted, config.max_bytes, report)
    if unit.kind == "zip":
        return zip_members(file, wanted, config.max_bytes, report)
    return parquet_members(file, wanted, config, report, partial(_beside, unit, config.max_bytes))


def _beside(unit: Unit, max_bytes: int, key: str, path: str) -> Member:
    """Return the file that a row of a table names, if it lies in the table's folder."""
    folder = unit.base.rpartition("/")[0] or "/"
    name = path.removeprefix(folder + "/")
    if "://" in name or is_unsafe(name) or not _is_inside(folder, name):
        return unsafe(key, f"names the file {shown(path)} outside the folder of its table")
    found = fetch_file(key, f"{folder}/{name}", unit, max_bytes)
    if found.data is None:
        found.detail = f"{shown(path)}: {found.detail}"
    return found


def _is_inside(folder: str, name: str) -> bool:
    """Return whether a local file lies in a folder with all links followed."""
    if "://" in folder:
        return True
    real = os.path.realpath(folder)
    return os.path.realpath(f"{folder}/{name}").startswith(real.rstrip("/") + "/")


def shard_members(
    unit: Unit, config: ReadConfig, wanted: Wanted, report: Report
) -> Iterator[Member]:
    """Yield the images of a shard; one that fails midway keeps what was read."""
    try:
        with open_shard(unit) as file:
            yield from members_of(file, unit, config, wanted, report)
    except (StorageError, ConfigError) as error:
        report.damage.append(str(error))
