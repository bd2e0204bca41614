"""Retries requests that remote storage failed to answer: bounded, with growing, random pauses."""

import errno
import logging
import math
import random
import time
from collections import Counter
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from pipeline.errors import FacelakeError

T = TypeVar("T")
logger = logging.getLogger(__name__)

# With the back ends' own quick retries below, this spans about half a minute of trouble.
ATTEMPTS = 6
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 12.0

# Failures that the same request will meet again.
_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError,
            FileExistsError, FacelakeError, ImportError, TypeError, MemoryError)  # fmt: skip
_LASTING_NUMBERS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM,
                    errno.ENAMETOOLONG, errno.ENOENT}  # fmt: skip
# Timeout of a request, too early, too many requests: what of a server's 4xx may pass.
_PASSING = {408, 425, 429}
# Expired credentials may have been renewed in the meantime.
_EXPIRED = ("ExpiredToken", "expired", "RequestTimeTooSkewed")

_counts: Counter[str] = Counter()
_counts_lock = Lock()


def is_lasting(error: BaseException) -> bool:
    """Return whether trying again is pointless."""
    if any(sign in str(error) for sign in _EXPIRED):
        return False
    status = getattr(error, "status", None)  # of a web server
    if isinstance(status, int) and 400 <= status < 500 and status not in _PASSING:
        return True
    return isinstance(error, _LASTING) or getattr(error, "errno", None) in _LASTING_NUMBERS


def is_stall(error: BaseException) -> bool:
    """Return whether storage did not answer in time; back ends name it by trees of their own."""
    return isinstance(error, TimeoutError) or "Timeout" in type(error).__name__


def attempt(call: Callable[[], T], stalls: int = ATTEMPTS, until: float = math.inf) -> T:
    """Return what `call` returns, trying again after failures that may pass.

    A call that timed out `stalls` times is given up, and so is one after the time `until` of
    `time.monotonic`.

    Pauses double from a quarter of a second, each with full jitter (Brooker, "Exponential Backoff
    And Jitter", 2015), so that a thousand workers do not come back at once.

    Raises:
        Whatever `call` raised last.
    """
    for number in range(1, ATTEMPTS + 1):
        try:
            return call()
        except Exception as error:  # back ends raise trees of their own
            stalls -= is_stall(error)
            over = stalls <= 0 or time.monotonic() > until
            if number == ATTEMPTS or over or is_lasting(error):
                raise
            count(type(error).__name__)
            logger.info("try %d failed: %s: %s", number, type(error).__name__, error)
            longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**number)
            time.sleep(random.uniform(longest / 4, longest))  # noqa: S311  # no secret
    raise AssertionError("unreachable")


def count(kind: str) -> None:
    """Count one retry of this process."""
    with _counts_lock:
        _counts[kind] += 1


def take_counts() -> dict[str, int]:
    """Return the retries of this process by kind of failure since the last call."""
    with _counts_lock:
        counts = dict(_counts)
        _counts.clear()
    return counts
