"""Slow, endless and enormous requests, over real sockets on loopback."""

import asyncio
import re
import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from pipeline.web.http import forms
from pipeline.web.http.connections import Connection
from pipeline.web.review import settings
from pipeline.web.review.guard import MOST_UPLOADS, Guard
from tests.support.bombs import jpeg_bomb, png_bomb
from tests.support.review_lakes import review_lake
from tests.support.served import TOKEN, served

HEAD = b"Host: 127.0.0.1\r\n"


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slow")
    review_lake(folder, people=2, each=3)
    return folder / "lake"


@pytest.fixture
def address(lake):
    with served(lake) as url:
        yield urlsplit(url).hostname, urlsplit(url).port


def connect(address, sent=b""):
    made = socket.create_connection(address, 20)
    made.sendall(sent)
    return made


def answer(made):
    """Return the status and the text of an answer, read to the end of the connection."""
    with made, made.makefile("rb") as got:
        text = got.read()
    return int(text.split()[1]), text.decode("latin-1")


def ask(address, method, path, head=b"", body=b""):
    sent = f"{method} {path} HTTP/1.1\r\n".encode() + HEAD + b"Connection: close\r\n" + head
    return answer(connect(address, sent + b"\r\n" + body))


def ended(made):
    with made, suppress(ConnectionResetError):
        return made.recv(1) == b""
    return True


def enter(address):
    """Return the headers of one who may come in, and the secret of the forms."""
    _, text = ask(address, "GET", f"/?token={TOKEN}")
    cookie = re.search(r"set-cookie: ([^;]+)", text)[1]
    head = f"Cookie: {cookie}\r\n".encode()
    _, text = ask(address, "GET", "/search", head)
    return head, re.search(r'name="csrf" value="([^"]+)"', text)[1]


@pytest.fixture
def head(address):
    return enter(address)


def picture(csrf, data):
    body = (
        f'--b\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n{csrf}\r\n--b\r\n'
        'Content-Disposition: form-data; name="picture"; filename="x"\r\n\r\n'
    ).encode()
    body += data + b"\r\n--b--\r\n"
    return b"Content-Type: multipart/form-data; boundary=b\r\n", body  # fmt: skip


def test_connections_that_say_nothing_make_room(monkeypatch, address):
    monkeypatch.setattr(Connection, "most", 20)
    slow = [connect(address, b"GET / HTTP/1.1\r\nX: ") for _ in range(60)]
    assert ask(address, "GET", "/")[0] == 403
    assert all(map(ended, slow[:40]))
    for one in slow[40:]:
        one.close()


@pytest.mark.parametrize("sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /"])  # fmt: skip
def test_a_head_that_does_not_come_ends_the_connection(monkeypatch, address, sent):
    monkeypatch.setattr(Connection, "wait_s", 0.3)
    with connect(address, sent) as made, suppress(ConnectionResetError):
        while made.recv(1 << 16):
            pass


def test_an_answer_that_nobody_takes_ends(monkeypatch, lake):
    gone, lost, size = threading.Event(), Connection.connection_lost, 40 << 20

    def ends(self, error):
        if self.client == reader.getsockname():
            gone.set()
        lost(self, error)

    monkeypatch.setattr("pipeline.web.pages.css", lambda: "x" * size)
    with served(lake) as url:
        to = urlsplit(url).hostname, urlsplit(url).port
        head, _ = enter(to)
        monkeypatch.setattr(Connection, "wait_s", 0.3)
        with connect(to) as reader:
            monkeypatch.setattr(Connection, "connection_lost", ends)
            reader.sendall(b"GET /static/review.css HTTP/1.1\r\n" + HEAD + head + b"\r\n")
            assert gone.wait(30)
            with suppress(ConnectionResetError), reader.makefile("rb") as got:
                assert len(got.read()) < size


def test_a_body_that_does_not_come_is_refused(monkeypatch, address, head):
    monkeypatch.setattr(forms, "BODY_S", 0.3)
    kind, _ = picture("", b"")
    assert (
        ask(address, "POST", "/search", head[0] + kind + b"Content-Length: 9\r\n", b"-")[0] == 408
    )


@pytest.mark.parametrize("size", [10 << 30, 10**40])
def test_a_body_that_claims_to_be_enormous_is_not_read(address, head, size):
    kind, _ = picture("", b"")
    length = f"Content-Length: {size}\r\n".encode()
    assert ask(address, "POST", "/search", head[0] + kind + length)[0] in (400, 413)


def test_a_body_without_end_is_cut(monkeypatch, address, head):
    monkeypatch.setattr("pipeline.web.review.guard.UPLOAD_BYTES", 1 << 20)
    kind, _ = picture("", b"")
    chunks = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
    sent = head[0] + kind + b"Transfer-Encoding: chunked\r\n"
    assert ask(address, "POST", "/search", sent, chunks * 17)[0] == 413


def test_two_pictures_are_taken_at_a_time():
    inside, most, release = [0], [0], asyncio.Event()

    async def app(scope, receive, send):
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        if inside[0] == MOST_UPLOADS:
            release.set()
        await release.wait()
        await asyncio.sleep(0)
        inside[0] -= 1

    config = settings.ReviewConfig("t")
    kind, body = picture(config.csrf, b"x")
    headers = [(b"host", b"localhost"), (b"content-type", kind.split(b": ")[1].strip()),
               (b"cookie", f"{config.cookie_name}={config.cookie}".encode())]  # fmt: skip

    async def receive():
        return {"type": "http.request", "body": body}

    async def all_at_once():
        guard = Guard(app, config)
        scope = {"type": "http", "method": "POST", "path": "/search", "headers": headers}
        await asyncio.gather(*(guard({**scope}, receive, None) for _ in range(7)))

    asyncio.run(all_at_once())
    assert (inside, most) == ([0], [MOST_UPLOADS])


@pytest.mark.parametrize("data", [jpeg_bomb(), png_bomb(60_000)], ids=["jpeg", "png"])
def test_bombs_that_are_dropped_are_refused_before_they_are_decoded(address, head, data):
    kind, body = picture(head[1], data)
    length = f"Content-Length: {len(body)}\r\n".encode()
    status, text = ask(address, "POST", "/search", head[0] + kind + length, body)
    assert status == 400
    assert "too_large" in text
