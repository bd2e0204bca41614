"""The messages between `Sandbox` and its worker process.

Messages are JSON objects behind their length, one at a time each way, through pipes. Encoded bytes
and pixels lie in one file in memory that both hold. It is read and written, never mapped: a worker
that shortens it makes a short read here, where a mapping would end this process.

A worker may be in the hands of the image that it decoded. So nothing here unpickles, trusts a
length, or waits without end.
"""

import json
import os
import select
import struct
import tempfile
import time
from typing import Any

LENGTH = struct.Struct("<I")
# The longest is an error of `MAX_DETAIL_CHARACTERS`, each at most 12 bytes as JSON writes it.
MAX_MESSAGE_BYTES = 8192

Message = dict[str, Any]


class ProtocolError(Exception):
    """The other side did not keep to the protocol."""


def shared_file() -> int:
    """Return the descriptor of a new file that has no name; in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("facelake-image")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def send(pipe: int, message: Message) -> None:
    """Write one message.

    Raises:
        BrokenPipeError: the other side is gone.
    """
    body = json.dumps(message).encode()
    rest = memoryview(LENGTH.pack(len(body)) + body)
    while rest:
        rest = rest[os.write(pipe, rest) :]


def receive(pipe: int, timeout_s: float | None = None) -> Message | None:
    """Return the next message, None when the other side is gone.

    Raises:
        TimeoutError: nothing whole came in time.
        ProtocolError: what came is no message.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    data = b""
    while True:
        if deadline is not None:
            _wait(pipe, deadline)
        more = os.read(pipe, LENGTH.size + MAX_MESSAGE_BYTES)
        if not more:
            return None
        data += more
        if len(data) < LENGTH.size:
            continue
        missing = LENGTH.size + LENGTH.unpack_from(data)[0] - len(data)
        if missing < 0 or len(data) + missing > LENGTH.size + MAX_MESSAGE_BYTES:
            raise ProtocolError("a message of a wrong length")
        if missing == 0:
            return _parsed(data[LENGTH.size :])


def _wait(pipe: int, deadline: float) -> None:
    poll = select.poll()  # select() fails above descriptor 1023
    poll.register(pipe, select.POLLIN)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError


def _parsed(body: bytes) -> Message:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("a message that is no JSON") from error
    if not isinstance(message, dict):
        raise ProtocolError("a message that is no object")
    return message


def put_bytes(file: int, data: bytes | memoryview) -> None:
    """Write all of `data` to the start of the shared file."""
    rest, at = memoryview(data).cast("B"), 0
    while rest:
        done = os.pwrite(file, rest, at)
        rest, at = rest[done:], at + done


def get_bytes(file: int, size: int) -> bytes:
    """Return the first `size` bytes of the shared file."""
    data = os.pread(file, size, 0)
    while len(data) < size and (more := os.pread(file, size - len(data), len(data))):
        data += more  # the system gives 2 GB at a time
    return data


def fill(file: int, target: memoryview) -> bool:
    """Copy the start of the shared file over all of `target`; False when it is too short."""
    rest, at = target.cast("B"), 0
    while rest:
        done = os.preadv(file, [rest], at)
        if done == 0:
            return False
        rest, at = rest[done:], at + done
    return True
