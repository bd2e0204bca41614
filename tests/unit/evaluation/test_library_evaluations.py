"""The evaluations as methods of a lake: what the commands print, for notebooks and scripts."""

import json

import numpy as np
import pytest

from pipeline import Lake
from pipeline.commands.main import main
from pipeline.errors import ConfigError
from pipeline.models.cards.calibration import read_calibration
from tests.support.photo_lakes import face, photo_lake
from tests.unit.commands.test_evaluate_commands import labels, name, pairs, vectors

BOXES = f"image,x1,y1,x2,y2\n{name(0)},30,30,70,70\n{name(1)},0,0,9,9"
SUBJECTS = [
    ("clustering", Lake.evaluate_clustering, "labels", labels(), {}),
    ("verification", Lake.evaluate_verification, "pairs", pairs(), {"metric": "euclidean"}),
    ("identification", Lake.evaluate_identification, "labels", labels(), {"hold_out": 0.5}),
    ("detection", Lake.evaluate_detection, "boxes", BOXES, {"iou": 0.4}),
    ("calibrate", Lake.calibrate, "pairs", pairs(), {"labelled_set": "made-up people"}),
]


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    photos = {name(k): [face(vector)] for k, vector in enumerate(vectors())}
    made = photo_lake(tmp_path_factory.mktemp("lake") / "lake", photos)
    lake = Lake(made.folder.url)
    lake.cluster(ray="never")
    return lake


@pytest.mark.parametrize(("subject", "method", "truth", "text", "options"), SUBJECTS)
def test_a_method_returns_what_its_command_prints(
    lake, tmp_path, capsys, subject, method, truth, text, options
):
    path = tmp_path / "truth.csv"
    path.write_text(text)
    report = method(lake, path, bootstrap=5, **options)
    words = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    words += [f"--{truth}", str(path), "--bootstrap", "5", "--json"]
    assert main(["evaluate", subject, lake.url, *words]) == 0
    assert report.result == json.loads(capsys.readouterr().out)
    assert set(report.meanings) <= set(report.result)
    assert report.plots()


def test_a_calibration_is_written_where_it_is_asked_for(lake, tmp_path):
    path, card = tmp_path / "pairs.csv", tmp_path / "card.toml"
    path.write_text(pairs())
    report = lake.calibrate(pairs=path, output=str(card), bootstrap=0)
    made = read_calibration(card)
    assert made.method == report.result["calibration"]["method"]
    one, other = lake.faces.to_arrow(["face_id"])["face_id"].to_pylist()[:2]
    verdict = lake.verify(one, other, calibration=made)
    assert np.isclose(verdict.probability, made.probability(verdict.similarity))


@pytest.mark.parametrize(
    ("method", "options", "problem"),
    [
        (Lake.evaluate_clustering, {"bootstrap": -1}, "bootstrap is -1; give 0 or more"),
        (Lake.evaluate_verification, {"fold": 3}, "did you mean folds"),
        (Lake.evaluate_identification, {"template": "worst"}, "choose from mean, best"),
        (Lake.evaluate_detection, {"iou": 2}, "iou is 2; give more than 0, at most 1"),
        (Lake.calibrate, {"method": "linear"}, "choose from logistic, isotonic"),
    ],
)
def test_options_are_checked_before_anything_is_read(lake, method, options, problem):
    with pytest.raises(ConfigError, match=problem):
        method(lake, "no.csv", **options)
