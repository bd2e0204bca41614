"""What was indexed: counts, sizes, dates, cameras, and what could not be used."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.lake.store import LakeStore
from pipeline.web.charts import Chart, histogram, timeline
from pipeline.web.report.names import common_folder

TOP = 10
EXAMPLES = 5
COLUMNS = ["bytes", "width", "height", "format", "taken_at", "camera", "faces", "error"]
PHOTO = ["image_id", "uri", "shard", "sha256", "bytes", "width", "height", "format", "taken_at"]


@dataclass(frozen=True)
class Failure:
    """An error code: how many photos have it, and some of them as (uri, detail)."""

    code: str
    count: int
    examples: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Indexed:
    """The photos of a lake in numbers.

    Attributes:
        folder: that all photos share.
        formats, cameras: name and count, the most frequent first.
    """

    folder: str
    images: int
    faces: int
    with_face: int
    bytes: int
    dated: int
    first: str
    last: str
    formats: Sequence[tuple[str, int]]
    cameras: Sequence[tuple[str, int]]
    failures: Sequence[Failure]
    charts: Sequence[Chart]

    @property
    def failed(self) -> int:
        """Photos that could not be used."""
        return sum(one.count for one in self.failures)


def indexed(lake: LakeStore) -> Indexed:
    """Return the figures of the whole table `images`."""
    rows = lake.read("images", COLUMNS)
    ends = pc.min_max(rows["taken_at"]).as_py()
    taken = rows["taken_at"].to_numpy()
    pixels = pc.multiply(rows["width"].cast(pa.int64()), rows["height"].cast(pa.int64()))
    megapixels = pixels.cast(pa.float64()).to_numpy(zero_copy_only=False) / 1e6
    charts = [
        timeline("Photos by date", "photos", taken),
        histogram("Photos by megapixels", "photos", megapixels, log=True),
    ]
    return Indexed(
        folder=common_folder(lake.read("images", ["uri"])["uri"]),
        images=len(rows),
        faces=pc.sum(rows["faces"]).as_py() or 0,
        with_face=pc.sum(pc.greater(rows["faces"], 0)).as_py() or 0,
        bytes=pc.sum(rows["bytes"]).as_py() or 0,
        dated=int(np.count_nonzero(~np.isnat(taken))),
        first=day(ends["min"]),
        last=day(ends["max"]),
        formats=_most(rows["format"]),
        cameras=_most(rows["camera"])[:TOP],
        failures=_failures(lake),
        charts=[chart for chart in charts if chart],
    )


def _most(column: pa.ChunkedArray) -> list[tuple[str, int]]:
    counts = Counter({one["values"]: one["counts"] for one in pc.value_counts(column).to_pylist()})
    counts.pop(None, None)
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _failures(lake: LakeStore) -> list[Failure]:
    rows = lake.read("images", ["error", "uri", "error_detail"], pc.is_valid(pc.field("error")))
    failures = []
    for code, count in _most(rows["error"]):
        some = rows.filter(pc.equal(rows["error"], code)).slice(0, EXAMPLES).to_pylist()
        examples = [(row["uri"], row["error_detail"] or "") for row in some]
        failures.append(Failure(code, count, examples))
    return failures


def photos_of(lake: LakeStore, image_ids: pa.Array) -> pa.Table:
    """Return columns `PHOTO` of some photos."""
    return lake.read("images", PHOTO, pc.field("image_id").isin(image_ids))


def day(moment: Any) -> str:
    """Return a date as people read it."""
    try:
        return f"{moment:%Y-%m-%d}" if moment is not None else ""
    except ValueError:  # years that Python cannot format
        return str(moment)
