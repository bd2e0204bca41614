"""Ctrl-C that is not lost."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """Remembers that Ctrl-C was pressed, for as long as it is entered.

    Python raises KeyboardInterrupt in whatever runs at that moment. Where that is a callback of
    native code, as Ray has many, the exception is dropped and the run would go on. `check` raises
    it again. Outside the main thread, which alone hears signals, this does nothing.
    """

    def __init__(self) -> None:
        self.came = False
        self._before: Any = None
        self._hears = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> "Interrupts":
        if self._hears:
            self._before = signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self._hears:
            signal.signal(signal.SIGINT, self._before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        raise KeyboardInterrupt

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self.came:
            raise KeyboardInterrupt
