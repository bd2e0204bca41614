import json
import subprocess
import sys
import threading
import time

import pytest

from pipeline.errors import LakeBusyError
from pipeline.lake import lock
from pipeline.lake.lock import NAME, RunLock, holder, is_dead
from pipeline.storage.folder import Folder


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    url = str(tmp_path / "lake") if request.param == "local" else f"memory://lake-{tmp_path.name}"
    return Folder(url)


def other_process(folder, code="import time; time.sleep(60)"):
    """A process that holds the lake, as far as the lock tells."""
    process = subprocess.Popen([sys.executable, "-c", code])
    state = {
        "run_id": "other",
        "host": lock.host(),
        "pid": process.pid,
        "started": lock.process_start(process.pid),
        "beat": 1,
    }
    folder.publish(NAME, json.dumps(state).encode())
    return process


def test_one_run_at_a_time(folder):
    with RunLock(folder, "first"):
        assert holder(folder) == "first"
        with pytest.raises(LakeBusyError, match=r"Another run is writing to .*: first on"):
            RunLock(folder, "second").__enter__()
        assert holder(folder) == "first"
    assert holder(folder) is None
    with RunLock(folder, "second"):
        assert holder(folder) == "second"


def test_the_lock_goes_when_the_run_fails(folder):
    with pytest.raises(ValueError, match="broken"), RunLock(folder, "first"):
        raise ValueError("broken")
    assert holder(folder) is None


def test_of_many_at_once_one_gets_it(tmp_path):
    folder = Folder(str(tmp_path / "lake"))
    barrier = threading.Barrier(8)
    got = []

    def compete(name):
        barrier.wait()
        got.append((folder.create(NAME, name.encode()), name))

    threads = [threading.Thread(target=compete, args=(f"run {i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [name for won, name in got if won]
    assert len(winners) == 1
    assert folder.read(NAME) == winners[0].encode()


def test_a_living_run_of_this_machine_is_respected_and_a_dead_one_is_not(folder):
    process = other_process(folder)
    try:
        with pytest.raises(LakeBusyError):
            RunLock(folder, "mine").__enter__()
    finally:
        process.kill()
        process.wait()
    with RunLock(folder, "mine"):
        assert holder(folder) == "mine"


def test_a_process_id_that_is_used_again_is_no_living_run(folder):
    process = other_process(folder)
    try:
        state = lock.read(folder)
        assert not is_dead(state)
        assert is_dead(state | {"started": "1"})
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("beating", [True, False])
def test_a_lock_from_elsewhere_is_dead_when_its_heart_stands_still(folder, monkeypatch, beating):
    monkeypatch.setattr(lock, "STILL_S", 2.5)
    state = {"run_id": "far", "host": "elsewhere/1", "pid": 1, "started": "1", "beat": 1}
    folder.publish(NAME, json.dumps(state).encode())
    stop = threading.Event()

    def beat():
        while not stop.wait(0.3):
            state["beat"] += 1
            folder.publish(NAME, json.dumps(state).encode())

    thread = threading.Thread(target=beat)
    if beating:
        thread.start()
    try:
        if beating:
            with pytest.raises(LakeBusyError, match="far"):
                RunLock(folder, "mine").__enter__()
        else:
            with RunLock(folder, "mine"):
                assert holder(folder) == "mine"
    finally:
        stop.set()
        if beating:
            thread.join()


def test_waiting_for_another_run(folder):
    process = other_process(folder, "import time; time.sleep(1.5)")
    threading.Thread(target=process.wait, daemon=True).start()
    began = time.monotonic()
    with RunLock(folder, "mine", wait=True):
        assert holder(folder) == "mine"
    assert time.monotonic() - began > 1


def test_the_heart_beats(folder, monkeypatch):
    monkeypatch.setattr(lock, "HEARTBEAT_S", 0.05)
    with RunLock(folder, "first"):
        first = lock.read(folder)["beat"]
        until = time.monotonic() + 10
        while lock.read(folder)["beat"] == first:
            assert time.monotonic() < until
            time.sleep(0.02)


def test_a_damaged_lock_is_taken_over_after_watching_it(folder, monkeypatch):
    monkeypatch.setattr(lock, "STILL_S", 1.5)
    folder.publish(NAME, b"half a li")
    with RunLock(folder, "mine"):
        assert holder(folder) == "mine"
