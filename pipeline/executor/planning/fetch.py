"""Reads the photos of a sample as a run would."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.config import ReadConfig
from pipeline.errors import ConfigError, StorageError
from pipeline.executor.planning.sampling import Portion, Reservoir
from pipeline.executor.planning.timing import Span
from pipeline.lake.ledger import Ledger
from pipeline.sources.members import Report
from pipeline.sources.new_images import NewImages
from pipeline.sources.read import ENCODED, read
from pipeline.sources.shards import members_of, open_shard
from pipeline.storage.folder import printable
from pipeline.timing import Stopwatch, summed

# Bytes that are passed over in all shards of a sample together: seconds on a disk, a minute or so
# on an object store. Of larger ones the sample sees the beginning.
PASSED_BYTES = 2 * 2**30


@dataclass(frozen=True, slots=True)
class Fetched:
    """Photos of the sample, and what reading took.

    Attributes:
        table: of schema `sources.read.ENCODED`.
        each: seconds of one photo.
        weight: photos of the inputs that one of these stands for.
    """

    table: pa.Table
    each: Span
    weight: float


class _EnoughError(BaseException):
    """Enough of a shard was read; an `Exception` would be taken for a fault of the storage."""


def fetch(
    portion: Portion,
    config: ReadConfig,
    report: Report,
    budget_bytes: int,
    rng: np.random.Generator,
) -> Iterator[Fetched]:
    """Yield the photos of a portion; of a shard no more than `budget_bytes` are passed over.

    A shard that cannot be read is noted in `report`, as in a run.
    """
    if portion.unit.kind != "files":
        yield from _of_shard(portion, config, report, budget_bytes, rng)
        return
    for table in read(portion.unit, Ledger.empty(), config, report):
        each = Span.of(summed(table["read_timing"]), len(table))
        yield Fetched(table, each, portion.holds / portion.wanted)


def _of_shard(
    portion: Portion,
    config: ReadConfig,
    report: Report,
    budget_bytes: int,
    rng: np.random.Generator,
) -> Iterator[Fetched]:
    unit = portion.unit
    # In a zip reading jumps to a member: nothing is passed over.
    share = 1.0 if unit.kind == "zip" else min(1.0, budget_bytes / max(1, sum(unit.sizes)))
    limit = math.inf if share == 1 else max(portion.wanted, portion.holds * share)
    reservoir = Reservoir(portion.wanted, limit, rng)
    shard_report = Report()
    new_images = NewImages(unit, Ledger.empty(), shard_report)

    def wanted(key: str) -> bool:
        if reservoir.is_enough:
            raise _EnoughError
        return reservoir.draws() and new_images.wanted(key)

    watch = Stopwatch()
    whole = False
    try:
        with open_shard(unit) as file:
            for member in members_of(file, unit, config, wanted, shard_report):
                row = new_images.row(member)
                if row is not None:
                    reservoir.keep(row)
            whole = True
    except _EnoughError:
        pass
    except (StorageError, ConfigError) as error:
        report.damage.append(str(error))
    report.damage.extend(f"{printable(unit.base)}: {text}" for text in shard_report.damage)
    spent = watch.spent()
    new_images.name_new()
    rows = [row for row in reservoir.kept if row is not None]
    if not rows:
        return
    # A run reads what is passed over here as well, except in a zip, where it was not touched.
    images_read = len(rows) if unit.kind == "zip" else reservoir.passed
    holds = reservoir.passed if whole else reservoir.passed / share
    yield Fetched(
        pa.Table.from_pylist(rows, schema=ENCODED),
        Span.of(spent, images_read),
        holds * portion.stands_for / len(rows),
    )
