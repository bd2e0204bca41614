"""Shows how a run gets on: a live bar on a terminal, plain lines in a job log."""

import json
import logging
import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from pipeline.executor.performance import StageTimes

LINE_EVERY_S = 10
logger = logging.getLogger(__name__)


class Tally:
    """What a run has done so far.

    Attributes:
        images, faces, with_face, bytes: written by this run.
        errors: images by error code.
        retries: how often storage was asked again to write, by kind of failure.
        work: what each stage spent.
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


class Live:
    """Progress of a run; use as a context manager.

    Args:
        images: how many there are to do, None when shards hide the number.
        size: encoded bytes to do; tells the share done when `images` is None.
        plain: print lines instead of drawing, whatever the terminal.
    """

    def __init__(self, console: Console, images: int | None, size: int, plain: bool) -> None:
        self.console = console
        self.tally = Tally()
        self._images, self._size = images, size
        self._began = time.monotonic()
        self._last = self._began
        self._bar: Progress | None = None
        if console.is_terminal and not plain:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.fields[text]}"),
                console=console,
            )
            self._task = self._bar.add_task("starting", total=1.0, text="")

    def __enter__(self) -> "Live":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def status(self, text: str) -> None:
        """Say what is going on before the first part is written."""
        if self._bar:
            self._bar.update(self._task, description=text)
        else:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def add(self, result: Mapping[str, Any]) -> None:
        """Count one published part and show it."""
        self.tally.add(result)
        share = self.share()
        if self._bar:
            self._bar.update(self._task, description="indexing", completed=share, text=self.line())
        elif time.monotonic() - self._last >= LINE_EVERY_S:
            self._last = time.monotonic()
            self.console.print(f"{share:4.0%} {self.line()}", highlight=False, soft_wrap=True)

    def done(self) -> None:
        """Show that nothing is left: estimates from sizes seldom end at exactly 100 %."""
        if self._bar and self.tally.parts:
            self._bar.update(self._task, completed=1.0, text=self.line(left=False))
        elif self.tally.parts:
            self.console.print(f"100% {self.line(left=False)}", highlight=False, soft_wrap=True)

    def share(self) -> float:
        """Return how much is done, from 0 to 1."""
        if self._images is not None:
            return min(1.0, self.tally.images / max(1, self._images))
        return min(1.0, self.tally.bytes / max(1, self._size))

    def line(self, left: bool = True) -> str:
        """Return counts, speed, errors and, while some is left, the time that it takes."""
        elapsed = max(1e-6, time.monotonic() - self._began)
        share = self.share()
        rest = elapsed * (1 - share) / share if share > 0 else 0
        errors = ", ".join(f"{n} {code}" for code, n in sorted(self.tally.errors.items()))
        return (
            f"{self.tally.images:,} images ({self.tally.images / elapsed:.1f}/s), "
            f"{self.tally.faces:,} faces, {errors or 'no errors'}"
            + (f", {duration(rest)} left" if left else "")
        )


def duration(seconds: float) -> str:
    """Return seconds as a person says it: 42 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
