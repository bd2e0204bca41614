"""Environment variables that Ray and glibc read when they start; nothing of Ray is imported."""

import ctypes
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Without these, freeing decoded images one by one makes glibc give memory back and take it again:
# decoding took twice the time. They work only if set before a worker starts.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "67108864", "MALLOC_TRIM_THRESHOLD_": "536870912"}
_MALLOPT = {"MALLOC_MMAP_THRESHOLD_": -3, "MALLOC_TRIM_THRESHOLD_": -1}  # of malloc.h
# Their price is a heap with holes, see `give_back`. Closing them takes 10 ms: at this pace one per
# cent, and between two times a worker grows by what a batch or two need.
GIVE_BACK_EVERY_S = 1.0
# Ray ends a worker that had nothing to do for a second. Parts are written some seconds apart: each
# would start a process anew, which takes longer than the writing. Much longer, and workers that
# nobody needs any more would stay.
IDLE_WORKER_S = 30
_given_back = 0.0


def prepare(verbose: bool = False) -> None:
    """Set what must be set before `import ray`; what the user has set is kept.

    No usage data is sent, and a cluster that this process starts for itself answers only to a
    random token that lives in the environment of its own processes.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", f"{1000 * IDLE_WORKER_S}")
    private = "RAY_ADDRESS" not in os.environ and "RAY_AUTH_MODE" not in os.environ
    if private and "ray" not in sys.modules:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    if not verbose:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        config = Path(__file__).with_name("ray-data-logging.yaml")
        os.environ.setdefault("RAY_DATA_LOGGING_CONFIG", str(config))
    for name, value in MALLOC.items():
        os.environ.setdefault(name, value)


def tune() -> None:
    """Let this process, already started, keep freed memory as a worker does under `MALLOC`.

    Does nothing without glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        for name, parameter in _MALLOPT.items():
            mallopt(parameter, int(MALLOC[name]))


def give_back() -> None:
    """Return the heap's unused pages to the system, unless that was done a moment ago.

    What torch keeps for each new number of crops (oneDNN's primitives) comes to lie between large
    tensors. Once those are freed the holes seldom fit the next batch, and the heap grows: for
    thousands of images, to more than twice of what a worker needs. Does nothing without glibc.
    """
    global _given_back
    now = time.monotonic()
    if now - _given_back >= GIVE_BACK_EVERY_S:
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim:
            trim(0)
        _given_back = time.monotonic()


@contextmanager
def quiet_stderr(active: bool = True) -> Iterator[None]:
    """Keep what native code writes to standard error to itself, unless an exception ends it.

    Ray's C++ layer announces its log level there, past Python's logging.
    """
    if not active:
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except BaseException:
            aside.seek(0)
            os.write(kept, aside.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
