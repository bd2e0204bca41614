"""A proxy on loopback that puts an S3 client's storage through faults."""

import os
import random
import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)
STALL_S = 4.0


class FaultyProxy:
    """Forwards HTTP requests to `target` (host, port), some of them badly.

    Args:
        share: how many requests meet a fault, from 0 to 1.
        kinds: which faults: "503", "reset" (before an answer), "stall" (no answer, then a
            reset) and "partial" (half of an answer, then a reset).
        victim: tells by the request line whether the process that sends it is to be killed
            before the request is done; once.
    """

    def __init__(
        self,
        target: tuple[str, int],
        share: float = 0.0,
        kinds: tuple[str, ...] = ("503", "reset", "stall", "partial"),
        victim: Callable[[str], bool] | None = None,
        seed: int = 0,
    ) -> None:
        self.target, self.share, self.kinds, self.victim = target, share, kinds, victim
        self.injected: Counter[str] = Counter()
        self.requests = 0
        self._random = random.Random(seed)
        self._server = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, address = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client, address[1]), daemon=True).start()

    def _serve(self, client: socket.socket, port: int) -> None:
        with suppress(OSError), client:
            head, rest = read_head(client)
            if head:
                self._request(client, port, head, rest)

    def _request(self, client: socket.socket, port: int, head: bytes, rest: bytes) -> None:
        lines = head.split(b"\r\n")
        names = {line.split(b":", 1)[0].lower(): line.split(b":", 1)[1].strip()
                 for line in lines[1:] if b":" in line}  # fmt: skip
        if names.get(b"expect", b"").lower() == b"100-continue":
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = rest + read_exactly(client, int(names.get(b"content-length", b"0")) - len(rest))
        self.requests += 1
        line = lines[0].decode("latin-1")
        if self.victim and self.victim(line):
            self.victim = None
            self.injected["kill"] += 1
            kill_owner(port)
            reset(client)
            return
        fault = self._random.choice(self.kinds) if self._random.random() < self.share else None
        if fault:
            self.injected[fault] += 1
        if fault == "503":
            client.sendall(
                b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n"
                % len(SLOW_DOWN)
                + (b"" if line.startswith("HEAD") else SLOW_DOWN)
            )
        elif fault in ("reset", "stall"):
            time.sleep(STALL_S if fault == "stall" else 0)
            reset(client)
        else:
            self._forward(client, lines, body, half=fault == "partial")

    def _forward(self, client: socket.socket, lines: list[bytes], body: bytes, half: bool) -> None:
        kept = [x for x in lines if not x.lower().startswith((b"connection:", b"expect:"))]
        with socket.create_connection(self.target) as upstream:
            upstream.sendall(b"\r\n".join([*kept, b"Connection: close"]) + b"\r\n\r\n" + body)
            answer = b""
            while data := upstream.recv(1 << 16):
                if half:
                    answer += data
                else:
                    client.sendall(data)
            if half:
                client.sendall(answer[: len(answer) // 2])
                reset(client)


def read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """Return a request's head and what came of its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(1 << 16)
        if not more:
            return b"", b""
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def read_exactly(client: socket.socket, count: int) -> bytes:
    parts = []
    while count > 0:
        data = client.recv(min(count, 1 << 20))
        if not data:
            raise OSError("the client went away")
        parts.append(data)
        count -= len(data)
    return b"".join(parts)


def reset(client: socket.socket) -> None:
    """Close a connection with a reset instead of an end."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def kill_owner(port: int) -> None:
    """Kill the process of this machine whose socket has local `port`, as by a power cut."""
    wanted = f":{port:04X}"
    inodes = {
        fields[9]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for fields in (line.split() for line in Path(table).read_text().splitlines()[1:])
        if fields[1].endswith(wanted)
    }
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with suppress(OSError):
            links = {os.readlink(link) for link in (folder / "fd").iterdir()}
            if any(f"socket:[{inode}]" in links for inode in inodes):
                os.kill(int(folder.name), signal.SIGKILL)
                return
