"""Reads a unit of work: yields tables of encoded images that the lake does not have yet."""

import os
import stat
from collections.abc import Iterator, Mapping

import fsspec
import pyarrow as pa

from pipeline.config import ReadConfig
from pipeline.errors import ErrorCode
from pipeline.lake.ledger import Ledger
from pipeline.sources.members import Member, Report, too_many_bytes
from pipeline.sources.new_images import NewImages
from pipeline.sources.shards import shard_members
from pipeline.sources.units import Unit
from pipeline.storage.folder import filesystem, is_local, printable
from pipeline.storage.retry import attempt, count, is_lasting, take_counts
from pipeline.timing import TIMING, Stopwatch

# What a read task hands on at a time: enough to be worth the overhead of a block, small enough that
# a few of them in flight do not fill a node.
TABLE_IMAGES = 64
TABLE_BYTES = 16 * 2**20
# Loose remote files fetched at once by one task.
FETCH_FILES = 16

ENCODED = pa.schema(
    [
        ("image_id", pa.string()),
        ("uri", pa.string()),
        ("shard", pa.string()),
        ("sha256", pa.string()),
        ("bytes", pa.int64()),
        ("data", pa.large_binary()),
        ("error", pa.string()),
        ("error_detail", pa.string()),
        ("read_timing", TIMING),
    ]
)


def read(unit: Unit, ledger: Ledger, config: ReadConfig, report: Report) -> Iterator[pa.Table]:
    """Yield the unit's new images as tables of schema `ENCODED`.

    What was passed over and what is wrong with a shard goes into `report`. An image whose bytes
    cannot be read becomes a row with `unreadable`; a shard that cannot be opened becomes a notice.
    """
    take_counts()  # drop those of what this process did before
    rows: list[dict[str, object]] = []
    size = 0
    watch = Stopwatch()
    for row in _rows(unit, ledger, config, report):
        rows.append(row)
        data = row["data"]
        size += len(data) if isinstance(data, bytes) else 0
        if len(rows) >= TABLE_IMAGES or size >= TABLE_BYTES:
            yield _table(rows, watch)
            rows, size = [], 0
            watch.restart()
    if rows:
        yield _table(rows, watch)
    report.retries.update(take_counts())


def _table(rows: list[dict[str, object]], watch: Stopwatch) -> pa.Table:
    """Return rows as a table of schema `ENCODED`, with what reading them took."""
    table = pa.Table.from_pylist(rows, schema=ENCODED)
    at = ENCODED.get_field_index("read_timing")
    return table.set_column(at, ENCODED.field(at), watch.shares(len(table), table.nbytes))


def _rows(
    unit: Unit, ledger: Ledger, config: ReadConfig, report: Report
) -> Iterator[dict[str, object]]:
    new_images = NewImages(unit, ledger, report)
    for member in (
        _files(unit, config, new_images)
        if unit.kind == "files"
        else shard_members(unit, config, new_images.wanted, report)
    ):
        row = new_images.row(member)
        if row is not None:
            yield row


def _files(unit: Unit, config: ReadConfig, new_images: NewImages) -> Iterator[Member]:
    """Yield loose files, remote ones fetched several at a time."""
    pending: list[tuple[str, str]] = []
    pending_bytes = 0
    sizes = dict(zip(unit.names, unit.sizes, strict=True))
    for i, (name, size) in enumerate(zip(unit.names, unit.sizes, strict=True)):
        if not new_images.wanted(name, i):
            continue
        if size > config.max_bytes:
            yield too_many_bytes(name, size, config.max_bytes)
            continue
        pending.append((name, unit.base + name))
        pending_bytes += max(size, 0)
        if len(pending) >= FETCH_FILES or pending_bytes >= TABLE_BYTES:
            yield from _fetch(unit, pending, sizes, config.max_bytes)
            pending, pending_bytes = [], 0
    if pending:
        yield from _fetch(unit, pending, sizes, config.max_bytes)


def _fetch(
    unit: Unit, wanted: list[tuple[str, str]], sizes: Mapping[str, int], max_bytes: int
) -> Iterator[Member]:
    """Yield the bytes of each (name, URL), or why there are none.

    `sizes` are those of the listing, -1 where it does not say.
    """
    fs, _ = filesystem(unit.base or wanted[0][1], unit.options)
    paths = {name: fs._strip_protocol(url) for name, url in wanted}
    if is_local(fs) or len({url.split("://")[0] for _, url in wanted}) > 1:
        for name, url in wanted:
            yield fetch_file(name, url, unit, max_bytes)
        return
    try:
        answers = fs.cat(list(paths.values()), on_error="return")
    except Exception as error:  # refused as a whole: each image's row says so
        answers = dict.fromkeys(paths.values(), error)
    for name, url in wanted:
        data = answers.get(paths[name])
        if isinstance(data, bytes) and sizes.get(name, -1) in (-1, len(data)):
            yield Member(name, data, size=len(data))
        elif isinstance(data, Exception) and is_lasting(data):
            yield _unreadable(name, data)
        else:
            count(type(data).__name__ if isinstance(data, Exception) else "short answer")
            yield fetch_file(name, url, unit, max_bytes)


def fetch_file(name: str, url: str, unit: Unit, max_bytes: int) -> Member:
    """Return a loose file, or why it cannot be read."""
    try:
        fs, _ = filesystem(unit.base or url, unit.options)
        path = fs._strip_protocol(url)
        if is_local(fs):
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait
                return _unreadable(name, OSError("a folder, pipe or device, not a file"))
            size = status.st_size
        else:
            size = attempt(lambda: fs.info(path)["size"])
        # Lists do not say how large their files are.
        if size is not None and size > max_bytes:
            return too_many_bytes(name, size, max_bytes)
        data = _local_bytes(path) if is_local(fs) else attempt(lambda: _whole(fs, path, size))
    except Exception as error:  # of any back end: this one image is lost, and its row says why
        return _unreadable(name, error)
    return Member(name, data, size=len(data))


def _whole(fs: fsspec.AbstractFileSystem, path: str, size: int | None) -> bytes:
    data = bytes(fs.cat_file(path))
    if size is not None and len(data) != size:
        raise OSError(f"{len(data)} of {size} bytes came")
    return data


def _local_bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _unreadable(name: str, error: object) -> Member:
    detail = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else "no answer"
    return Member(name, error=ErrorCode.UNREADABLE, detail=printable(detail))
