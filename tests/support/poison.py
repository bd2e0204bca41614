"""A decoder that does what no real one does on demand; `Sandbox` runs it in the worker's place."""

import fcntl
import os
import signal
import stat
import time
from contextlib import suppress

from pipeline.errors import ErrorCode, ImageError
from pipeline.imaging import worker
from pipeline.imaging.decode import decode

MAGIC = b"poison:"


def poison(what: str) -> bytes:
    """Return "image" bytes that make the decoder do `what`."""
    return MAGIC + what.encode()


def reply_pipe():
    descriptors = [int(name) for name in os.listdir("/proc/self/fd")]
    for descriptor in descriptors[3:]:
        with suppress(OSError):
            mode = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode) and mode & os.O_WRONLY:
                return descriptor
    raise AssertionError


def decode_or_die(data, max_pixels, side):
    if not data.startswith(MAGIC):
        return decode(data, max_pixels, side)
    what, _, argument = data.removeprefix(MAGIC).decode().partition(" ")
    if what == "signal":
        os.kill(os.getpid(), signal.Signals[argument])
    elif what == "exit":
        os._exit(int(argument))
    elif what == "hang":
        time.sleep(600)
    elif what == "deaf":  # a hang that holds the interpreter's lock
        sum(range(10**12))
    elif what == "hog":
        hoard = []
        while True:
            hoard.append(bytearray(1 << 24))
    elif what == "flaky":  # like a heap that an earlier image has damaged
        path = argument
        if not os.path.exists(path):
            open(path, "w").close()
            os.kill(os.getpid(), signal.SIGSEGV)
        raise ImageError(ErrorCode.CORRUPT, "second time")
    elif what == "print":
        os.write(1, b"\xff" * 100)
        raise ImageError(ErrorCode.CORRUPT, "printed")
    elif what == "say":  # the decoder's process is in somebody else's hands
        os.write(reply_pipe(), bytes.fromhex(argument))
        time.sleep(600)
    raise AssertionError(what)


if __name__ == "__main__":
    worker.main(decode_or_die)
