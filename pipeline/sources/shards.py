"""Opens a shard, of whatever kind, and yields its images."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from pipeline.config import ReadConfig
from pipeline.errors import ConfigError, StorageError
from pipeline.sources.members import Member, Report, Wanted
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
    return parquet_members(file, wanted, config, report)


def shard_members(
    unit: Unit, config: ReadConfig, wanted: Wanted, report: Report
) -> Iterator[Member]:
    """Yield the images of a shard; one that fails midway keeps what was read."""
    try:
        with open_shard(unit) as file:
            yield from members_of(file, unit, config, wanted, report)
    except (StorageError, ConfigError) as error:
        report.damage.append(str(error))
