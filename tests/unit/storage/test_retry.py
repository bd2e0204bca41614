import errno
import io
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.config import ReadConfig
from pipeline.lake.ledger import Ledger
from pipeline.sources.members import Report
from pipeline.sources.read import read
from pipeline.sources.units import Unit
from pipeline.storage import retry
from pipeline.storage.remote_file import RemoteFile
from tests.support.builders import jpeg, tar_bytes


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.0)
    retry.take_counts()


class Flaky:
    """Fails a number of times, then works."""

    def __init__(self, failures, error):
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "done"


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("reset"),
        TimeoutError("slow"),
        OSError(errno.EBUSY, "Please reduce your request rate."),
        PermissionError("The provided token has expired: ExpiredToken"),
        ValueError("a back end's own"),
    ],
)
def test_what_may_pass_is_tried_again_and_counted(error):
    work = Flaky(3, error)
    assert retry.attempt(work) == "done"
    assert work.calls == 4
    assert retry.take_counts() == {type(error).__name__: 3}
    assert retry.take_counts() == {}


@pytest.mark.parametrize(
    "error", [FileNotFoundError("x"), PermissionError("denied"), OSError(errno.ENOSPC, "full")]
)
def test_what_lasts_is_not_tried_again(error):
    work = Flaky(1, error)
    with pytest.raises(type(error)):
        retry.attempt(work)
    assert work.calls == 1


def test_tries_are_bounded():
    work = Flaky(1000, TimeoutError("slow"))
    with pytest.raises(TimeoutError):
        retry.attempt(work)
    assert work.calls == retry.ATTEMPTS


class FaultyFileSystem(MemoryFileSystem):
    """A store in memory whose reads fail: every `period`-th, by an error or a short answer."""

    protocol = "faulty"
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]
    period = 3
    reads = 0
    kind = "reset"

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("faulty://", "memory://"))

    def _open(self, path, mode="rb", **kwargs):
        inner = super()._open(path, mode, **kwargs)
        return inner if "w" in mode else FaultyFile(inner.getvalue(), self)

    def cat_file(self, path, start=None, end=None, **kwargs):
        return self.fault(super().cat_file(path, start, end, **kwargs))

    def fault(self, data):
        type(self).reads += 1
        if self.reads % self.period:
            return data
        if self.kind == "reset":
            raise ConnectionResetError("Connection reset by peer")
        return data[: len(data) // 2]


class FaultyFile(io.BytesIO):
    def __init__(self, data, fs):
        super().__init__(data)
        self.fs = fs

    def read(self, size=-1):
        return self.fs.fault(super().read(size))


@pytest.fixture(params=["reset", "short"])
def faulty(request):
    fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
    FaultyFileSystem.store.clear()
    FaultyFileSystem.kind = request.param
    FaultyFileSystem.reads = 0
    return FaultyFileSystem(skip_instance_cache=True)


def test_a_remote_file_reads_like_a_local_one(faulty):
    data = bytes(range(256)) * 50
    faulty.pipe_file("/a.bin", data)
    local, remote = io.BytesIO(data), RemoteFile(faulty, "/a.bin")
    for step, size in [(0, 100), (3000, 7), (12_700, 500), (50, 0), (99_999, 10), (5, 12_000)]:
        assert remote.seek(step) == local.seek(step)
        assert remote.read(size) == local.read(size)
        assert remote.tell() == min(local.tell(), max(step, len(data)))
    remote.seek(-10, io.SEEK_END)
    assert remote.read() == data[-10:]
    remote.seek(0)
    buffer = bytearray(1000)
    assert remote.readinto(memoryview(buffer)) == 1000
    assert bytes(buffer) == data[:1000]
    assert retry.take_counts()
    remote.close()


def rows_of(unit):
    report = Report()
    tables = read(unit, Ledger.empty(), ReadConfig(), report)
    return [row for table in tables for row in table.to_pylist()], report


def test_a_shard_is_read_through_faults(faulty):
    members = [(f"{i}.jpg", jpeg(i, 200, 200)) for i in range(20)]
    faulty.pipe_file("/a.tar", tar_bytes(members))
    rows, report = rows_of(Unit("tar", "faulty://a.tar", place="a.tar", sizes=(1,)))
    assert [(row["uri"].split("#")[1], row["data"]) for row in rows] == members
    assert report.damage == []
    assert report.retries.total() > 0


def test_loose_files_are_read_through_faults(faulty, monkeypatch):
    monkeypatch.setattr(retry, "ATTEMPTS", 40)  # sixteen at once: one may have bad luck for long
    members = [(f"{i}.jpg", jpeg(i)) for i in range(20)]
    for name, data in members:
        faulty.pipe_file(f"/in/{name}", data)
    names = tuple(name for name, _ in members)
    sizes = tuple(len(data) for _, data in members)
    rows, report = rows_of(Unit("files", "faulty:///in/", names=names, sizes=sizes))
    assert [(row["uri"].rsplit("/", 1)[1], row["data"]) for row in rows] == members
    assert report.retries.total() > 0


def test_what_cannot_be_had_after_all_is_an_unreadable_row(faulty, monkeypatch):
    monkeypatch.setattr(FaultyFileSystem, "period", 1)
    faulty.pipe_file("/in/a.jpg", jpeg(1))
    size = len(jpeg(1))
    (row,), report = rows_of(Unit("files", "faulty:///in/", names=("a.jpg",), sizes=(size,)))
    assert row["error"] == "unreadable"
    assert row["data"] is None
    assert report.retries.total() >= retry.ATTEMPTS - 1
