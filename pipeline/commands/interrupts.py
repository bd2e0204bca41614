"""Ctrl-C that stops a run even where native code drops the exception."""

import signal
import threading
from types import FrameType
from typing import Any


class Interrupts:
    """Remembers that Ctrl-C was pressed, for as long as it is entered.

    Python raises KeyboardInterrupt in whatever runs at that moment. Where that is a callback of
    native code, as Ray has many, the exception is dropped and the run would go on. `check` raises
    it again. Outside the main thread, the only one that gets signals, this does nothing.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._previous: Any = None
        self._in_main_thread = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> "Interrupts":
        if self._in_main_thread:
            self._previous = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        if self._in_main_thread:
            signal.signal(signal.SIGINT, self._previous)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.pressed = True
        raise KeyboardInterrupt

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self.pressed:
            raise KeyboardInterrupt
