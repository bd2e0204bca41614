"""Small runs, which need no Ray: the same tables, and the same answers to faults."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.errors import EXIT_INTERRUPTED
from pipeline.lake.store import LakeStore
from pipeline.maintenance.check import check
from tests.support.indexing import EXAMPLES, assert_same_tables, tables

SMALL_STEPS = ["--part-images", "2", "--detect-batch", "2", "--embed-batch", "2"]


def start(lake: Path, *options: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.commands.main", "index", str(EXAMPLES), "--output",
         str(lake), "--embedder", "sface", "--plain", *options],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def worker_at_work(run: subprocess.Popen[str], lake: Path) -> int:
    """Wait for the first part, and return the process that works."""
    until = time.monotonic() + 120
    while not list(lake.glob("images/*.parquet")):
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    (worker,) = children(run.pid)
    return worker


def ended(pid: int) -> bool:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with suppress(OSError):
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state != "Z":
                time.sleep(0.05)
                continue
        return True
    return False


def phases(lake: Path) -> list[str]:
    (path,) = (lake / "runs").glob("*.json")
    return list(json.loads(path.read_text())["performance"]["phases"])


@pytest.mark.parametrize("options", [[], SMALL_STEPS])
def test_the_tables_are_those_of_ray(example_lake, tmp_path, options):
    run = start(tmp_path / "lake", *options)
    out, err = run.communicate(timeout=300)
    assert run.returncode == 0, out + err
    assert_same_tables(tables(tmp_path / "lake"), tables(example_lake))
    assert "ray" not in phases(tmp_path / "lake")
    assert check(LakeStore(f"{tmp_path}/lake")).findings == []


def test_a_lost_worker_s_work_is_done_on_ray(example_lake, tmp_path):
    lake = tmp_path / "lake"
    run = start(lake, *SMALL_STEPS)
    os.kill(worker_at_work(run, lake), signal.SIGKILL)
    out, err = run.communicate(timeout=300)
    assert run.returncode == 0, out + err
    assert "the rest is done on Ray" in err
    assert_same_tables(tables(lake), tables(example_lake))
    assert "ray" in phases(lake)
    assert check(LakeStore(str(lake))).findings == []
    (path,) = (lake / "runs").glob("*.json")
    assert json.loads(path.read_text())["images"] == len(tables(lake)[0])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_takes_its_worker_along_and_is_resumed(example_lake, tmp_path, how):
    lake = tmp_path / "lake"
    run = start(lake, *SMALL_STEPS)
    worker = worker_at_work(run, lake)
    run.send_signal(how)
    _, err = run.communicate(timeout=60)
    assert run.returncode == (EXIT_INTERRUPTED if how == signal.SIGINT else -how), err
    assert "Traceback" not in err
    assert ended(worker)
    assert 0 < len(tables(lake)[0]) < len(tables(example_lake)[0])
    again = start(lake, *SMALL_STEPS)
    out, err = again.communicate(timeout=300)
    assert again.returncode == 0, out + err
    assert_same_tables(tables(lake), tables(example_lake))
