"""What a killed command leaves half-written goes with the next one, and `check` names it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.commands.main import main
from pipeline.lake import lock
from pipeline.lake.lock import RunLock
from pipeline.maintenance.check import check
from tests.support import lakes

KILLED = """
import os, sys
from pipeline.lake.lock import RunLock
from pipeline.storage.folder import Folder
lake = Folder(sys.argv[1])
if sys.argv[3] == "held":
    RunLock(lake, "killed").__enter__()
lake.publish_by(sys.argv[2], lambda path: (open(path, "wb").write(b"half"), os._exit(9)))
"""
FOLDERS = [
    "constraints",
    "quarantine",
    "runs",
    "report",
    "report/img",
    "faces",
    "index",
    "forgotten",
]


@pytest.fixture
def lake(tmp_path):
    vectors, _ = lakes.archive(3, 3)
    return lakes.make(tmp_path / "lake", vectors).lake


def killed(lake, name, held="free"):
    command = [sys.executable, "-c", KILLED, lake.folder.url, name, held]
    assert subprocess.run(command, check=False).returncode == 9


def half_written(lake):
    root = Path(lake.folder.url)
    return [path for path in root.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_next_command_that_holds_the_lake_removes_what_is_half_written(lake, folder):
    killed(lake, f"{folder}/something.json")
    assert len(half_written(lake)) == 1
    (finding,) = check(lake).findings
    assert finding.kind == "leftover"
    assert finding.detail.startswith(folder)
    with RunLock(lake.folder, "next"):
        assert half_written(lake) == []
    assert check(lake).findings == []


def test_a_killed_command_s_lock_is_named_and_repaired(lake, capsys):
    killed(lake, "runs/x.json", "held")
    assert main(["check", lake.folder.url]) == 10
    assert "leftover" in capsys.readouterr().out
    assert "run.lock of killed" in [finding.detail for finding in check(lake).findings]
    assert main(["check", lake.folder.url, "--repair"]) == 0
    assert not lake.folder.exists(lock.NAME)
    assert half_written(lake) == []


def test_what_somebody_else_is_writing_stays(lake):
    seen = []

    def slowly(path):
        with open(path, "wb") as file:
            file.write(b"half")
        with RunLock(lake.folder, "meanwhile"):
            seen.append(half_written(lake))
        assert check(lake).findings == []

    lake.folder.publish_by("constraints/mine.json", slowly)
    assert len(seen[0]) == 1
    other = Path(lake.folder.url) / "constraints" / ".x.json.0123456789ab-1-0.tmp"
    other.write_text("of another machine")
    with RunLock(lake.folder, "next"):
        assert other.exists()
    long_ago = time.time() - 4000
    os.utime(other, (long_ago, long_ago))
    with RunLock(lake.folder, "later"):
        assert not other.exists()
