"""Groups the photos of a sample into batches, as the stages get them in a run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from pipeline.arrays import Floats64
from pipeline.config import IndexConfig
from pipeline.executor.planning.fetch import PASSED_BYTES, Fetched, fetch
from pipeline.executor.planning.sampling import Portion
from pipeline.sources.members import Report
from pipeline.sources.read import TABLE_BYTES


@dataclass(frozen=True, slots=True)
class Batch:
    """Encoded photos; what reading each took and how many it stands for, float64 [N]."""

    table: pa.Table
    read_cpu_s: Floats64
    read_wall_s: Floats64
    weights: Floats64


def batches(
    portions: Sequence[Portion],
    config: IndexConfig,
    report: Report,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    """Yield as many photos as a detect actor gets at once, or as memory should hold."""
    shards = sum(portion.unit.kind != "files" for portion in portions)
    budget_bytes = PASSED_BYTES // max(1, shards)
    waiting: list[Fetched] = []
    size = 0
    for portion in portions:
        for fetched in fetch(portion, config.read, report, budget_bytes, rng):
            for i in range(len(fetched.table)):
                waiting.append(replace(fetched, table=fetched.table.slice(i, 1)))
                size += fetched.table["bytes"][i].as_py() or 0
                if len(waiting) >= config.pools.detect_batch or size >= 2 * TABLE_BYTES:
                    yield _batch(waiting)
                    waiting, size = [], 0
    if waiting:
        yield _batch(waiting)


def _batch(photos: Sequence[Fetched]) -> Batch:
    return Batch(
        pa.concat_tables([photo.table for photo in photos]).combine_chunks(),
        np.array([photo.each.cpu_s for photo in photos]),
        np.array([photo.each.wall_s for photo in photos]),
        np.array([photo.weight for photo in photos]),
    )
