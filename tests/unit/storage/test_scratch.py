"""Folders for a while: private, short when asked, removed, and only when their run is dead."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time

import pytest

from pipeline.storage import scratch as scratching
from pipeline.storage.scratch import leftovers, remove_leftovers, scratch, short_parent

HOLD = """
import sys, time
from pipeline.storage.scratch import scratch
with scratch(sys.argv[1]) as folder:
    open(folder + "/photo", "w").close()
    print(folder, flush=True)
    time.sleep(60)
"""


def test_a_folder_is_private_and_removed(tmp_path):
    with scratch(str(tmp_path)) as folder:
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        os.makedirs(f"{folder}/deep/er")
    assert os.listdir(tmp_path) == []


def test_what_a_killed_run_left_goes_and_what_lives_stays(tmp_path):
    runs = [
        subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        folders = [run.stdout.readline().decode().strip() for run in runs]
        assert leftovers([str(tmp_path)]) == []
        os.kill(runs[0].pid, signal.SIGKILL)
        runs[0].wait()
        assert leftovers([str(tmp_path)]) == [folders[0]]
        with scratch(str(tmp_path)) as mine:  # the next run clears up
            assert sorted(os.listdir(tmp_path)) == sorted(
                os.path.basename(path) for path in (folders[1], mine)
            )
        assert os.path.exists(folders[1] + "/photo")
    finally:
        for run in runs:
            run.kill()
            run.wait()
            run.stdout.close()


def test_folders_of_others_links_and_folders_without_a_lock_stay(tmp_path):
    names = ("facelake-open", "facelake-nolock", "other-x")
    for name in names:
        (tmp_path / name).mkdir(mode=0o700)
        (tmp_path / name / "kept").touch()
    for name in ("facelake-open", "other-x"):
        (tmp_path / name / "lock").touch()
    os.chmod(tmp_path / "facelake-open", 0o777)
    os.symlink(tmp_path / "other-x", tmp_path / "facelake-link")
    assert remove_leftovers([str(tmp_path), str(tmp_path / "none")]) == 0
    assert len(os.listdir(tmp_path)) == 4


@pytest.mark.parametrize("name", ["lock", "lock.new"])
def test_a_removal_that_was_cut_short_is_finished(tmp_path, name):
    (tmp_path / "facelake-a").mkdir(mode=0o700)
    (tmp_path / "facelake-a" / name).touch()
    assert remove_leftovers([str(tmp_path)]) == 1
    assert os.listdir(tmp_path) == []


def test_an_empty_folder_goes_when_it_is_old(tmp_path):
    (tmp_path / "facelake-a").mkdir(mode=0o700)
    assert remove_leftovers([str(tmp_path)]) == 0
    os.utime(tmp_path / "facelake-a", (time.time() - 3600,) * 2)
    assert remove_leftovers([str(tmp_path)]) == 1


def test_a_short_place_is_found_or_told(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    assert short_parent(10) == "/tmp"
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert short_parent(10) == "/tmp"
    assert short_parent(300) == str(long)
    monkeypatch.setattr(scratching, "OTHERS", ())
    monkeypatch.setattr(scratching.os.path, "expanduser", lambda _: "/nonexistent")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert short_parent(10) is None
