import hashlib
import http.server
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import ConfigError, WeightsError
from pipeline.models.cards.card import ModelCard, ModelFile, find_card
from pipeline.models.weights import download
from pipeline.models.weights.checkpoint import read_arrays, read_checkpoint
from pipeline.models.weights.store import WeightStore, default_directory

DATA = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(DATA).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """A file server whose faults are switched on by its attributes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data = DATA
        self.etag: str | None = None
        self.ranges = True
        self.statuses: list[int] = []  # answered first, one a request
        self.cut_after: list[int] = []  # bytes after which a request's connection is cut
        self.delay_s = 0.0
        self.kind = "application/octet-stream"
        self.requests: list[str | None] = []  # the Range header of each

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: a client that refuses a body hangs up."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, asked = self.server, self.headers["Range"]
        server.requests.append(asked)
        if server.statuses:
            self.send_response(server.statuses.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        condition = self.headers["If-Range"]
        usable = server.ranges and (condition is None or condition == server.etag)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and usable else 0
        if start and start >= len(server.data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = server.data[start:]
        self.send_response(206 if start else 200)
        if start:
            span = f"bytes {start}-{len(server.data) - 1}/{len(server.data)}"
            self.send_header("Content-Range", span)
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Type", server.kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        time.sleep(server.delay_s)
        self.wfile.write(body[: server.cut_after.pop(0)] if server.cut_after else body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "LONGEST_PAUSE_S", 0.01)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("FACELAKE_WEIGHTS_URL", raising=False)


def card_at(server: Server, sha256: str | None = SHA256, size: int | None = len(DATA)) -> ModelCard:
    file = ModelFile("a.pt", size, sha256, f"{server.url}/releases/a.pt")
    return ModelCard("a", "embedder", "onnx", (file,))


def test_download_is_checked_cached_and_reported(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    store, card = WeightStore(tmp_path / "new" / "cache"), card_at(server)
    assert store.state(card) == "missing"
    path = store.path(card, lambda done, total: seen.append((done, total)))
    assert path == tmp_path / "new" / "cache" / "a.pt"
    assert path.read_bytes() == DATA
    assert seen[-1] == (len(DATA), len(DATA))
    assert store.path(card) == path
    assert store.state(card) == "cached"
    assert store.revision(card) == f"a@{SHA256[:12]}"
    assert len(server.requests) == 1
    assert not path.with_name("a.pt.part").exists()


def test_a_partial_file_is_resumed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.pt.part").write_bytes(DATA[:1000])
    assert WeightStore(tmp_path).path(card_at(server)).read_bytes() == DATA
    assert server.requests == ["bytes=1000-"]


def test_a_cut_connection_is_resumed(server: Server, tmp_path: Path) -> None:
    server.cut_after = [300_000]
    assert WeightStore(tmp_path).path(card_at(server)).read_bytes() == DATA
    assert server.requests == [None, "bytes=300000-"]


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "a.pt.part").write_bytes(b"x" * 1000)
    assert WeightStore(tmp_path).path(card_at(server)).read_bytes() == DATA


def test_a_complete_part_needs_no_bytes(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.pt.part").write_bytes(DATA)
    assert WeightStore(tmp_path).path(card_at(server)).read_bytes() == DATA


def test_a_part_longer_than_the_file_starts_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.pt.part").write_bytes(DATA + b"more")
    assert WeightStore(tmp_path).path(card_at(server)).read_bytes() == DATA


def test_without_a_checksum_versions_are_never_joined(server: Server, tmp_path: Path) -> None:
    card = card_at(server, sha256=None, size=None)
    # no ETag: the part may be of anything
    (tmp_path / "a.pt.part").write_bytes(b"x" * 1000)
    assert WeightStore(tmp_path).path(card).read_bytes() == DATA
    assert server.requests == [None]


@pytest.mark.parametrize("changed", [False, True])
def test_an_etag_allows_or_forbids_to_resume(
    server: Server, tmp_path: Path, changed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = card_at(server, sha256=None, size=None)
    server.etag, server.cut_after = '"one"', [500_000]
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    with pytest.raises(WeightsError, match="ended after 500,000 of 1,048,576"):
        WeightStore(tmp_path).path(card)
    if changed:
        server.etag, server.data = '"two"', DATA[::-1]
    assert WeightStore(tmp_path).path(card).read_bytes() == server.data
    assert server.requests == [None, "bytes=500000-"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pt", "a.pt.lock", "a.pt.sha256"]


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 429]
    assert WeightStore(tmp_path).path(card_at(server)).read_bytes() == DATA
    assert len(server.requests) == 3


def test_a_final_answer_is_not_asked_again(server: Server, tmp_path: Path) -> None:
    server.statuses = [404]
    with pytest.raises(WeightsError, match=r"/releases/a\.pt: HTTP 404"):
        WeightStore(tmp_path).path(card_at(server))
    assert len(server.requests) == 1


def test_retries_are_bounded(server: Server, tmp_path: Path) -> None:
    server.statuses = [500] * 50
    with pytest.raises(WeightsError, match="after 5 attempts"):
        WeightStore(tmp_path).path(card_at(server))
    assert len(server.requests) == 5


def test_a_wrong_checksum_is_refused_and_the_next_try_is_clean(
    server: Server, tmp_path: Path
) -> None:
    server.data = DATA[::-1]
    store, card = WeightStore(tmp_path), card_at(server)
    with pytest.raises(WeightsError) as caught:
        store.path(card)
    assert SHA256 in str(caught.value)
    assert hashlib.sha256(server.data).hexdigest() in str(caught.value)
    assert store.state(card) == "missing"
    server.data = DATA
    assert store.path(card).read_bytes() == DATA


def test_a_file_of_another_size_is_refused_before_the_transfer(
    server: Server, tmp_path: Path
) -> None:
    server.data = DATA + b"x"
    with pytest.raises(WeightsError, match="1,048,577 bytes, not 1,048,576"):
        WeightStore(tmp_path).path(card_at(server))


def test_a_login_page_is_not_pinned(server: Server, tmp_path: Path) -> None:
    server.kind = "text/html"
    with pytest.raises(WeightsError, match="web page"):
        WeightStore(tmp_path).path(card_at(server, sha256=None, size=None))
    assert not (tmp_path / "a.pt.sha256").exists()


def test_a_damaged_cache_is_set_aside(server: Server, tmp_path: Path) -> None:
    store, card = WeightStore(tmp_path), card_at(server)
    (tmp_path / "a.pt").write_bytes(b"damaged")
    assert store.verify(card)[0].damaged
    with pytest.raises(WeightsError, match="wrong checksum"):
        store.path(card)
    assert store.path(card).read_bytes() == DATA
    assert not store.verify(card)[0].damaged


def test_without_a_published_checksum_the_first_is_pinned(server: Server, tmp_path: Path) -> None:
    store, card = WeightStore(tmp_path), card_at(server, sha256=None, size=None)
    path = store.path(card)
    assert (tmp_path / "a.pt.sha256").read_text() == f"{SHA256}  a.pt\n"
    path.unlink()
    server.data = DATA[::-1]
    with pytest.raises(WeightsError, match="pinned on first use"):
        store.path(card)
    server.data = DATA
    assert store.path(card).read_bytes() == DATA


def test_offline_says_what_to_put_where(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    card = find_card("facenet-vggface2")
    with pytest.raises(WeightsError) as caught:
        WeightStore(tmp_path, url).path(card)
    for part in (
        f"{url}/20180402-114759-vggface2.pt",
        "Connection refused",
        "111,898,327 bytes",
        "281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
        f"{tmp_path}/20180402-114759-vggface2.pt",
        "`--embedder sface` needs no download",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("form", ["folder", "file", "environment", "http"])
def test_weights_are_staged_from_anywhere(
    server: Server, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my mirror").mkdir()
    (tmp_path / "my mirror" / "a.pt").write_bytes(DATA)
    folder = tmp_path / "my mirror"
    urls = {"folder": str(folder), "file": folder.as_uri(), "environment": None, "http": server.url}
    if form == "environment":
        monkeypatch.setenv("FACELAKE_WEIGHTS_URL", str(folder))
    card = ModelCard(
        "a", "embedder", "onnx", (ModelFile("a.pt", len(DATA), SHA256, "http://x.invalid/a"),)
    )
    assert WeightStore(tmp_path / "cache", urls[form]).path(card).read_bytes() == DATA


def test_other_schemes_and_missing_mirrors_are_named(tmp_path: Path) -> None:
    card = find_card("facenet-vggface2")
    with pytest.raises(WeightsError, match="only http, https and file"):
        WeightStore(tmp_path, "ftp://host").path(card)
    with pytest.raises(WeightsError, match="Cannot copy"):
        WeightStore(tmp_path, str(tmp_path / "nowhere")).path(card)


def test_bundled_weights_need_no_cache(tmp_path: Path) -> None:
    store = WeightStore(tmp_path / "none", "http://x.invalid")
    assert len(store.paths(find_card("mtcnn"))) == 3
    assert store.state(find_card("mtcnn")) == "bundled"
    assert store.revision(find_card("sface")) == "sface@fb143eea0783"
    assert not (tmp_path / "none").exists()


def test_a_read_only_cache_serves_what_it_has(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(DATA)
    assert WeightStore(tmp_path).path(card_at(server)) == tmp_path / "a.pt"
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]  # no lock, no pin


def test_a_folder_that_cannot_be_made_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WeightsError, match="FACELAKE_HOME"):
        WeightStore(tmp_path / "file" / "cache").path(card_at(server))


def test_the_environment_places_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FACELAKE_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "facelake" / "weights"
    monkeypatch.setenv("FACELAKE_HOME", "/srv/lake")
    assert default_directory() == Path("/srv/lake/weights")


def test_ten_processes_download_once(server: Server, tmp_path: Path) -> None:
    server.delay_s = 0.3
    script = (
        "import sys; from pathlib import Path\n"
        "from pipeline.models.cards.card import ModelCard, ModelFile\n"
        "from pipeline.models.weights.store import WeightStore\n"
        "url, sha, folder = sys.argv[1:]\n"
        "card = ModelCard('a', 'embedder', 'onnx', (ModelFile('a.pt', None, sha, url),))\n"
        "print(WeightStore(Path(folder)).path(card).stat().st_size)\n"
        "assert 'torch' not in sys.modules\n"
    )
    command = [sys.executable, "-W", "error", "-c", script, f"{server.url}/a.pt", SHA256]
    workers = [
        subprocess.Popen([*command, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(10)
    ]
    outputs = [worker.communicate(timeout=60)[0].strip() for worker in workers]
    assert outputs == [str(len(DATA))] * 10
    assert len(server.requests) == 1


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["pickle", "zip", "legacy"])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, form: str) -> None:
    path, trace = tmp_path / "bad.pt", tmp_path / "executed"
    if form == "pickle":
        path.write_bytes(pickle.dumps({"a": Malicious(trace)}))
    else:
        torch.save({"a": Malicious(trace)}, path, _use_new_zipfile_serialization=form == "zip")
    for read in (read_checkpoint, read_arrays):
        with pytest.raises(WeightsError, match=r"bad\.pt is no torch checkpoint"):
            read(path)
    assert not trace.exists()
    torch.load(path, weights_only=False) if form != "pickle" else pickle.loads(path.read_bytes())
    assert trace.exists()  # the file would have done it


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_of_both_formats_are_read(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "good.pt"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=zipped)
    assert torch.equal(read_checkpoint(path)["a"], torch.ones(2))


@pytest.mark.parametrize("zipped", [True, False])
def test_arrays_are_read_as_the_tensors_that_they_are(tmp_path: Path, zipped: bool) -> None:
    path, numbers = tmp_path / "good.pt", torch.arange(24.0)
    state = OrderedDict(
        whole=numbers, turned=numbers.reshape(4, 6).T, part=numbers[5:9], one=numbers[3].clone()
    )
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    arrays = read_arrays(path)
    assert list(arrays) == list(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(arrays[name], tensor.numpy())
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(WeightsError, match="is no torch checkpoint"):
        read_arrays(path)


def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with pytest.raises(WeightsError, match="does not exist"):
        read_checkpoint(path)
    for content in (b"", b"<html>", DATA[:5000]):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="is no torch checkpoint"):
            read_checkpoint(path)
    torch.save([torch.ones(1)], path)
    with pytest.raises(WeightsError, match="holds no state_dict"):
        read_checkpoint(path)


def test_weights_whose_licence_says_no_commercial_use_are_refused(tmp_path, monkeypatch):
    facenet, sface = find_card("facenet-vggface2"), find_card("sface")
    strict = WeightStore(tmp_path, str(tmp_path), licences="commercial")
    assert strict.path(sface).is_file()
    with pytest.raises(WeightsError, match=r"card of facenet-vggface2 .*--licences any"):
        strict.path(facenet)
    monkeypatch.setenv("FACELAKE_LICENCES", "commercial")
    with pytest.raises(WeightsError, match="does not say that the licence"):
        WeightStore(tmp_path, str(tmp_path)).revision(facenet)
    with pytest.raises(WeightsError, match="put the file 20180402"):
        WeightStore(tmp_path, str(tmp_path), licences="any").path(facenet)  # only not there
    monkeypatch.setenv("FACELAKE_LICENCES", "free")
    with pytest.raises(ConfigError, match="FACELAKE_LICENCES is 'free'"):
        WeightStore(tmp_path)
