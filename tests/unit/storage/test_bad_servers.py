"""Servers that never end, stall, drip, refuse or want a header; and storage that hangs."""

import io
import time
import tracemalloc

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.config import ReadConfig
from pipeline.errors import ConfigError, StorageError
from pipeline.lake.ledger import Ledger
from pipeline.sources.members import Report
from pipeline.sources.plan import plan
from pipeline.sources.read import SMALL_BYTES, read
from pipeline.sources.units import Unit
from pipeline.storage import fetch as fetching
from pipeline.storage import retry
from pipeline.storage.folder import filesystem, parse_options
from pipeline.storage.patience import Patience, StallError, in_time, patience
from tests.support.bad_server import bad_server
from tests.support.builders import jpeg, parquet_bytes, tar_bytes, zip_bytes

GOOD = jpeg(1)
SHORT = {"connect_timeout": 1, "read_timeout": 0.4, "file_timeout": 3}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(retry, "LONGEST_PAUSE_S", 0.002)
    fetching._stalled.clear()
    files = {"/good.jpg": GOOD, "/secret/a.jpg": GOOD, "/also.jpg": jpeg(2)}
    with bad_server(files) as running:
        yield running


def rows_of(server, *names, max_bytes=1 << 20, **options):
    unit = Unit(
        "files",
        server.url + "/",
        names=names,
        sizes=(-1,) * len(names),
        options=SHORT | options,
    )
    tables = read(unit, Ledger.empty(), ReadConfig(max_bytes=max_bytes), Report())
    rows = [row for table in tables for row in table.to_pylist()]
    return {row["uri"].removeprefix(server.url + "/"): row for row in rows}


@pytest.mark.parametrize("most", [1 << 20, 24 << 20])
def test_a_file_that_never_ends_is_too_large_and_takes_no_memory(server, most):
    rows_of(server, "good.jpg")  # imports what it needs
    tracemalloc.start()
    try:
        rows = rows_of(server, "endless/a.jpg", "good.jpg", "endless/b.jpg", max_bytes=most)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows["good.jpg"]["data"] == GOOD
    assert {rows[f"endless/{n}.jpg"]["error"] for n in "ab"} == {"too_large"}
    assert server.asked["/endless/a.jpg"] == (1 if most < SMALL_BYTES else 2)
    assert peak < most + 2 * min(most, SMALL_BYTES) + (12 << 20)


@pytest.mark.parametrize("kind", ["stall", "silent"])
def test_a_server_that_stops_costs_its_own_row_and_little_time(server, kind):
    began = time.monotonic()
    rows = rows_of(server, f"{kind}/a.jpg", "good.jpg", f"{kind}/b.jpg", "also.jpg")
    assert time.monotonic() - began < 4
    assert rows["good.jpg"]["data"] == GOOD
    assert rows["also.jpg"]["data"] == jpeg(2)
    assert rows[f"{kind}/a.jpg"]["error"] == "unreadable"
    assert "stopped answering" in rows[f"{kind}/a.jpg"]["error_detail"]
    assert server.asked[f"/{kind}/a.jpg"] == fetching.STALL_ATTEMPTS


def test_a_server_that_drips_is_given_up_when_the_time_of_the_file_is_over(server):
    began = time.monotonic()
    rows = rows_of(server, "drip/a.jpg", "good.jpg", file_timeout=1)
    assert time.monotonic() - began < 4
    assert rows["good.jpg"]["data"] == GOOD
    assert rows["drip/a.jpg"]["error"] == "unreadable"


def test_good_rows_are_handed_on_before_the_stall_is_over(server, monkeypatch):
    monkeypatch.setattr("pipeline.sources.read.TABLE_S", 0.2)
    names = ("silent/a.jpg", "good.jpg")
    options = SHORT | {"read_timeout": 3, "file_timeout": 3}
    unit = Unit("files", server.url + "/", names=names, sizes=(-1, -1), options=options)
    began = time.monotonic()
    first = next(read(unit, Ledger.empty(), ReadConfig(), Report()))
    assert time.monotonic() - began < 2
    assert first["data"].to_pylist() == [GOOD]


def test_a_host_that_stalls_again_and_again_is_given_less_time(server):
    rows = rows_of(server, *(f"silent/{i}.jpg" for i in range(10)), read_timeout=1, file_timeout=2)
    began = time.monotonic()
    rows |= rows_of(server, *(f"silent/{i}.png" for i in range(10)), read_timeout=1)
    assert time.monotonic() - began < 2.5
    assert {row["error"] for row in rows.values()} == {"unreadable"}
    fetching._stalled.clear()


@pytest.mark.parametrize(("status", "tries"), [(401, 1), (403, 1), (410, 1), (500, 6), (429, 6)])
def test_the_status_of_the_server_is_told_and_only_passing_ones_are_tried_again(
    server, status, tries
):
    rows = rows_of(server, f"status/{status}/a.jpg", "good.jpg")
    row = rows[f"status/{status}/a.jpg"]
    assert row["error"] == "unreadable"
    assert f"the server answered {status}" in row["error_detail"]
    assert server.asked[f"/status/{status}/a.jpg"] == tries
    assert rows["good.jpg"]["data"] == GOOD


def test_what_is_not_there_says_404(server):
    assert "404" in rows_of(server, "none.jpg")["none.jpg"]["error_detail"]


def test_headers_are_sent(server):
    options = parse_options(["headers.X-Api-Key=007"])
    assert options == {"headers": {"X-Api-Key": "007"}}
    assert rows_of(server, "secret/a.jpg", **options)["secret/a.jpg"]["data"] == GOOD
    refused = rows_of(server, "secret/a.jpg")["secret/a.jpg"]
    assert "the server answered 401" in refused["error_detail"]


def test_shards_on_a_web_server_that_stalls_are_damage(server):
    server.files["/stall/a.tar"] = tar_bytes([("a.jpg", GOOD)])
    report = Report()
    unit = Unit("tar", f"{server.url}/stall/a.tar", place="a.tar", sizes=(-1,), options=SHORT)
    began = time.monotonic()
    assert list(read(unit, Ledger.empty(), ReadConfig(), report)) == []
    assert time.monotonic() - began < 8
    assert report.damage


def test_addresses_are_planned_though_their_size_is_not_known(server):
    for name in ("endless/a.jpg", "endless/photo", "good.jpg"):
        made = plan([f"{server.url}/{name}"], output="", ledger=Ledger.empty(), options=SHORT)
        assert made.images == 1
    with pytest.raises(StorageError, match="403"):
        plan([f"{server.url}/status/403/x"], output="", ledger=Ledger.empty(), options=SHORT)


class FailingLate(MemoryFileSystem):
    """A back end whose files fail, or hang, when a certain byte is read."""

    protocol = "late"
    at, hangs = 0, False

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("late://", "memory://"))

    def _open(self, path, mode="rb", **kwargs):
        inner = super()._open(path, mode, **kwargs)
        return inner if "w" in mode else LateFile(inner.getvalue())


class LateFile(io.BytesIO):
    def read(self, size=-1):
        if self.tell() <= FailingLate.at < self.tell() + size:
            time.sleep(2 * FailingLate.hangs)
            raise TimeoutError
        return super().read(size)


@pytest.mark.parametrize("hangs", [False, True])
@pytest.mark.parametrize("kind", ["tar", "zip", "parquet"])
def test_storage_that_fails_inside_a_shard_makes_no_photo_corrupt(monkeypatch, kind, hangs):
    fsspec.register_implementation("late", FailingLate, clobber=True)
    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.001)
    photos = [(f"{i}.jpg", jpeg(i, 300, 300)) for i in range(8)]
    pack = {
        "tar": tar_bytes,
        "zip": zip_bytes,
        "parquet": lambda members: parquet_bytes(image=[data for _, data in members]),
    }[kind]
    data = pack(photos)
    fs = FailingLate()
    fs.pipe_file(f"/a.{kind}", data)
    monkeypatch.setattr(FailingLate, "at", data.index(photos[4][1][:9000]) + 9000)
    monkeypatch.setattr(FailingLate, "hangs", hangs)
    report = Report()
    options = {"file_timeout": 0.3} if hangs else {}
    unit = Unit(kind, f"late://a.{kind}", place=f"a.{kind}", sizes=(1,), options=options)
    tables = read(unit, Ledger.empty(), ReadConfig(), report)
    rows = [row for table in tables for row in table.to_pylist()]
    assert {row["error"] for row in rows} <= {None}
    assert len(rows) == {"tar": 4, "zip": 4, "parquet": 0}[kind]
    assert len(report.damage) == 1
    assert "the storage failed" in report.damage[0]


class HangingFileSystem(MemoryFileSystem):
    """A back end without any timeout of its own."""

    protocol = "hanging"

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("hanging://", "memory://"))

    def _open(self, path, mode="rb", **kwargs):
        time.sleep(30)


def test_a_back_end_without_timeouts_is_given_up_too():
    fsspec.register_implementation("hanging", HangingFileSystem, clobber=True)
    limits = {"file_timeout": 0.5}
    unit = Unit("files", "hanging://in/", names=("a.jpg",), sizes=(5,), options=limits)
    began = time.monotonic()
    (table,) = read(unit, Ledger.empty(), ReadConfig(), Report())
    assert time.monotonic() - began < 4
    assert table["error"].to_pylist() == ["unreadable"]


def test_limits_are_options_and_checked():
    assert patience({}) == Patience()
    assert patience({"read_timeout": "2.5"}).read_s == 2.5
    for wrong in ("0", "-1", "soon", "nan", None):
        with pytest.raises(ConfigError, match="file_timeout"):
            patience({"file_timeout": wrong})
    fs, _ = filesystem("http://h/a.jpg", {"read_timeout": 7, "headers": {"A": "b"}})
    assert fs.client_kwargs["timeout"].sock_read == 7
    assert fs.kwargs == {"headers": {"A": "b"}}
    fs, _ = filesystem("s3://b/a.jpg", {"read_timeout": 7, "anon": True})
    assert fs.config_kwargs["read_timeout"] == 7


def test_in_time_gives_answers_errors_and_up():
    assert in_time(lambda: 1, 5, "x") == 1
    with pytest.raises(ValueError, match="mine"):
        in_time(lambda: (_ for _ in ()).throw(ValueError("mine")).__next__(), 5, "x")
    with pytest.raises(StallError, match="it did not"):
        in_time(lambda: time.sleep(5), 0.05, "it did not")


@pytest.mark.parametrize("wrong", [["a=1", "a.b=2"], ["headers.=x"], [".a=x"]])
def test_groups_of_options_are_checked(wrong):
    with pytest.raises(ConfigError, match="--storage-option"):
        parse_options(wrong)
