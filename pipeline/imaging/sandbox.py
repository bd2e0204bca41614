"""Decodes in a child process, so that no image can crash, stop or fill the calling process.

Native decoders read strangers' bytes. One may crash, hang, or take all memory; here that costs one
child process, and the image gets an error like any other.
"""

import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from typing import Protocol

import numpy as np

from pipeline.errors import ErrorCode, ImageError, ResourceError
from pipeline.imaging.decode import MAX_DETAIL_CHARACTERS
from pipeline.imaging.memory import MALLOC
from pipeline.imaging.pillow import PLUGINS
from pipeline.imaging.protocol import (
    Message,
    ProtocolError,
    fill,
    put_bytes,
    receive,
    send,
    shared_file,
)
from pipeline.imaging.record import Decoded, Fingerprint, received

# A child starts in half a second; a node that swaps or starts a hundred workers takes its time.
START_TIMEOUT_S = 120
START_ATTEMPTS = 3
# Between the closing of a process's pipes and its end.
DEATH_S = 10
# The shared file is kept between images up to this size: warm pages take half the time of new
# ones, and this holds a photo of 20 megapixels.
KEPT_BYTES = 64 * 2**20
# A child gives freed memory back beyond this; glibc's own 128 KiB makes every image pay for its
# pages again. Half a gigabyte, as in `memory`, would be kept by a process that may idle.
TRIM_BYTES = 128 * 2**20

FORMATS = frozenset({*PLUGINS, "JPEG", "MPO"})

# After these errors the child has ended, or must end.
_ENDING = frozenset({ErrorCode.CRASHED, ErrorCode.TIMEOUT, ErrorCode.OUT_OF_MEMORY})


class Limits(Protocol):
    """What one image may cost, as `DecodeConfig` has it."""

    @property
    def max_pixels(self) -> int:
        """Width times height, checked before memory is taken."""

    @property
    def timeout_s(self) -> float:
        """Wall time of one image."""

    @property
    def memory_bytes(self) -> int:
        """What the child may take beyond what it needs when idle, where Linux can limit it."""

    @property
    def side(self) -> int | None:
        """As of `decode`."""


class Sandbox:
    """Decodes and hashes images, one at a time, in a child process that is started when needed.

    Threads may share it and take turns. A process that forks leaves the child to its parent.
    """

    module = "pipeline.imaging.worker"

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._ended = weakref.finalize(self, lambda: None)

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child; the next `decode` starts another."""
        with self._lock:
            self._end()

    @property
    def pid(self) -> int | None:
        """The child's process id, None while there is no child."""
        child = self._child
        return child.process.pid if child is not None and child.is_alive() else None

    def decode(self, data: bytes | memoryview) -> tuple[Decoded, Fingerprint]:
        """Return the image and what is kept of its pixels; see `decode` and `fingerprint`.

        Raises:
            ImageError: what `decode` raises, and TIMEOUT, CRASHED, OUT_OF_MEMORY.
            ResourceError: no child can be started.
        """
        with self._lock:
            while True:
                child = self._ready()
                was_fresh, child.fresh = child.fresh, False
                try:
                    return child.decode(data)
                except ImageError as error:
                    if error.code not in _ENDING:
                        raise
                    self._end()
                    # An earlier image may have left the child damaged or full, or the system may
                    # have ended it: only in a child of its own is an image to blame.
                    if was_fresh or error.code == ErrorCode.TIMEOUT:
                        raise
                except BaseException:  # Ctrl-C and the like: an answer is still under way
                    self._end()
                    raise

    def _ready(self) -> "_Child":
        if self._child is not None and not self._child.is_alive():
            self._end()
        if self._child is None:
            self._child = _start(self.module, self.limits)
            self._ended = weakref.finalize(self, self._child.end)
        return self._child

    def _end(self) -> None:
        self._ended()
        self._child = None


def _start(module: str, limits: Limits) -> "_Child":
    problem = ""
    for attempt in range(START_ATTEMPTS):
        time.sleep(attempt)
        try:
            return _Child(module, limits)
        except (OSError, ProtocolError) as error:
            problem = str(error) or type(error).__name__
    raise ResourceError(
        f"No process for decoding can be started: {problem}; check that the node has memory and "
        f"processes left, and that {sys.executable} -c 'import {module}' works"
    )


class _Child:
    """One worker process, with its pipes and the shared file."""

    def __init__(self, module: str, limits: Limits) -> None:
        self.limits = limits
        self.fresh = True
        self.parent = os.getpid()
        self.shared = shared_file()
        try:
            self.process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [sys.executable, "-P", "-m", module, str(self.shared)],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[self.shared],
                env=_environment(),
                start_new_session=True,  # a terminal's Ctrl-C is for the parent
            )
        except BaseException:
            os.close(self.shared)
            raise
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.requests = self.process.stdin.fileno()
        self.replies = self.process.stdout.fileno()
        try:
            names = ("max_pixels", "timeout_s", "memory_bytes", "side")
            send(self.requests, {name: getattr(limits, name) for name in names})
            if receive(self.replies, START_TIMEOUT_S) != {"ready": True}:
                raise OSError(f"it {self._last_words()}")
        except BaseException:
            self.end()
            raise

    def is_alive(self) -> bool:
        return self.parent == os.getpid() and self.process.poll() is None

    def end(self) -> None:
        """Kill and reap the process, unless it is another's, and close everything."""
        if self.parent == os.getpid():
            self.process.kill()
            self.process.wait()
        else:
            self.process.returncode = 0
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        os.close(self.shared)

    def decode(self, data: bytes | memoryview) -> tuple[Decoded, Fingerprint]:
        """Have one image decoded; after an error of `_ENDING` this child is of no use."""
        timeout_s = self.limits.timeout_s
        try:
            put_bytes(self.shared, data)
            send(self.requests, {"bytes": memoryview(data).nbytes})
            reply = receive(self.replies, timeout_s)
            if reply is None:
                raise self._death()
            return self._result(reply)
        except BrokenPipeError:
            raise self._death() from None
        except TimeoutError:
            raise ImageError(
                ErrorCode.TIMEOUT, f"decoding took more than {timeout_s:g} s"
            ) from None
        except (ProtocolError, ValueError, TypeError, KeyError, OverflowError) as error:
            raise ImageError(
                ErrorCode.CRASHED, "the decoder's process answered nonsense"
            ) from error
        except OSError as error:  # the shared file has no room
            raise ImageError(ErrorCode.OUT_OF_MEMORY, f"not enough memory: {error}") from error
        finally:
            if os.fstat(self.shared).st_size > KEPT_BYTES:
                os.ftruncate(self.shared, 0)

    def _result(self, reply: Message) -> tuple[Decoded, Fingerprint]:
        """Check what the child says, as if it meant harm, and fetch the pixels."""
        if "error" in reply:
            detail = reply["detail"]
            if not isinstance(detail, str) or len(detail) > MAX_DETAIL_CHARACTERS:
                raise ProtocolError("detail")
            raise ImageError(ErrorCode(reply["error"]), detail)
        image = received(Decoded, reply)
        height, width, reduced = image["height"], image["width"], image["reduced"]
        if height * width > self.limits.max_pixels or reduced not in (1, 2, 4, 8):
            raise ProtocolError("size")
        if image["format"] not in FORMATS:
            raise ProtocolError("format")
        marks = Fingerprint(**received(Fingerprint, reply))
        pixels = np.empty((-(-height // reduced), -(-width // reduced), 3), np.uint8)
        if not fill(self.shared, pixels.data):
            raise ProtocolError("fewer pixels than promised")
        return Decoded(pixels, **image), marks

    def _death(self) -> ImageError:
        words = self._last_words()
        if self.process.returncode == -signal.SIGKILL:
            return ImageError(
                ErrorCode.OUT_OF_MEMORY, f"the decoder {words}, most likely for want of memory"
            )
        return ImageError(ErrorCode.CRASHED, f"the decoder {words}")

    def _last_words(self) -> str:
        """Wait for a process whose pipe has closed, and say how it ended."""
        try:
            code = self.process.wait(DEATH_S)
        except subprocess.TimeoutExpired:
            return "closed its pipes"
        if code >= 0:
            return f"ended with status {code}"
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:  # a real-time signal
            return f"was ended by signal {-code}"


def _environment() -> dict[str, str]:
    # -P keeps the current folder out; an empty entry of sys.path means that folder
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    limits = MALLOC | {"MALLOC_TRIM_THRESHOLD_": str(TRIM_BYTES)}
    return {**os.environ, **limits, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
