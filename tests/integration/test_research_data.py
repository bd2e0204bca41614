"""What is promised on the research photos; skipped without them."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.small_lakes import Source, small_lakes
from pipeline.evaluation.measures.calibrate import calibrate
from pipeline.evaluation.measures.clustering import Contingency
from pipeline.evaluation.measures.identification import identification, search, split
from pipeline.evaluation.measures.verification import pair_scores, verification
from pipeline.evaluation.pairs import load_pairs
from pipeline.evaluation.settings import PairsConfig
from pipeline.lake.lookup import vectors_of
from pipeline.lake.store import LakeStore
from pipeline.models import find_card, load_detector
from tests.support.data import shards
from tests.support.indexing import index
from tests.support.lfw import named_people
from tests.support.parity import Score, stored

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def data() -> Path:
    folder = Path(os.environ.get("FACELAKE_DATA") or "/nonexistent")
    if not (folder / "lfw-dev").is_dir():
        pytest.skip("FACELAKE_DATA does not name a folder with lfw-dev and wild-dev")
    return folder


def test_lfw_from_shards_to_verification(cluster, data, tmp_path) -> None:
    lake = tmp_path / "lake"
    # two pairs of actors start faster than four, and do the work of two cores
    pools = ["--detect-actors", "2", "--embed-actors", "2"]
    assert index(data / "lfw-dev" / "*.tar", "--output", lake, "--no-thumbnails", *pools) == 0
    images = pd.read_parquet(lake / "images")
    assert len(images) == images.image_id.nunique() == 5373
    assert images.error.isna().all()
    assert (images.faces > 0).mean() >= 0.998
    check_measures(LakeStore(str(lake)), data / "lfw-dev" / "pairs.txt")
    check_small_lakes(str(lake))


def check_small_lakes(lake: str) -> None:
    """Check what docs/people.md reports of small lakes, on fewer of them."""
    source = Source.of(lake, "lfw-dev", "reporting")
    for kind in ("8 people, 10 photos each", "60 people, 4 photos each"):
        results = list(small_lakes(source, kind, 6))
        rates = [Contingency.of(one.label, one.cluster).rates() for one in results]
        assert np.mean([rate["pairwise_precision"] for rate in rates]) >= 0.98
        assert np.mean([rate["pairwise_recall"] for rate in rates]) >= 0.98
        sure = np.concatenate([one.confidence for one in results]) >= 0.95
        assert np.concatenate([one.right() for one in results])[sure].mean() >= 0.95


def check_measures(lake: LakeStore, path: Path) -> None:
    """Check what docs/evaluation.md reports of LFW's development people."""
    loaded = load_pairs(lake, str(path), PairsConfig())
    pairs = loaded.pairs
    scores = pair_scores(loaded.vectors, pairs)
    result = verification(scores, pairs, bootstrap=0)
    assert result.measures["accuracy"] >= 0.990
    assert result.measures["auc"] >= 0.997
    assert result.measures["eer"] <= 0.010
    assert result.measures["tar_at_far_1e-03"] >= 0.980
    scored = np.isfinite(scores[0])
    fitted = calibrate(scores[0][scored], pairs.same[scored], pairs.fold[scored])
    assert fitted.calibration.log_loss < 0.04
    shipped = find_card("sface").calibration
    assert shipped is not None
    at = np.linspace(-0.1, 0.8, 50)
    calibrated, bundled = fitted.calibration.probabilities(at), shipped.probabilities(at)
    assert np.abs(calibrated - bundled).max() < 0.1
    faces, person = named_people(lake)
    parts = split(person)
    probes = np.concatenate([parts.known, parts.unknown])
    searches = search(vectors_of(lake, faces), person, parts.gallery, probes)
    measures = identification(searches, person[probes], bootstrap=0).measures
    assert measures["rank_1"] >= 0.985
    assert measures["fnir_at_fpir_0.01"] <= 0.04
    assert measures["fnir_at_fpir_0.1"] <= 0.02


def test_mtcnn_finds_what_the_reference_found_in_lfw(data) -> None:
    frame = pd.read_parquet(data / "lfw-dev" / "mtcnn-reference.parquet")
    stored_rows = dict(list(frame.groupby("key")))
    score = Score("one shard")
    detector = load_detector()
    batch = [photo for photo, _ in zip(shards("lfw-dev"), range(640), strict=False)]
    detections = detector.detect([pixels for _, pixels in batch])
    for (name, _), faces in zip(batch, detections, strict=True):
        score.add(name, stored(stored_rows.get(name)), faces)
    assert score.photos == 640
    assert score.faces > 640
    # Near-ties in suppression may fall the other way, once in thousands of photos.
    assert len(score.outside) <= 1, score.outside
