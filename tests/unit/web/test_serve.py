"""The API: what it answers, who may ask, what it refuses, and how requests share the networks."""

import asyncio
import io
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.commands.main import main
from pipeline.errors import ConfigError
from pipeline.imaging.sandbox import Sandbox
from pipeline.web.http.access import RefusedError
from pipeline.web.http.connections import Connection
from pipeline.web.http.forms import parse
from pipeline.web.serve.app import application
from pipeline.web.serve.line import Line
from pipeline.web.serve.settings import ServeConfig
from tests.support.bombs import jpeg_bomb, png_bomb
from tests.support.poison import poison
from tests.support.serving import (
    BEARER,
    BLUE,
    DIGEST,
    GREEN,
    GREY,
    JPEG,
    RED,
    TOKEN,
    Detector,
    client,
    on_loopback,
    photo,
    started,
)
from tests.support.web import Client

RECOGNISE, VERIFY, HEALTH, METRICS = "/v1/recognise", "/v1/verify", "/v1/health", "/v1/metrics"


@pytest.fixture(scope="module")
def api():
    with client() as made:
        yield made


def recognise(api, data, **headers):
    return api.request("POST", RECOGNISE, content=data, headers=JPEG | headers)


def form(api, path, *files):
    parts = [(name, ("x.jpg", data)) for name, data in files]
    return api.request("POST", path, files=parts, headers=BEARER)


def people(answer):
    return [one["person"] for one in answer.json()["faces"]]


def is_refused(answer, status, code):
    assert (answer.status_code, answer.json()["error"]) == (status, code)
    assert answer.json()["message"]
    return answer


# what it answers


def test_people_are_told_the_largest_face_first(api):
    answer = recognise(api, photo(GREEN, RED, BLUE))
    assert answer.status_code == 200
    assert people(answer) == ["Bob", "Ann", None]
    assert answer.json()["model"] == DIGEST
    first = answer.json()["faces"][0]
    assert first == {"person": "Bob", "person_id": None, "probability": 0.9, "box": [0, 0, 60, 80]}


def test_a_photo_without_a_face_has_none(api):
    assert people(recognise(api, photo(GREY))) == []


def test_boxes_are_of_the_upright_photo_as_it_was_sent():
    image = Image.open(io.BytesIO(photo(RED, size=(400, 200))))
    exif = image.getexif()
    exif[0x0112] = 6  # lies on its side
    out = io.BytesIO()
    image.save(out, "JPEG", exif=exif)
    with client() as api:
        (face,) = recognise(api, out.getvalue()).json()["faces"]
    assert face["box"] == [0, 0, 200, 400]


@pytest.mark.parametrize("kind", ["image/png", "Image/JPEG; x=y", "application/octet-stream"])
def test_bytes_are_taken_as_they_are(api, kind):
    assert people(recognise(api, photo(RED), **{"Content-Type": kind})) == ["Ann"]


def test_a_form_with_one_file_is_taken(api):
    assert people(form(api, RECOGNISE, ("photo", photo(RED)))) == ["Ann"]


def test_two_photos_are_compared(api):
    answer = form(api, VERIFY, ("b", photo(RED, GREEN)), ("a", photo(RED))).json()
    assert answer["same"]
    assert answer["similarity"] == pytest.approx(1, abs=1e-3)
    assert answer["boxes"] == {"a": [0, 0, 120, 80], "b": [0, 0, 80, 80]}
    assert answer["faces"] == {"a": 1, "b": 2}
    assert answer["embedder"] == "colours@1"
    other = form(api, VERIFY, ("a", photo(RED)), ("b", photo(GREEN))).json()
    assert not other["same"]
    assert other["similarity"] < other["threshold"]


def test_the_threshold_of_verification_can_be_set():
    from pipeline.search.settings import VerifyConfig

    with client(verify=VerifyConfig(threshold=-1.0)) as api:
        assert form(api, VERIFY, ("a", photo(RED)), ("b", photo(GREEN))).json()["same"]


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_photo_without_a_face_cannot_be_compared(api, name):
    photos = {"a": photo(RED), "b": photo(RED)} | {name: photo(GREY)}
    answer = is_refused(form(api, VERIFY, *photos.items()), 422, "no_face")
    assert answer.json()["message"].startswith(f"{name}: ")


def test_health_needs_no_token_and_tells_nothing_of_people(api):
    answer = api.get(HEALTH)
    assert answer.json() == {
        "ready": True, "model": {"name": "family", "digest": DIGEST}, "detector": "stripes@1",
        "embedder": "colours@1",
    }  # fmt: skip
    assert "Ann" not in answer.text


def test_nothing_is_answered_before_the_networks_are_loaded(api):
    replicas = api.service.replicas
    loaded, replicas._networks = replicas._networks, []
    try:
        assert (api.get(HEALTH).status_code, api.get(HEALTH).json()["ready"]) == (503, False)
        answer = is_refused(recognise(api, photo(RED)), 503, "starting")
        assert answer.headers["retry-after"] == "1"
    finally:
        replicas._networks = loaded


def test_what_is_answered_is_counted():
    with client() as api:
        recognise(api, photo(RED, GREEN))
        recognise(api, b"no photo")
        api.get("/v1/../etc/passwd")
        answer = api.get(METRICS, headers=BEARER)
    assert answer.headers["content-type"].startswith("text/plain")
    lines = dict(one.rsplit(" ", 1) for one in answer.text.splitlines() if one[0] != "#")
    assert lines['facelake_requests_total{endpoint="/v1/recognise",status="200"}'] == "1.0"
    assert lines['facelake_requests_total{endpoint="/v1/recognise",status="422"}'] == "1.0"
    assert lines['facelake_requests_total{endpoint="other",status="401"}'] == "1.0"
    assert lines['facelake_request_seconds_count{endpoint="/v1/recognise"}'] == "2.0"
    assert (lines["facelake_faces_total"], lines["facelake_queue"]) == ("2.0", "0.0")
    assert (lines["facelake_batch_photos_count"], lines["facelake_batch_photos_sum"]) == (
        "1.0", "1.0",
    )  # fmt: skip


# who may ask


@pytest.mark.parametrize("given", [None, "", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer x",
    f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer é"])  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [("POST", RECOGNISE), ("POST", VERIFY),
    ("GET", METRICS), ("GET", "/"), ("GET", "/docs"), ("GET", "/v1/nothing")])  # fmt: skip
def test_nobody_gets_in_without_the_token(api, method, path, given):
    headers = {} if given is None else {"Authorization": given.encode()}
    answer = is_refused(api.request(method, path, headers=headers), 401, "no_token")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text


def test_two_tokens_are_none(api):
    headers = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer x")]
    is_refused(api.request("GET", METRICS, headers=headers), 401, "no_token")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::2]:4444"])
@pytest.mark.parametrize("path", [RECOGNISE, HEALTH])
def test_a_rebound_name_is_refused(api, host, path):
    answer = api.request("POST", path, content=photo(RED), headers=JPEG | {"Host": host})
    is_refused(answer, 421, "wrong_host")


def test_a_proxys_name_can_be_allowed():
    with client(host="0.0.0.0", allowed=("Faces.example.org",)) as api:
        assert recognise(api, photo(RED), Host="faces.example.org").status_code == 200
    with pytest.raises(ConfigError, match="reverse proxy"):
        ServeConfig(TOKEN, host="0.0.0.0")


@pytest.mark.parametrize("header", [{"Origin": "https://evil.example"}, {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}])  # fmt: skip
def test_pages_of_other_sites_are_refused(api, header):
    is_refused(recognise(api, photo(RED), **header), 403, "other_site")


def test_no_other_site_is_told_that_it_may(api):
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for answer in (
        api.request("OPTIONS", RECOGNISE, headers=headers),
        api.get(METRICS, headers=BEARER | headers),
        api.get(HEALTH, headers=headers),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


# what it refuses


@pytest.mark.parametrize(("method", "path", "allowed"), [("GET", RECOGNISE, "POST"),
    ("PUT", VERIFY, "POST"), ("POST", METRICS, "GET"), ("DELETE", HEALTH, "GET")])  # fmt: skip
def test_another_method_is_refused(api, method, path, allowed):
    answer = is_refused(api.request(method, path, headers=BEARER), 405, "wrong_method")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/recognise/x", "/v2/recognise", "/openapi.json"])
def test_there_is_nothing_else(api, path):
    is_refused(api.get(path, headers=BEARER), 404, "not_found")


@pytest.mark.parametrize("kind", ["text/html", "application/json", "images/png", "",
    "application/x-www-form-urlencoded"])  # fmt: skip
def test_another_content_type_is_refused(api, kind):
    headers = JPEG | {"Content-Type": kind}
    answer = api.request("POST", RECOGNISE, content=photo(RED), headers=headers)
    is_refused(answer, 415, "wrong_content_type")
    answer = api.request("POST", VERIFY, content=photo(RED), headers=JPEG)
    is_refused(answer, 415, "wrong_content_type")


def test_forms_with_other_files_are_refused(api):
    red = photo(RED)
    for path, names in ((RECOGNISE, "ab"), (VERIFY, "a"), (VERIFY, "ac"), (VERIFY, "aa"),
                        (VERIFY, "aab")):  # fmt: skip
        is_refused(form(api, path, *((name, red) for name in names)), 400, "wrong_files")
    for path in (RECOGNISE, VERIFY):
        answer = api.request("POST", path, content=b"--b\r\nx", headers=BEARER | {
            "Content-Type": "multipart/form-data; boundary=b"})  # fmt: skip
        is_refused(answer, 400, "bad_request")


@pytest.mark.parametrize(("data", "code"), [(b"", "empty"), (b"no photo", "unsupported_format"),
    (photo(RED, kind="JPEG")[:200], "truncated"), (jpeg_bomb(), "too_large"),
    (png_bomb(60_000), "too_large"), (b"<svg></svg>", "unsupported_format")],
    ids=["empty", "text", "cut", "jpeg-bomb", "png-bomb", "svg"])  # fmt: skip
def test_what_is_no_photo_is_refused(api, data, code):
    is_refused(recognise(api, data), 422, code)
    answer = form(api, VERIFY, ("a", photo(RED)), ("b", data))
    assert "b: " in is_refused(answer, 422, code).json()["message"]
    assert people(recognise(api, photo(RED))) == ["Ann"]


def test_a_photo_of_more_pixels_than_the_limit_is_refused():
    from pipeline.config import DecodeConfig

    with client(decode=DecodeConfig(max_pixels=5000)) as api:
        is_refused(recognise(api, photo(RED)), 422, "too_large")


def test_a_body_beyond_the_limit_is_refused():
    def chunks():
        for _ in range(9):
            yield bytes(1000)

    async def endless():
        for one in chunks():
            yield one

    with client(max_body=5000) as api:
        is_refused(recognise(api, bytes(5001)), 413, "body_too_large")
        is_refused(recognise(api, endless()), 413, "body_too_large")
        is_refused(recognise(api, b"", **{"Content-Length": "9" * 40}), 413, "body_too_large")
        assert people(recognise(api, photo(RED))) == ["Ann"]


ABOUT = b'--b\r\nContent-Disposition: form-data; name="a'
LONG = ABOUT + b";" * 9000 + b'"; filename="x"\r\n\r\nx\r\n--b--'
MANY = (ABOUT + b'"\r\n\r\nx\r\n') * 17 + b"--b--"


@pytest.mark.parametrize("body", [LONG, MANY], ids=["long", "many"])
def test_forms_that_take_long_to_read_are_refused(api, body):
    headers = BEARER | {"Content-Type": "multipart/form-data; boundary=b"}
    answer = api.request("POST", RECOGNISE, content=body, headers=headers)
    is_refused(answer, 400, "bad_request")
    headers["Content-Type"] += "; x=" + '";' * 5000
    is_refused(api.request("POST", VERIFY, content=b"", headers=headers), 400, "bad_request")


@given(
    st.one_of(st.text(max_size=40), st.just("b"), st.just('"b"; x*=utf-8\'\'%ff')),
    st.lists(st.sampled_from([b"--b", b"\r\n", b"--", b"Content-Disposition: form-data", b"; name=",
        b"a", b'"', b"; filename*=x''%ff", b"; filename=x", b"\xff", b": "]), max_size=30),
)  # fmt: skip
def test_any_bytes_are_a_form_or_are_refused(boundary, parts):
    with suppress(RefusedError):
        made = parse(f"multipart/form-data; boundary={boundary}", b"".join(parts))
        assert all(isinstance(data, bytes) for _, data in made.files)


class Poisoned(Sandbox):
    module = "tests.support.poison"


@pytest.mark.parametrize(("what", "code"), [("signal SIGSEGV", "crashed"),
    ("signal SIGKILL", "out_of_memory"), ("hang", "timeout")])  # fmt: skip
def test_a_decoder_that_dies_costs_one_request(monkeypatch, what, code):
    from pipeline.config import DecodeConfig

    monkeypatch.setattr("pipeline.web.serve.batching.Sandbox", Poisoned)
    with client(decode=DecodeConfig(timeout_s=2.0)) as api:
        is_refused(recognise(api, poison(what)), 422, code)
        assert people(recognise(api, photo(RED))) == ["Ann"]


def test_a_photo_that_breaks_a_network_costs_one_request(detector, caplog):
    detector.broken = (BLUE,)
    with client(detector=detector) as api:
        answers = side_by_side(api, detector, [photo(GREEN), photo(RED), photo(BLUE), photo(GREEN)])
        assert [one.status_code for one in answers] == [200, 200, 500, 200]
        is_refused(answers[2], 500, "broken")
        assert "network" not in answers[2].text
        with on_loopback(api.service, Connection) as address:
            url = f"http://127.0.0.1:{address[1]}{RECOGNISE}"
            assert httpx.post(url, content=photo(BLUE), headers=JPEG).status_code == 500
    assert "RuntimeError: a network broke" in caplog.text


# how requests share the networks


def side_by_side(api, detector, photos):
    """Ask all at once: the first is in the networks while the others come."""
    with ThreadPoolExecutor(len(photos)) as pool:
        first = pool.submit(recognise, api, photos[0])
        until(lambda: detector.calls)
        rest = [pool.submit(recognise, api, one) for one in photos[1:]]
        until(lambda: len(api.service.replicas._ready) == len(rest))
        detector.gate.set()
        return [one.result() for one in (first, *rest)]


def until(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def detector():
    """A detector that is held until its gate opens."""
    made = Detector()
    made.gate.clear()
    yield made
    made.gate.set()


@pytest.fixture
def held(detector):
    with client(detector=detector, queue=5) as api:
        yield api
        detector.gate.set()


def test_requests_that_wait_go_through_the_networks_together(held, detector):
    answers = side_by_side(
        held, detector, [photo(RED), photo(GREEN), photo(RED, GREEN), photo(GREY)]
    )
    assert [people(one) for one in answers] == [["Ann"], ["Bob"], ["Ann", "Bob"], []]
    assert detector.calls == [1, 3]


def test_a_full_queue_is_said_at_once(held, detector):
    with ThreadPoolExecutor(5) as pool:
        waiting = [pool.submit(recognise, held, photo(RED)) for _ in range(5)]
        until(lambda: held.service._inside == 5)
        answer = is_refused(recognise(held, photo(RED)), 503, "busy")
        assert answer.headers["retry-after"] == "1"
        detector.gate.set()
        assert [people(one.result()) for one in waiting] == [["Ann"]] * 5
    assert people(recognise(held, photo(RED))) == ["Ann"]


def test_what_takes_too_long_is_given_up(detector):
    with client(detector=detector, timeout_s=0.5) as api:
        is_refused(recognise(api, photo(RED)), 504, "timeout")
        is_refused(recognise(api, photo(RED)), 504, "timeout")
        detector.gate.set()
        until(lambda: not len(api.service.replicas._ready))
        assert people(recognise(api, photo(RED))) == ["Ann"]
        assert len(detector.calls) == 2, "nobody waited for the second"


def test_those_that_were_given_up_do_not_hold_the_server(monkeypatch):
    monkeypatch.setattr("pipeline.web.serve.batching.Sandbox", Poisoned)
    with client(timeout_s=1.5, queue=1) as api, ThreadPoolExecutor(2) as pool:
        hanging = pool.submit(recognise, api, poison("hang"))
        until(lambda: api.service._inside == 1 and not len(api.service.replicas._waiting))
        api.service.replicas._waiting.offer("stale")
        api.service._inside = 0
        is_refused(recognise(api, photo(RED)), 503, "busy")
        assert api.service.replicas._waiting._items.popleft() == ("stale", 1)
        api.service.replicas._waiting._weight = 0
        assert hanging.result().status_code in (422, 504)


def test_what_waits_is_finished_at_the_end(detector):
    with started(detector) as service, ThreadPoolExecutor(3) as pool:
        api = Client(application(service))
        waiting = [pool.submit(recognise, api, photo(RED)) for _ in range(3)]
        until(lambda: service._inside == 3)
        threading.Timer(0.2, detector.gate.set).start()
        service.replicas.close()
        assert [people(one.result()) for one in waiting] == [["Ann"]] * 3


@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 9), st.integers(1, 4))
def test_a_line_keeps_every_item_in_its_order(weights, count, takers):
    line = Line(20, takers)
    taken, heaviest = [], []

    def take():
        while items := line.take(count):
            assert len(items) <= count
            heaviest.append(sum(weights[k] for k in items) if len(items) > 1 else 0)
            taken.extend(items)

    taker = threading.Thread(target=take)
    taker.start()
    for item, weight in enumerate(weights):
        line.put(item, weight)
    line.close()
    taker.join(20)
    assert taken == list(range(len(weights)))
    assert all(one <= line.most for one in heaviest)


def test_a_line_leaves_others_their_share():
    line = Line(100, takers=4)
    for item in range(10):
        line.put(item)
    assert [len(line.take(16)) for _ in range(4)] == [3, 2, 2, 1]


# on a socket


def connect(address, sent):
    made = socket.create_connection(address, 20)
    made.sendall(sent)
    return made


def read(made):
    with made, suppress(ConnectionResetError), made.makefile("rb") as got:
        return got.read()
    return b""


HEAD = f"POST {RECOGNISE} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
KNOWN = f"Authorization: Bearer {TOKEN}\r\nContent-Type: image/png\r\n"


def test_clients_that_send_slowly_are_ended_and_others_served():
    class Impatient(Connection):
        most, wait_s = 20, 0.5

    with started(timeout_s=1.0) as service, on_loopback(service, Impatient) as address:
        heads = [connect(address, b"POST / HTTP/1.1\r\nX: ") for _ in range(40)]
        body = connect(address, f"{HEAD}{KNOWN}Content-Length: 9\r\n\r\n-".encode())
        data = photo(RED)
        url = f"http://127.0.0.1:{address[1]}{RECOGNISE}"
        assert people(httpx.post(url, content=data, headers=JPEG)) == ["Ann"]
        assert b"408" in read(body).split(b"\r\n")[0]
        assert {read(one) for one in heads} == {b""}


def test_a_body_is_not_read_from_one_who_may_not_ask():
    with started() as service, on_loopback(service, Connection) as address:
        length = "Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
        for head in (HEAD + length, HEAD.replace("127.0.0.1", "evil.example") + KNOWN + length):
            with connect(address, head.encode()) as made:
                assert made.recv(12) in (b"HTTP/1.1 401", b"HTTP/1.1 421")


def test_chunks_without_end_are_cut():
    with started(max_body=100_000) as service, on_loopback(service, Connection) as address:
        chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
        sent = f"{HEAD}{KNOWN}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk * 2
        with connect(address, sent) as made:
            assert made.recv(12) == b"HTTP/1.1 413"


# the command


def test_the_command_refuses_what_cannot_be_served(tmp_path, capsys):
    assert main(["serve", "--model", str(tmp_path / "none")]) == 2
    assert "facelake train" in capsys.readouterr().err
    short = tmp_path / "token"
    short.write_text("short")
    for path in (short, tmp_path / "none"):
        assert main(["serve", "--model", "x", "--token-file", str(path)]) == 2
        assert "--token-file" in capsys.readouterr().err
    assert main(["serve", "--model", "x", "--host", "0.0.0.0"]) == 2
    assert main(["serve", "--model", "x", "--workers", "0"]) == 2


def test_networks_that_cannot_be_loaded_end_the_server(monkeypatch):
    from pipeline.web.http.server import listening
    from pipeline.web.serve import server

    def load():
        raise ConfigError("no such network")

    with started() as service, listening("127.0.0.1", 0) as listener:
        service.replicas._load = load
        with pytest.raises(ConfigError, match="no such network"):
            server.serve(service, listener)


def test_an_asgi_server_that_speaks_websockets_is_refused(api):
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(application(api.service)({"type": "websocket"}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
