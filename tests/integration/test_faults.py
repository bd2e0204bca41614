"""What the lake promises under faults, end to end; `benchmarks/reliability.py` injects more."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from pipeline.commands.main import main
from pipeline.errors import LakeBusyError, StorageError
from pipeline.lake.lock import NAME, RunLock
from pipeline.lake.store import LakeStore
from pipeline.maintenance.check import check
from tests.support.faulty_proxy import FaultyProxy
from tests.support.indexing import EXAMPLES, assert_same_tables, index, tables

COPIES = 30  # enough for a run to be killed in its middle
NAMES = ["obama-2012-closeup.jpg", "collins-nasa-portrait.png", "cat-no-face.png"]


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_bytes((EXAMPLES / name).read_bytes())
    return folder


def test_unreadable_images_are_read_again_and_others_when_asked(cluster, photos, tmp_path) -> None:
    lake = tmp_path / "lake"
    (photos / "lost.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    (photos / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
    assert index(photos, "--output", lake) == 0
    errors = tables(lake)[0].error.dropna().tolist()
    assert len(errors) == 2
    assert "unreadable" in errors
    (tmp_path / "elsewhere.jpg").write_bytes((EXAMPLES / "obama-blue-room.jpg").read_bytes())
    (photos / "bad.jpg").write_bytes((EXAMPLES / "obama-press-room.jpg").read_bytes())
    assert index(photos, "--output", lake) == 0
    images, faces = tables(lake)
    assert len(images) == images.image_id.nunique() == 5
    assert images.error.isna().all()  # the other one is another file now
    assert len(faces) == 4
    (photos / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
    assert index(photos, "--output", lake) == 0
    assert tables(lake)[0].error.notna().sum() == 1
    status = (photos / "bad.jpg").stat()
    bad = (EXAMPLES / "obama-press-room.jpg").read_bytes()
    (photos / "bad.jpg").write_bytes(bad)
    os.utime(photos / "bad.jpg", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert index(photos, "--output", lake, "--retry-errors", "all") == 0
    images, faces = tables(lake)
    assert len(images) == images.image_id.nunique() == 5
    assert images.error.isna().all()
    assert len(faces) == 4
    assert check(LakeStore(str(lake))).findings == []


def test_a_second_run_is_refused_and_a_dead_one_s_lock_is_not_minded(
    cluster, photos, tmp_path, capsys
) -> None:
    lake = LakeStore(str(tmp_path / "lake"))
    with RunLock(lake.folder, "the-first"):
        code = main(["index", str(photos), "--output", lake.folder.url, "--embedder", "sface"])
        assert code == LakeBusyError.exit_code
        assert "the-first" in capsys.readouterr().err
        state = lake.folder.read(NAME)
    dead = state.replace(b'"started": "', b'"started": "1')  # a process of that id, but another
    lake.folder.publish(NAME, dead)
    assert index(photos, "--output", lake.folder.url) == 0
    assert len(tables(lake.folder.url)[0]) == 3
    assert not lake.folder.exists(NAME)


def test_a_killed_driver_loses_and_doubles_nothing(photos, tmp_path) -> None:
    """With a Ray of its own, which dies with the driver."""
    for copy in range(COPIES):
        for name in NAMES:
            (photos / f"{copy:02}-{name}").write_bytes((EXAMPLES / name).read_bytes())
    lake = tmp_path / "lake"
    command = [
        sys.executable, "-m", "pipeline.commands.main", "index", str(photos), "--output",
        str(lake), "--embedder", "sface", "--plain", "--part-images", "8",
        "--detect-actors", "1", "--embed-actors", "1", "--detect-batch", "4", "--embed-batch", "4",
    ]  # fmt: skip
    env = {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "RAY_AUTH_MODE")}
    first = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, text=True)
    until = time.monotonic() + 120
    while not list(lake.glob("images/*.parquet")):
        assert first.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert len(tables(lake)[0]) < (COPIES + 1) * len(NAMES)  # in its middle
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    images, faces = tables(lake)
    assert len(images) == images.image_id.nunique() == (COPIES + 1) * len(NAMES)
    assert len(faces) == (COPIES + 1) * 2
    assert check(LakeStore(str(lake))).findings == []


def test_a_full_disk_is_told_once_and_nothing_is_lost(cluster, photos, tmp_path, capsys) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=36k", "tmpfs", str(lake)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small tmpfs")
    try:
        code = index(photos, "--output", lake)
        message = capsys.readouterr().err
        assert code == StorageError.exit_code
        assert "the disk is full" in message
        assert message.count("\n") == 1
        subprocess.run(["mount", "-o", "remount,size=16m", str(lake)], check=True)
        assert index(photos, "--output", lake) == 0
        assert len(pd.read_parquet(lake / "images")) == 3
        assert check(LakeStore(str(lake))).findings == []
    finally:
        subprocess.run(["umount", str(lake)], check=False)


@pytest.mark.s3
def test_a_faulty_object_store_changes_nothing(cluster, s3, photos, tmp_path, capsys) -> None:
    s3.filesystem().put(str(photos), "photos/faulty-in", recursive=True)
    assert index(photos, "--output", tmp_path / "lake") == 0
    proxy = FaultyProxy(s3.address, share=0.2, kinds=("503", "reset", "partial"), seed=3)
    options = [
        part.replace(s3.endpoint, proxy.endpoint) if part.startswith("endpoint_url=") else part
        for part in s3.options
    ]
    try:
        assert index("s3://photos/faulty-in", "--output", "s3://photos/faulty", *options) == 0
    finally:
        proxy.close()
    assert proxy.injected.total() > 0
    assert "storage asked again" in capsys.readouterr().out
    assert_same_tables(tables("s3://photos/faulty", s3.settings), tables(tmp_path / "lake"))
