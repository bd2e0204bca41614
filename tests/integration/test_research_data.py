"""What is promised on the research photos; skipped without them."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.data import shards
from benchmarks.mtcnn_parity import Score, stored
from benchmarks.verification import central_vectors, k_fold, read_pairs, similarities
from pipeline.lake import Lake
from pipeline.models import load_detector
from tests.integration.support import index

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def data() -> Path:
    folder = Path(os.environ.get("FACELAKE_DATA") or "/nonexistent")
    if not (folder / "lfw-dev").is_dir():
        pytest.skip("FACELAKE_DATA does not name a folder with lfw-dev and wild-dev")
    return folder


def test_lfw_from_shards_to_verification(cluster, data, tmp_path) -> None:
    lake = tmp_path / "lake"
    assert index(data / "lfw-dev" / "*.tar", "--output", lake, "--no-thumbnails") == 0
    images = pd.read_parquet(lake / "images")
    assert len(images) == images.image_id.nunique() == 5373
    assert images.error.isna().all()
    assert (images.faces > 0).mean() >= 0.998
    pairs, folds = read_pairs(data / "lfw-dev" / "pairs.txt")
    score, same = similarities(central_vectors(Lake(str(lake))), pairs)
    accuracies, _ = k_fold(score, same, folds)
    assert np.mean(accuracies) >= 0.990


def test_mtcnn_finds_what_the_reference_found_in_lfw(data) -> None:
    frame = pd.read_parquet(data / "lfw-dev" / "mtcnn-reference.parquet")
    known = dict(list(frame.groupby("key")))
    score = Score("one shard")
    detector = load_detector()
    batch = [photo for photo, _ in zip(shards("lfw-dev"), range(640), strict=False)]
    found = detector.detect([pixels for _, pixels in batch])
    for (name, _), faces in zip(batch, found, strict=True):
        score.add(name, stored(known.get(name)), faces)
    assert score.photos == 640
    assert score.faces > 640
    # Near-ties in suppression may fall the other way, once in thousands of photos.
    assert len(score.outside) <= 1, score.outside
