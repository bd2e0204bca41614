"""Memory that a process frees: glibc is told when to keep it and when to give it back."""

import ctypes
import time

# Without these, freeing decoded images one by one makes glibc give memory back and take it again:
# decoding took twice the time. They work only if set before a worker starts.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "67108864", "MALLOC_TRIM_THRESHOLD_": "536870912"}
_MALLOPT = {"MALLOC_MMAP_THRESHOLD_": -3, "MALLOC_TRIM_THRESHOLD_": -1}  # of malloc.h
# Their price is a heap with holes, see `give_back`. Closing them takes 10 ms: at this pace one per
# cent, and between two times a worker grows by what a batch or two need.
GIVE_BACK_EVERY_S = 1.0
_given_back = 0.0


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
