"""How an indexing run gets on: what it has done so far, and who is told."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.executor.performance import StageTimes
from pipeline.lake.checkpoints import Progress


class Tally:
    """What a run has done so far.

    Attributes:
        images, faces, with_face, bytes: written by this run.
        errors: images by error code.
        retries: how often storage was asked again to write, by kind of failure.
        times: what each stage spent.
    """

    def __init__(self) -> None:
        self.images = self.faces = self.with_face = self.bytes = self.parts = 0
        self.errors: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.times = StageTimes()

    def add(self, result: Mapping[str, Any]) -> None:
        """Count one published part, a row of `stages.write.RESULT`."""
        self.parts += 1
        self.images += result["images"]
        self.faces += result["faces"]
        self.with_face += result["with_face"]
        self.bytes += result["bytes"]
        self.errors.update(json.loads(result["errors"]))
        self.retries.update(json.loads(result["retries"]))
        self.times.add(result["timing"])

    def recount(self, images: pa.Table) -> None:
        """Count again from the rows that the run wrote (faces, error); for one that was cut."""
        self.images = len(images)
        self.faces = pc.sum(images["faces"]).as_py() or 0
        self.with_face = pc.sum(pc.greater(images["faces"], 0)).as_py() or 0
        self.errors = Counter(code for code in images["error"].to_pylist() if code)


class Watch:
    """Somebody who is told how a run gets on; this one tells a callback, if there is one.

    Attributes:
        tally: what was done so far.
        images: how many there are to do, None when shards hide the number.
        size: encoded bytes to do; tells the share done when `images` is None.
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self.tally = Tally()
        self.images: int | None = None
        self.size = 0
        self.began = time.monotonic()
        self._progress = progress

    def planned(self, images: int | None, size: int) -> None:
        """Hear how much there is to do."""
        self.images, self.size = images, size

    def step(self, text: str, done: int = 0, total: int = 0) -> None:
        """Hear what is going on before the first part is written."""
        if self._progress is not None:
            self._progress(text, done, total)

    def part(self, result: Mapping[str, Any]) -> None:
        """Count one published part, and tell of it."""
        self.tally.add(result)
        if self.images is not None:
            self.step("indexing", self.tally.images, self.images)
        else:
            self.step("indexing", self.tally.bytes, self.size)

    def stopping(self) -> None:
        """Hear that the run was interrupted, and will leave the lake tidy."""

    def finished(self) -> None:
        """Hear that nothing is left to do."""

    def share(self) -> float:
        """Return how much is done, from 0 to 1."""
        if self.images is not None:
            return min(1.0, self.tally.images / max(1, self.images))
        return min(1.0, self.tally.bytes / max(1, self.size))


@contextmanager
def shown(progress: Progress | bool | None) -> Iterator[Progress]:
    """Give a function that tells of progress: the one that is given, a bar for True, or nobody."""
    if callable(progress):
        yield progress
        return
    if not progress:
        yield lambda step, done, total: None
        return
    from rich.progress import Progress as Bar

    with Bar() as bar:
        task = bar.add_task("starting", total=None)
        yield lambda step, done, total: bar.update(
            task, description=step, completed=done, total=total or None
        )
