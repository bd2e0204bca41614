"""Settings of glibc's allocator: when a process keeps freed memory, and when it gives it back."""

import ctypes
import time

# Without these, glibc gives memory back and takes it again for each decoded image: decoding took
# twice the time. They work only if set before a worker starts.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "67108864", "MALLOC_TRIM_THRESHOLD_": "536870912"}
_MALLOPT = {"MALLOC_MMAP_THRESHOLD_": -3, "MALLOC_TRIM_THRESHOLD_": -1}  # of malloc.h
_ARENA_MAX = -8
# They cost holes in the heap, see `give_back`. To close these takes 10 ms: one per cent of the time
# at this pace. In between, a worker grows by what a batch or two need.
GIVE_BACK_EVERY_S = 1.0
_given_back = 0.0


def tune() -> None:
    """Let this process, already started, keep freed memory as a worker does under `MALLOC`.

    Does nothing without glibc.
    """
    for name, parameter in _MALLOPT.items():
        _set(parameter, int(MALLOC[name]))


def share_heaps(most: int = 2) -> None:
    """Let the threads of this process share so many heaps, where each would get one of its own.

    A server's threads read tables in turn, and each heap keeps the holes of the largest. Does
    nothing without glibc.
    """
    _set(_ARENA_MAX, most)


def _set(parameter: int, value: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(parameter, value)


def give_back() -> None:
    """Return the heap's unused pages to the system, unless that was done a moment ago.

    What torch keeps for each new number of crops (oneDNN's primitives) is allocated between large
    tensors. Once those are freed, the holes seldom fit the next batch, and the heap grows: over
    thousands of images to more than twice what a worker needs. Does nothing without glibc.
    """
    global _given_back
    now = time.monotonic()
    if now - _given_back >= GIVE_BACK_EVERY_S:
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim:
            trim(0)
        _given_back = time.monotonic()
