"""How long storage may take: to connect, for each read, and for a whole file."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.errors import ConfigError

T = TypeVar("T")

# Storage options that are ours, not the back end's.
CONNECT, READ, FILE = "connect_timeout", "read_timeout", "file_timeout"
OPTIONS = (CONNECT, READ, FILE)


class StallError(TimeoutError):
    """Storage did not do something in time."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that storage may take.

    Attributes:
        connect_s: to connect. It is quick or fails.
        read_s: between two pieces of an answer. A slow answer is no error.
        file_s: for a whole file, with all that is tried again.
    """

    connect_s: float = 5
    read_s: float = 60
    file_s: float = 600


def patience(options: Mapping[str, Any]) -> Patience:
    """Return the limits that storage options set.

    Raises:
        ConfigError: one of them is no positive number.
    """
    default = Patience()
    seconds = []
    for name, usual in zip(OPTIONS, (default.connect_s, default.read_s, default.file_s),
                           strict=True):  # fmt: skip
        try:
            value = float(options.get(name, usual))
        except (TypeError, ValueError):
            value = 0
        if not 0 < value < threading.TIMEOUT_MAX:
            raise ConfigError(
                f"--storage-option {name}={options[name]!r} is no number of seconds above 0"
            )
        seconds.append(value)
    return Patience(*seconds)


def start(call: Callable[[], T]) -> Future[T]:
    """Run `call` in a daemon thread: one that never ends must not hold up the exit either."""
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # handed to the caller, whatever it is
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return answer


def in_time(call: Callable[[], T], seconds: float, what: str) -> T:
    """Return what `call` returns; a call that does not come back is left alone.

    Raises:
        StallError: it took longer; `what` says what should have happened.
        Whatever `call` raised.
    """
    answer = start(call)
    try:
        return answer.result(timeout=seconds)
    except TimeoutError as error:
        if answer.done():
            raise
        raise StallError(f"{what} within {seconds:g} s") from error
