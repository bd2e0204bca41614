"""Retries requests that remote storage failed to answer: bounded, with growing, random pauses."""

import errno
import logging
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
# Expired credentials may have been renewed in the meantime.
_EXPIRED = ("ExpiredToken", "expired", "RequestTimeTooSkewed")

_counts: Counter[str] = Counter()
_counts_lock = Lock()


def is_lasting(error: BaseException) -> bool:
    """Return whether trying again is pointless."""
    if any(sign in str(error) for sign in _EXPIRED):
        return False
    return isinstance(error, _LASTING) or getattr(error, "errno", None) in _LASTING_NUMBERS


def attempt(call: Callable[[], T]) -> T:
    """Return what `call` returns, trying again after failures that may pass.

    Pauses double from a quarter of a second, each with full jitter (Brooker, "Exponential Backoff
    And Jitter", 2015), so that a thousand workers do not come back at once.

    Raises:
        Whatever `call` raised last.
    """
    for number in range(1, ATTEMPTS + 1):
        try:
            return call()
        except Exception as error:  # back ends raise trees of their own
            if number == ATTEMPTS or is_lasting(error):
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
