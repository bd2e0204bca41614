"""A small web server on loopback that behaves badly on purpose."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHUNK = b"\xff" * 2**16


class BadServer(ThreadingHTTPServer):
    """Serves `files` by path; what other paths do is told by their first part.

    `/endless/..` never ends, `/stall/..` sends half and no more, `/silent/..` never answers,
    `/drip/..` sends a byte now and then, `/status/N/..` answers N, `/secret/..` wants a header.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.key = "007"
        self.asked: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, address) -> None:
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: BadServer

    def do_GET(self) -> None:
        path = self.path
        self.server.asked[path] += 1
        kind, _, rest = path.lstrip("/").partition("/")
        data = self.server.files.get(path, b"x" * 1000)
        with suppress(OSError):
            if kind == "endless":
                self.body(None, iter(lambda: CHUNK, None))
            elif kind == "stall":
                self.body(len(data), iter([data[: len(data) // 2]]))
                self.server.over.wait(600)
            elif kind == "silent":
                self.server.over.wait(600)
            elif kind == "drip":
                self.body(len(data), self.drops(data))
            elif kind == "status":
                self.answer(int(rest.split("/")[0]))
            elif kind == "secret" and self.headers.get("X-Api-Key") != self.server.key:
                self.answer(401)
            elif path in self.server.files:
                self.body(len(data), iter([data]))
            else:
                self.answer(404)

    def drops(self, data: bytes) -> Iterator[bytes]:
        for byte in data:
            yield bytes([byte])
            time.sleep(0.05)

    def answer(self, status: int) -> None:
        page = b"<html>an error</html>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(page)))
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(page)

    def body(self, length: int | None, pieces: Iterator[bytes]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        if length is None:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        for piece in pieces:
            if self.server.over.is_set():
                return
            self.wfile.write(piece)
            self.server.sent[self.path] += len(piece)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def bad_server(files: dict[str, bytes]) -> Iterator[BadServer]:
    """Give a running server."""
    server = BadServer(files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
