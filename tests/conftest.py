"""Fixtures that all tests share."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pipeline.config import DetectConfig
from pipeline.models.detector import load_detector
from tests.support.builders import PHOTOS, Archive
from tests.support.ray_cluster import Holder

# Threads that spin for two cores shared with other work take ten times as long.
torch.set_num_threads(1)
HOLDER = pytest.StashKey[Holder]()
PLACE = pytest.StashKey[Path]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Tell each worker of pytest-xdist where it will read of the Ray cluster that they share."""
    if PLACE not in node.config.stash:
        node.config.stash[PLACE] = Path(tempfile.mkdtemp()) / "place.json"
    node.workerinput["cluster"] = str(node.config.stash[PLACE])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node, ids) -> None:
    """Start that cluster when there are tests that may need it."""
    stash = node.config.stash
    if HOLDER not in stash and any(one.startswith("tests/integration/") for one in ids):
        stash[HOLDER] = Holder(stash[PLACE])


def pytest_unconfigure(config) -> None:
    if HOLDER in config.stash:
        config.stash[HOLDER].close()
    if PLACE in config.stash:
        shutil.rmtree(config.stash[PLACE].parent)


def pytest_collection_modifyitems(items) -> None:
    """Let long tests begin first, so that no worker is left with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def photos() -> Path:
    """The example photos."""
    return PHOTOS


@pytest.fixture(scope="session")
def photo_pixels():
    """Upright RGB pixels of every example photo, by file name."""
    paths = [p for p in sorted(PHOTOS.iterdir()) if p.suffix in (".jpg", ".png")]
    return {p.name: np.asarray(Image.open(p).convert("RGB")) for p in paths}


@pytest.fixture(scope="session")
def reference():
    """What facenet-pytorch 2.6.0 finds in the example photos: a row a face."""
    return pd.read_parquet(Path(__file__).parent / "data" / "mtcnn-reference-photos.parquet")


@pytest.fixture(scope="session")
def detector():
    """The detector at full resolution, as facenet-pytorch has it."""
    return load_detector(config=DetectConfig(detection_side=None, turns=False))


@pytest.fixture
def archive():
    """A ledger that grows with every run over inputs, nothing decoded."""
    return Archive()
