"""Reads a unit of work: yields tables of encoded images that the lake does not have yet."""

import os
import stat
import time
from collections.abc import Iterator
from functools import partial
from itertools import takewhile
from queue import Empty, SimpleQueue

import pyarrow as pa

from pipeline.config import ReadConfig
from pipeline.errors import ErrorCode
from pipeline.lake.ledger import Ledger
from pipeline.sources.members import Member, Report, too_many_bytes
from pipeline.sources.new_images import NewImages
from pipeline.sources.shards import shard_members
from pipeline.sources.units import Unit
from pipeline.storage.errors import reason
from pipeline.storage.fetch import TooManyBytesError, fetch
from pipeline.storage.folder import filesystem, is_local, printable
from pipeline.storage.patience import in_time, patience, start
from pipeline.storage.retry import take_counts
from pipeline.timing import TIMING, Stopwatch

# What a read task hands on at a time: enough to be worth the overhead of a block, small enough that
# a few of them in flight do not fill a node.
TABLE_IMAGES = 64
TABLE_BYTES = 16 * 2**20
# What was read is handed on after so long, however little it is: the rest may be stalled.
TABLE_S = 10.0
# Loose files fetched at once by one task, and what each may take beside others.
FETCH_FILES = 16
SMALL_BYTES = 16 * 2**20

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
    watch, began = Stopwatch(), time.monotonic()
    for row in _rows(unit, ledger, config, report):
        rows.append(row)
        data = row["data"]
        size += len(data) if isinstance(data, bytes) else 0
        late = time.monotonic() - began > TABLE_S
        if len(rows) >= TABLE_IMAGES or size >= TABLE_BYTES or late:
            yield _table(rows, watch)
            rows, size, began = [], 0, time.monotonic()
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
    """Yield loose files, several fetched at a time."""
    pending: list[tuple[str, int]] = []
    pending_bytes = 0
    for i, (name, size) in enumerate(zip(unit.names, unit.sizes, strict=True)):
        if not new_images.wanted(name, i):
            continue
        pending.append((name, size))
        pending_bytes += max(size, 0)
        if len(pending) >= FETCH_FILES or pending_bytes >= TABLE_BYTES:
            yield from _fetch(unit, pending, config.max_bytes)
            pending, pending_bytes = [], 0
    if pending:
        yield from _fetch(unit, pending, config.max_bytes)


def _fetch(unit: Unit, wanted: list[tuple[str, int]], max_bytes: int) -> Iterator[Member]:
    """Yield files, (name, size) in the listing, in their order, except those that stall.

    Those that turn out to be large are fetched one at a time: sixteen servers that never end would
    fill the memory.
    """
    answers: SimpleQueue[tuple[int, Member | None]] = SimpleQueue()

    def one(i: int, name: str, size: int) -> None:
        member = None
        if size <= SMALL_BYTES:
            member = fetch_file(name, unit.base + name, unit, min(max_bytes, SMALL_BYTES), size)
        late = member is None or (member.error == ErrorCode.TOO_LARGE and max_bytes > SMALL_BYTES)
        answers.put((i, None if late else member))

    for i, (name, size) in enumerate(wanted):
        start(partial(one, i, name, size))
    for i, member in _in_order(answers, len(wanted)):
        name, size = wanted[i]
        yield member or fetch_file(name, unit.base + name, unit, max_bytes, size)


def _in_order(
    answers: "SimpleQueue[tuple[int, Member | None]]", count: int
) -> Iterator[tuple[int, Member | None]]:
    """Yield numbered answers by their numbers; after a while, none waits for a missing one."""
    ready: dict[int, Member | None] = {}
    left = set(range(count))
    while left:
        try:
            i, member = answers.get(timeout=TABLE_S)
            ready[i] = member
            numbers = list(takewhile(ready.__contains__, sorted(left)))
        except Empty:
            numbers = sorted(ready)
        for number in numbers:
            left.discard(number)
            yield number, ready.pop(number)


def fetch_file(name: str, url: str, unit: Unit, max_bytes: int, listed: int = -1) -> Member:
    """Return a loose file, or why it cannot be read; `listed` is its size in the listing."""
    if listed > max_bytes:
        return too_many_bytes(name, listed, max_bytes)
    try:
        fs, _ = filesystem(unit.base or url, unit.options)
        path = fs._strip_protocol(url)
        limits = patience(unit.options)
        if is_local(fs):
            status = in_time(lambda: os.stat(path), limits.file_s, "the disk did not answer")
            if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait
                return _unreadable(name, OSError("a folder, pipe or device, not a file"))
            if status.st_size > max_bytes:
                return too_many_bytes(name, status.st_size, max_bytes)
            listed = -1  # it may have grown since
        data = fetch(fs, path, max_bytes, limits, listed)
    except TooManyBytesError as error:
        return too_many_bytes(name, error.size, max_bytes)
    except Exception as error:  # of any back end: this one image is lost, and its row says why
        return _unreadable(name, error)
    return Member(name, data, size=len(data))


def _unreadable(name: str, error: BaseException) -> Member:
    detail = reason(error)
    if isinstance(error, FileNotFoundError) and "://" in str(error):
        detail = f"{type(error).__name__}: it is not there"
    return Member(name, error=ErrorCode.UNREADABLE, detail=printable(detail))
