"""Clusters of several nodes, on this machine: one joins late, one goes, one is slow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.lake.store import LakeStore
from pipeline.maintenance.check import check
from tests.support.builders import jpeg
from tests.support.indexing import EXAMPLES, tables

# Blocks of tiny photos would travel with their tasks, past the object stores.
PADDING = bytes(100_000)
PHOTOS, FACE = 96, "collins-nasa-portrait.png"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(PHOTOS - 1):
        (folder / f"{number:03}.jpg").write_bytes(jpeg(number, 120, 120) + PADDING)
    (folder / FACE).write_bytes((EXAMPLES / FACE).read_bytes())
    return folder


def indexed(case: str, photos: Path, lake: Path) -> dict[str, int]:
    """Index on the nodes of a case, and return how many images each was given to detect."""
    command = [
        sys.executable, "-m", "tests.support.nodes", case, str(photos), str(lake),
        "--embedder", "sface", "--plain", "--part-images", "8",
        "--detect-batch", "4", "--embed-batch", "4",
    ]  # fmt: skip
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    told = json.loads((done.stdout.splitlines() or ["{}"])[-1])
    assert told.get("code") == 0, done.stdout + done.stderr
    images, faces = tables(lake)
    assert len(images) == images.image_id.nunique() == PHOTOS
    assert images.error.isna().all()
    assert len(faces) == 1
    assert check(LakeStore(str(lake))).findings == []
    return told["images"]


def test_a_node_that_joins_late_works(photos, tmp_path) -> None:
    given = indexed("late", photos, tmp_path / "lake")
    assert given["other"] > 0
    assert sum(given.values()) == PHOTOS


def test_a_node_that_goes_loses_and_doubles_nothing(photos, tmp_path) -> None:
    given = indexed("gone", photos, tmp_path / "lake")
    assert given["other"] > 0
    assert given["first"] == PHOTOS  # what the other one was given as well


def test_a_slow_node_is_given_less(photos, tmp_path) -> None:
    given = indexed("slow", photos, tmp_path / "lake")
    assert 0 < given["other"] < given["first"]
    assert sum(given.values()) == PHOTOS
