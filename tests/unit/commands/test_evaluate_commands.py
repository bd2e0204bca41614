import builtins
import json

import numpy as np
import pytest

from pipeline.commands.main import main
from pipeline.errors import ConfigError
from pipeline.models.cards.calibration import read_calibration
from tests.support.photo_lakes import REVISION, face, image_id, photo_lake, thumbnail

PEOPLE, EACH = 20, 4


def vectors(dimension=128):
    random = np.random.default_rng(0)
    person = np.repeat(np.arange(PEOPLE), EACH)
    centres = random.standard_normal((PEOPLE, dimension))
    found = centres[person] + 1.1 * random.standard_normal((len(person), dimension))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def name(k):
    return f"P{k // EACH:02}_{k % EACH + 1:04}.jpg"


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    photos = {
        name(k): [face(v, thumbnail=thumbnail(k) if k < 8 else None)]
        for k, v in enumerate(vectors())
    }
    photos |= {"alone.jpg": [face(np.eye(128)[0])], "none.jpg": [], "bad.jpg": None}
    return photo_lake(tmp_path_factory.mktemp("lake") / "lake", photos)


@pytest.fixture
def facelake(lake, tmp_path, capsys):
    def run(subject, option, text, *words, code=0):
        path = tmp_path / "truth.csv"
        path.write_text(text)
        words = ("evaluate", subject, lake.folder.url, f"--{option}", str(path), *words)
        assert main(words) == code
        out, err = capsys.readouterr()
        return err if code else out

    return run


def pairs(count=200, header="a,b,same", tail=lambda k, same: ""):
    random = np.random.default_rng(1)
    lines = [header]
    for k in range(count):
        same = k % 2
        a = int(random.integers(0, PEOPLE * EACH))
        b = a // EACH * EACH + (a + 1) % EACH if same else (a + EACH) % (PEOPLE * EACH)
        lines.append(f"{name(a)},{name(b)},{same}{tail(k, same)}")
    return "\n".join(lines)


def labels():
    return "image,label\n" + "\n".join(f"{name(k)},P{k // EACH}" for k in range(PEOPLE * EACH))


def test_verification(facelake):
    text = pairs() + "\nnone.jpg,P00_0001.jpg,0\nbad,P00_0001,1\nmissing,P00_0001,1"
    found = json.loads(facelake("verification", "pairs", text, "--json", "--bootstrap", "20"))
    assert found["subject"] == "verification"
    assert found["embedder"] == "sface@fb143eea0783"
    assert found["accuracy"] > 0.9
    assert (found["pairs"], found["pairs_same"]) == (202, 101)
    assert PEOPLE < found["people"] < 40  # some are not joined by a pair of one person
    assert (found["pairs_without_face"], found["pairs_not_in_lake"]) == (2, 1)
    assert (found["folds"], found["folds_drawn"]) == (10, True)
    low, high = found["intervals"]["auc"]
    assert low <= found["auc"] <= high
    assert found["tar_at_far_1e-03"] is None
    assert "cannot be resolved: 101 impostor trials" in found["unresolved"]["0.001"]
    assert {row["name"] for row in found["threshold_table"]} >= {"", "accuracy", "card: verify"}
    assert found["roc"]["far"][-1] == 1


def test_the_table_of_verification(facelake):
    def tail(k, same):
        return f",{k % 3},{'north' if k < 100 else 'south'}"

    text = pairs(header="a,b,same,fold,group", tail=tail) + "\nP00_0001,P00_0002,0,1,"
    shown = facelake("verification", "pairs", text, "--bootstrap", "5")
    for part in ("accuracy standard error", "eer", "tar at far 1e-04", "card: verify", "by group",
                 "north", "south", "3 folds, from the file", "FAR 0.0001 cannot be resolved",
                 "0 pairs have a photo in which no face", "make them one person"):  # fmt: skip
        assert part in shown


def test_groups_of_a_file(facelake, tmp_path):
    groups = tmp_path / "groups.csv"
    lines = [f"{name(k)},{'even' if k // EACH % 2 == 0 else 'odd'}" for k in range(PEOPLE * EACH)]
    groups.write_text("image,parity\n" + "\n".join(lines))
    text = pairs()
    options = ("--groups", str(groups), "--json", "--bootstrap", "0")
    found = json.loads(facelake("verification", "pairs", text, *options))
    # neighbours are of the other parity: no pair of two people is inside a group
    assert found["groups"]["parity"]["even"]["far"] is None
    assert found["groups"]["parity"]["odd"]["frr"] < 0.2
    assert found["intervals"] == {}


def test_distances_tell_what_cosines_tell(facelake):
    runs = [
        json.loads(facelake("verification", "pairs", pairs(), "--json", "--bootstrap", "0", *words))
        for words in ((), ("--metric", "euclidean"), ("--subtract-mean",))
    ]
    assert runs[0]["auc"] == pytest.approx(runs[1]["auc"])
    threshold = runs[1]["thresholds"]["tar_at_far_1e-01"]
    assert threshold == pytest.approx(
        (2 - 2 * runs[0]["thresholds"]["tar_at_far_1e-01"]) ** 0.5, rel=1e-6
    )
    assert runs[1]["threshold_table"][0]["threshold"] > 0
    assert runs[2]["auc"] == pytest.approx(runs[0]["auc"], abs=0.05)


def test_mirrored_faces(facelake):
    text = "a,b,same\n" + "\n".join(
        f"{name(a)},{name(b)},{int(a // EACH == b // EACH)}" for a in range(8) for b in range(a)
    )
    found = json.loads(facelake("verification", "pairs", text, "--flip", "--json", "--folds", "2"))
    assert found["flip"] is True
    error = facelake("verification", "pairs", pairs(), "--flip", code=ConfigError.exit_code)
    assert "has no thumbnail of 112 x 112 pixels" in error


def test_vectors_of_mirrored_faces_are_not_mirrored_again(tmp_path, capsys):
    both = photo_lake(tmp_path / "lake", {"a.jpg": [face()], "b.jpg": [face()]}, f"{REVISION}+flip")
    file = tmp_path / "pairs.csv"
    file.write_text("a,b,same\na.jpg,b.jpg,1\n")
    words = ["evaluate", "verification", both.folder.url, "--pairs", str(file), "--flip"]
    assert main(words) == ConfigError.exit_code
    assert "mirror images already (--views flip)" in capsys.readouterr().err


def test_identification(facelake):
    text = labels() + "\nalone,alone\nnone.jpg,nobody\n"
    found = json.loads(facelake("identification", "labels", text, "--json", "--bootstrap", "20"))
    assert found["rank_1"] > 0.9
    assert (found["gallery_people"], found["gallery_photos"]) == (PEOPLE, PEOPLE * EACH // 2)
    assert (found["probes_known"], found["probes_unknown"]) == (PEOPLE * EACH // 2, 1)
    assert found["labels_unmatched"] == 1
    assert found["fnir_at_fpir_0.01"] is None
    held = ("--hold-out", "0.5", "--template", "best", "--bootstrap", "5")
    shown = facelake("identification", "labels", labels(), *held)
    for part in (
        "rank 1",
        "fnir at fpir 0.1",
        "CMC",
        "template: best",
        "searches: 20 for them, 40",
    ):
        assert part in shown
    shown = facelake("identification", "labels", labels(), "--bootstrap", "0")
    assert "Nobody unknown was searched for" in shown


def test_detection(facelake):
    text = f"image,x1,y1,x2,y2,ignore\n{name(0)},30,30,70,70,0\n{name(1)},0,0,20,20,0\n" + (
        f"{name(2)},30,30,70,70,1\nbad.jpg,0,0,9,9,0\nmissing.jpg,1,1,5,5,0\n"
    )
    found = json.loads(facelake("detection", "boxes", text, "--json", "--bootstrap", "20"))
    # a hit and a false one of the same score; three boxes
    assert found["precision"] == 0.5
    assert found["recall"] == pytest.approx(1 / 3)
    assert (found["images"], found["boxes"], found["boxes_ignored"]) == (4, 3, 1)
    assert (found["images_not_in_lake"], found["boxes_not_in_lake"]) == (1, 1)
    assert (found["images_failed"], found["faces_on_ignored"]) == (1, 1)
    shown = facelake("detection", "boxes", text, "--bootstrap", "0")
    for part in ("average precision", "10 to below 50", "missing.jpg", "all-point interpolation",
                 "1 boxes are ignored, and 1 faces on them", "could not be read"):  # fmt: skip
        assert part in shown


def test_calibration(facelake, tmp_path, capsys, lake):
    card = tmp_path / "card.toml"
    words = ("--output", str(card), "--bootstrap", "5", "--labelled-set", "made-up people")
    shown = facelake("calibrate", "pairs", pairs(), *words)
    for part in ("log loss", "brier", "ece", "taken", "reliability on held-out folds", "prior 0.5"):
        assert part in shown
    made = read_calibration(card)
    assert made.labelled_set == "made-up people"
    assert made.embedder == "sface@fb143eea0783"
    again = json.loads(facelake("calibrate", "pairs", pairs(), "--json", "--method", "logistic"))
    assert again["calibration"]["method"] == "logistic"
    assert again["calibration"]["labelled_set"] == "truth.csv"
    assert set(again["held_out"]) == {"logistic", "isotonic"}
    words = ["verify", name(0), name(1), "--lake", lake.folder.url, "--calibration", str(card)]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["probability"] == pytest.approx(made.probability(told["similarity"]))
    card.write_bytes(b"\xff")
    assert "not UTF-8" in facelake("calibrate", "pairs", pairs(), *words[-1:0], "--output",
                                   str(card), code=ConfigError.exit_code)  # fmt: skip
    card.write_text("= 1")
    assert "cannot take" in facelake("calibrate", "pairs", pairs(), "--output", str(card), code=2)


SUBJECTS = [("verification", "pairs", pairs()), ("identification", "labels", labels()),
            ("calibrate", "pairs", pairs()),
            ("detection", "boxes", f"image,x1,y1,x2,y2\n{name(0)},0,0,9,9")]  # fmt: skip
PLOTS = {
    "verification": {"roc", "det", "scores"},
    "identification": {"cmc", "det", "scores"},
    "calibrate": {"reliability", "probability"},
    "detection": {"precision-recall"},
}


@pytest.mark.parametrize(("subject", "option", "text"), SUBJECTS)
def test_files(facelake, tmp_path, subject, option, text):
    pytest.importorskip("matplotlib")
    words = ["--json", str(tmp_path / "out" / "all.json"), "--plots", str(tmp_path / "plots")]
    if subject == "identification":
        words += ["--hold-out", "0.3"]
    shown = facelake(subject, option, text, *words, "--bootstrap", "5")
    assert "written: " in shown
    assert json.loads((tmp_path / "out" / "all.json").read_text())["lake"]
    files = {path.name: path.read_bytes() for path in (tmp_path / "plots").iterdir()}
    assert {f"{name}.{kind}" for name in PLOTS[subject] for kind in ("png", "svg")} == set(files)
    assert all(data[:4] == b"\x89PNG" for file, data in files.items() if file.endswith("png"))
    facelake(subject, option, text, *words, "--bootstrap", "5")
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "plots").iterdir()}


@pytest.mark.parametrize(("subject", "option", "text"), SUBJECTS)
def test_without_matplotlib(facelake, monkeypatch, subject, option, text):
    there = builtins.__import__

    def absent(name, *rest, **more):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return there(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    error = facelake(subject, option, text, "--plots", "x", code=ConfigError.exit_code)
    assert "pip install 'facelake[plots]'" in error


@pytest.mark.parametrize(
    ("subject", "option", "text", "words", "problem"),
    [
        ("verification", "pairs", pairs(), ("--folds", "1"), "folds is 1; give 2 or more"),
        ("verification", "pairs", pairs(), ("--bootstrap", "-1"), "0 or more"),
        ("verification", "pairs", "a,b,same\nP00_0001,P01_0001,0\n", (), "rates need both kinds"),
        ("verification", "pairs", "a,b,same\nnone,bad,0\n", (), "No photo of the pairs has a face"),
        ("verification", "pairs", "a,b,same\nx,y,0\n", (), "None of the 1 pairs"),
        ("calibrate", "pairs", "a,b,same\nP00_0001,P01_0001,0\n", ("--folds", "2"), "both kinds"),
        ("identification", "labels", labels(), ("--unknown-share", "3"), "between 0 and 1"),
        ("identification", "labels", "image,label\nalone,x\n", (), "two or more photos"),
        ("detection", "boxes", "image,x1,y1,x2,y2\nnone.jpg,,,,\n", (), "No box of"),
        (
            "detection",
            "boxes",
            "image,x1,y1,x2,y2\nnone.jpg,,,,\n",
            ("--iou", "0"),
            "iou is 0.0; give more than 0",
        ),
    ],
)
def test_what_cannot_be_evaluated(facelake, subject, option, text, words, problem):
    assert problem in facelake(subject, option, text, *words, code=ConfigError.exit_code)


def test_there_is_no_lake(tmp_path, capsys):
    for subject, option, _ in SUBJECTS:
        words = ["evaluate", subject, str(tmp_path / "no"), f"--{option}", "x"]
        assert main(words) == ConfigError.exit_code
        assert "There is no lake at" in capsys.readouterr().err


def test_pairs_by_face_id(facelake):
    def ids(k):
        return f"{image_id(name(k))}-0"

    text = "a,b,same\n" + "\n".join(
        f"{ids(a)},{ids(b)},{int(a // EACH == b // EACH)}" for a in range(12) for b in range(a)
    )
    words = ("--json", "--bootstrap", "0", "--folds", "3")
    assert json.loads(facelake("verification", "pairs", text, *words))["pairs"] == 66
