import json
import shutil
import sys

import pytest

from pipeline.commands.main import main
from pipeline.errors import EXIT_UNSOUND
from pipeline.maintenance.doctor import machine, packages, places
from pipeline.models.weights import store
from pipeline.models.weights.store import WeightStore


def doctor(capsys, *words):
    code = main(["doctor", *map(str, words)])
    return code, capsys.readouterr().out


def by_name(items):
    return {one.name: one for one in items}


@pytest.fixture
def without(monkeypatch):
    """Return what hides packages, or gives them another version."""

    def hide(**versions):
        real = packages.version_of
        monkeypatch.setattr(
            packages,
            "version_of",
            lambda name: versions.get(name, None if name in versions else real(name)),
        )

    return hide


def test_all_is_told_without_torch_and_ray(capsys, monkeypatch, tmp_path):
    for name in ("torch", "ray"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "photo.jpg").write_bytes(b"bytes")
    code, text = doctor(capsys, tmp_path, "--json")
    told = json.loads(text)
    assert code == 0
    assert told["sound"]
    names = {one["name"]: one["value"] for one in told["items"]}
    assert names["Python"] == ".".join(map(str, sys.version_info[:3]))
    assert "torch 2" in names["libraries"]
    assert names["sface"] == "bundled, checked"
    assert (names["list"], names["read"], names["write"]) == ("yes, 1 entries", "yes", "yes")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_missing_extra_is_no_fault(capsys, without):
    without(uvicorn=None)
    code, text = doctor(capsys)
    assert code == 0
    assert "lacks uvicorn" in text
    assert "pip install 'facelake[review]'" in " ".join(text.split())


def test_a_missing_library_is_one(capsys, without):
    without(numba=None, rich="1.0")
    code, text = doctor(capsys)
    assert code == EXIT_UNSOUND
    assert "pip install numba 'rich>=13.9'" in " ".join(text.split())
    assert "Necessary and missing: packages missing" in text


def test_extras_of_packages_are_followed(without):
    without(pydantic=None, tensorboardX=None)
    assert sorted(packages.missing("facelake", "train")) == ["pydantic", "tensorboardX"]


def test_run_from_a_folder(monkeypatch):
    monkeypatch.setattr(packages, "NAME", "facelake-that-is-not-installed")
    found = by_name(packages.packages())
    assert "run from its folder" in found["facelake-that-is-not-installed"].value


def test_weights_that_are_damaged(monkeypatch, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(store.DATA, data)
    (data / "onet.pt").write_bytes(b"no weights")
    monkeypatch.setattr(store, "DATA", data)
    found = by_name(places.weights(WeightStore(tmp_path)))
    assert (found["mtcnn"].value, found["mtcnn"].necessary) == ("damaged: onet.pt", True)
    assert found["sface"].value == "bundled, checked"
    assert found["facenet-vggface2"].advice == "facelake weights fetch facenet-vggface2"
    (tmp_path / "20180402-114759-vggface2.pt").write_bytes(b"")
    assert by_name(places.weights(WeightStore(tmp_path)))["facenet-vggface2"].value == "cached"


def test_a_folder_that_is_to_be_made(tmp_path, capsys):
    lake = tmp_path / "new" / "lake"
    listed, written = places.access(str(lake), {})
    assert (listed.value, written.value) == ("there is nothing yet", "yes")
    assert list(tmp_path.iterdir()) == []
    code, text = doctor(capsys, lake, "--read-only")
    assert code == EXIT_UNSOUND
    assert "check the path" in " ".join(text.split())


def test_a_file_is_only_read(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"bytes")
    found = by_name(places.access(str(tmp_path / "a.tar"), {}))
    assert (found["read"].value, found["write"].value) == ("yes", "not tried: it is a file")


def test_where_nothing_may_be_written(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.link", refused)
    monkeypatch.setattr("os.replace", refused)
    written = by_name(places.access(str(tmp_path), {}))["write"]
    assert written.necessary
    assert "permission denied; check the owner" in written.advice


def test_an_address_of_no_back_end(capsys):
    code, text = doctor(capsys, "nowhere://bucket")
    assert code == EXIT_UNSOUND
    assert "install the fsspec back end for nowhere://" in " ".join(text.split())


def test_remote_storage_is_read_below(monkeypatch):
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.pipe_file("/doctored/a/b/photo.jpg", b"bytes")
    found = by_name(places.access("memory://doctored", {}))
    assert [found[name].value for name in ("read", "write")] == ["yes", "yes"]
    assert fs.find("/doctored") == ["/doctored/a/b/photo.jpg"]
    fs.rm("/doctored", recursive=True)


def test_limits_of_a_container(monkeypatch, tmp_path):
    for name, text in (("cpu.max", "50000 100000"), ("memory.max", "1000000000\n"),
                       ("memory.current", "400000000\n")):  # fmt: skip
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    found = by_name(machine.machine())
    assert "the container may use 0.5" in found["cores"].value
    assert found["memory"].value == "1.0 GB for the container, 0.6 GB free"
    assert "--detect-actors 1" in found["memory"].advice


@pytest.mark.parametrize(("built", "advice"), [(None, "install a build of torch"), ("13.0", "")])
def test_a_gpu_and_a_torch_that_may_not_use_it(monkeypatch, built, advice):
    monkeypatch.setattr(machine, "gpus", lambda: ["H100"])
    monkeypatch.setattr(machine, "torch_cuda", lambda: built)
    one = by_name(machine.machine())["CUDA"]
    assert advice in one.advice
    assert bool(one.advice) == bool(advice)


class Driver:
    """Stands for the library of the GPUs' driver."""

    def cuInit(self, flags):
        return 0

    def cuDeviceGetCount(self, count):
        count._obj.value = 2
        return 0

    def cuDeviceGetName(self, name, length, index):
        assert length == 256
        name.value = f"GPU {index}".encode()


def test_gpus_are_those_of_the_driver(monkeypatch):
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: Driver())
    assert machine.gpus() == ["GPU 0", "GPU 1"]
    monkeypatch.setattr(Driver, "cuInit", lambda self, flags: 100)  # there is none
    assert machine.gpus() == []


def test_a_machine_without_proc(monkeypatch, tmp_path):
    for name in ("CPUINFO", "MEMINFO", "SHARED"):
        monkeypatch.setattr(machine, name, tmp_path / "nothing")
    assert "no vector units known" in by_name(machine.machine())["processor"].value
