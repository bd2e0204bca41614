"""Shows the progress of a run: a live bar on a terminal, plain lines in a job log."""

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from pipeline.commands.interrupts import Interrupts
from pipeline.commands.output import duration, say
from pipeline.executor.progress import Watch
from pipeline.lake import checkpoints

LINE_EVERY_S = 10


class Live(Watch):
    """Shows the progress of an indexing run, and handles Ctrl-C; use as a context manager.

    Args:
        plain: print lines instead of drawing, whatever the terminal.
    """

    def __init__(self, console: Console, plain: bool) -> None:
        super().__init__()
        self.console = console
        self._interrupts = Interrupts()
        self._last_line = self.began
        self._last_text = ""
        self._bar: Progress | None = None
        if console.is_terminal and not plain:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.fields[text]}"),
                console=console,
            )
            self._task = self._bar.add_task("looking at what is there", total=1.0, text="")

    def __enter__(self) -> "Live":
        if self._bar:
            self._bar.start()
        self._interrupts.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._interrupts.__exit__()
        if self._bar:
            self._bar.stop()

    def planned(self, images: int | None, size: int) -> None:
        """Hear how much there is to do."""
        super().planned(images, size)
        self.began = time.monotonic()

    def step(self, text: str, done: int = 0, total: int = 0) -> None:
        """Show what is going on before the first part is written."""
        if self._bar:
            share = done / total if total else 0.0
            self._bar.update(self._task, description=text, completed=share)
        elif text != self._last_text:
            self._last_text = text
            say(self.console, text)
        self._interrupts.check()

    def part(self, result: Mapping[str, Any]) -> None:
        """Count one published part and show it."""
        self.tally.add(result)
        share = self.share()
        if self._bar:
            self._bar.update(self._task, description="indexing", completed=share, text=self.line())
        elif time.monotonic() - self._last_line >= LINE_EVERY_S:
            self._last_line = time.monotonic()
            say(self.console, f"{share:4.0%} {self.line()}")
        self._interrupts.check()

    def stopping(self) -> None:
        """Ignore a second Ctrl-C while the lake is left tidy."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def finished(self) -> None:
        """Show that nothing is left: estimates from sizes seldom end at exactly 100 %."""
        if self._bar and self.tally.parts:
            self._bar.update(self._task, completed=1.0, text=self.line(left=False))
        elif self.tally.parts:
            say(self.console, f"100% {self.line(left=False)}")

    def line(self, left: bool = True) -> str:
        """Return counts, speed and errors, and with `left` the time that is left."""
        elapsed = max(1e-6, time.monotonic() - self.began)
        share = self.share()
        time_left = elapsed * (1 - share) / share if share > 0 else 0
        errors = ", ".join(f"{n} {code}" for code, n in sorted(self.tally.errors.items()))
        return (
            f"{self.tally.images:,} images ({self.tally.images / elapsed:.1f}/s), "
            f"{self.tally.faces:,} faces, {errors or 'no errors'}"
            + (f", {duration(time_left)} left" if left else "")
        )


@contextmanager
def steps(console: Console) -> Iterator[checkpoints.Progress]:
    """Give a function that shows the steps of a job in one line."""
    with console.status("reading the lake") as status:
        yield lambda step, done, total: status.update(f"{step} {done} of {total}")


@contextmanager
def bar(console: Console) -> Iterator[checkpoints.Progress]:
    """Give a function that draws a bar with what it is told; lines where there is no terminal.

    The step of a line may change with every call, as the loss of a training does.
    """
    if not console.is_terminal:
        yield _lines(console)
        return
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"), TimeRemainingColumn(), console=console,
    ) as drawn:  # fmt: skip
        task = drawn.add_task("reading the lake", total=None)
        yield lambda step, done, total: drawn.update(
            task, description=step, completed=done, total=total or None
        )


def _lines(console: Console) -> checkpoints.Progress:
    """Return what prints a line now and then, with the time that is left."""
    last = -float(LINE_EVERY_S)
    begun, first, whole = 0.0, 0, -1  # of the work whose total was told last

    def line(step: str, done: int, total: int) -> None:
        nonlocal last, begun, first, whole
        now = time.monotonic()
        if total != whole:
            begun, first, whole = now, done, total
        if now - last >= LINE_EVERY_S or done == total:
            last = now
            left = (now - begun) * (total - done) / (done - first) if first < done < total else 0
            say(console, f"{step} ({done:,} of {total:,}"
                + (f", {duration(left)} left)" if left else ")"))  # fmt: skip

    return line
