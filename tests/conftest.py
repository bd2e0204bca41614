"""Fixtures that all tests share."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pipeline.config import DetectConfig
from pipeline.models.detector import load_detector
from tests.support.builders import PHOTOS, Archive

# Threads that spin for two cores shared with other work take ten times as long.
torch.set_num_threads(1)


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
