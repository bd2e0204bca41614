"""The child process of a `Sandbox`: decodes and hashes one image at a time, within limits.

Run as `python -m pipeline.imaging.worker FD`, with requests on standard input, replies on standard
output, and the shared file at descriptor FD.

It ends when its parent does: its input closes, and an image under way has an alarm. (Linux could
tie it to its parent directly, but means the parent's thread by that.)
"""

import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from pipeline.errors import ErrorCode, ImageError
from pipeline.imaging.decode import MAX_DETAIL_CHARACTERS, decode
from pipeline.imaging.fingerprint import fingerprint
from pipeline.imaging.protocol import Message, get_bytes, put_bytes, receive, send
from pipeline.imaging.record import Decoded, sent

# The parent kills a late worker; the alarm is for a worker that has no parent any more.
ALARM_GRACE_S = 5

# A decoder that gets no memory may call the data damaged (OpenJPEG: "broken data stream"). Where an
# image took more than this share of what it may, memory is blamed; in a worker that had other
# images before, `Sandbox` then asks once more.
BLAMED_SHARE = 0.5

DecodeFunction = Callable[[bytes, int, int | None], Decoded]


def main(decode: DecodeFunction = decode) -> None:
    """Answer requests until there are no more."""
    shared = int(sys.argv[1])
    requests, replies = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):  # whatever a native library prints
        os.dup2(nowhere, stream)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    with suppress(BrokenPipeError):  # the parent is gone
        limits = receive(requests)
        if limits is None:
            return
        fingerprint(np.zeros((8, 8, 3), np.uint8))  # what it allocates once is no image's
        base = confine(limits["memory_bytes"], limits["max_pixels"] * 3)
        send(replies, {"ready": True})
        while (request := receive(requests)) is not None:
            signal.setitimer(signal.ITIMER_REAL, limits["timeout_s"] + ALARM_GRACE_S)
            reply = answer(decode, shared, request["bytes"], limits["max_pixels"], limits["side"])
            signal.setitimer(signal.ITIMER_REAL, 0)
            suspicious = base + limits["memory_bytes"] * BLAMED_SHARE
            if reply.get("error") == ErrorCode.CORRUPT.value and memory_peak() > suspicious:
                reply["error"] = ErrorCode.OUT_OF_MEMORY.value
            send(replies, reply)


def confine(memory_bytes: int, file_bytes: int) -> int:
    """Limit what this process may take from now on; return the bytes that it has taken.

    The limit on address space is Linux's; elsewhere there is none.
    """
    base = 0
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, file_bytes)  # of the shared file, in memory
    with suppress(OSError):
        base = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _lower(resource.RLIMIT_AS, base + memory_bytes)
    with suppress(OSError):  # when a node runs out of memory, the kernel should choose this one
        Path("/proc/self/oom_score_adj").write_text("1000")
    return base


def memory_peak() -> int:
    """Return the largest address space, in bytes, that this process ever had; 0 if unknown."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmPeak:"):
                return int(line.split()[1]) * 1024
    return 0


def _lower(kind: int, limit: int) -> None:
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(kind, (limit, limit))


def answer(
    decode: DecodeFunction, shared: int, size: int, max_pixels: int, side: int | None
) -> Message:
    """Decode what lies in the shared file, leave the pixels there, and return what is known."""
    try:
        image = decode(get_bytes(shared, size), max_pixels, side)
        marks = fingerprint(image.pixels, (image.height, image.width))
        put_bytes(shared, image.pixels.data)
    except ImageError as error:
        return {"error": error.code.value, "detail": error.detail[:MAX_DETAIL_CHARACTERS]}
    except (MemoryError, OSError) as error:  # OSError: no room for the shared file
        return {
            "error": ErrorCode.OUT_OF_MEMORY.value,
            "detail": f"not enough memory for the pixels: {error}"[:MAX_DETAIL_CHARACTERS],
        }
    return sent(image, marks)


if __name__ == "__main__":
    main()
