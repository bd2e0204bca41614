"""Reads a unit of work: yields tables of encoded images that the lake does not have yet."""

import time
from collections.abc import Iterator
from functools import partial
from itertools import takewhile
from queue import Empty, SimpleQueue

import pyarrow as pa

from pipeline.config import ReadConfig
from pipeline.errors import ErrorCode
from pipeline.lake.ledger import Ledger
from pipeline.sources.files import fetch_file
from pipeline.sources.members import Member, Report
from pipeline.sources.new_images import NewImages
from pipeline.sources.shards import shard_members
from pipeline.sources.units import Unit
from pipeline.sources.walk import unopened_text
from pipeline.storage.patience import start
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
        ("file_version", pa.string()),
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
    new_images = NewImages(unit, ledger, report)
    for row in _rows(unit, config, new_images, report):
        rows.append(row)
        report.images += unit.kind != "files"
        data = row["data"]
        size += len(data) if isinstance(data, bytes) else 0
        late = time.monotonic() - began > TABLE_S
        if len(rows) >= TABLE_IMAGES or size >= TABLE_BYTES or late:
            new_images.name_new()
            yield _table(rows, watch)
            rows, size, began = [], 0, time.monotonic()
            watch.restart()
    if rows:
        new_images.name_new()
        yield _table(rows, watch)
    if report.unopened:
        report.damage.append(unopened_text(report.unopened))
    report.retries.update(take_counts())


def _table(rows: list[dict[str, object]], watch: Stopwatch) -> pa.Table:
    """Return rows as a table of schema `ENCODED`, with what reading them took."""
    table = pa.Table.from_pylist(rows, schema=ENCODED)
    at = ENCODED.get_field_index("read_timing")
    return table.set_column(at, ENCODED.field(at), watch.shares(len(table), table.nbytes))


def _rows(
    unit: Unit, config: ReadConfig, new_images: NewImages, report: Report
) -> Iterator[dict[str, object]]:
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
