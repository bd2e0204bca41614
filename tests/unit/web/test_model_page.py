"""The page of a model: whatever was trained, it opens, says what holds, and runs nothing."""

import html
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from pipeline import Lake
from pipeline.commands.main import main
from pipeline.lake.store import LakeStore
from pipeline.storage.folder import Folder
from pipeline.web.curves import Axis, Series
from pipeline.web.model import figures, plots
from pipeline.web.model.confusion import MOST, matrix
from pipeline.web.model.page import model_page
from pipeline.web.model.pairs import MOST_PAIRS, TESTED, wrong_pairs
from tests.support.model_pages import (
    EACH,
    EPOCHS,
    NAMES,
    NETWORK,
    STRANGERS,
    history,
    tables_of,
    training_lake,
)

pytest.importorskip("sklearn")

OPTIONS = {"bootstrap": 20, "false_alarms": 0.1}


def text(page):
    """What a page says: tags away, escapes resolved, space made single."""
    body = re.sub("<style>.*?</style>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", body)).split())


class Made:
    """A trained model: its lake, what became of it, its tables and its page."""

    def __init__(self, base, **options):
        labels = training_lake(base / "lake", **options)
        self.lake = Lake(base / "lake")
        self.trained = self.lake.train(base / "model", labels, **OPTIONS)
        self.tables = tables_of(base / "model")
        self.page = (base / "model" / "report.html").read_text()

    def again(self, **changes):
        """Return the page of the same model with another card."""
        trained = replace(self.trained, card={**self.trained.card, **changes})
        return model_page(self.lake.store, trained, self.tables)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Made(tmp_path_factory.mktemp("model"))


def test_the_page_says_what_was_trained_and_how_good_it_is(made):
    said, card = text(made.page), made.trained.card
    assert "This page shows faces and names of people." in said
    assert "Of 12 faces of 6 people that the model had not seen, 11 got the right name." in said
    assert f"Of {STRANGERS} faces of strangers, 0 were taken for somebody." in said
    facts = (card["embedder"], card["data_sha256"], card["created"], "file of labels", "36 train",
             "logistic: multinomial logistic regression", "scikit-learn")  # fmt: skip
    assert [fact for fact in facts if fact not in said] == []
    assert "--false-alarms 0.1 0.01" in said
    assert "--min-images" not in said
    accuracy = card["measures"]["closed_set"]
    low, high = accuracy["intervals"]["accuracy"]
    assert f"91.67 % {100 * low:.2f} to {100 * high:.2f} %" in said
    assert f"fewer than 5 images: a stranger {2 * STRANGERS}" in said
    assert "How the network learnt" not in said


def test_people_stand_worst_first_and_wrong_names_with_faces(made):
    rows = re.findall(r'<tr><th scope="row"><div class="clamp"><bdi>(.*?)</bdi>', made.page)
    assert [html.unescape(row) for row in rows[:2]] == [NAMES[1], NAMES[0]]
    assert len(rows) == len(NAMES)
    said = text(made.page)
    assert f"{NAMES[1]} was named {NAMES[0]}" in said
    assert made.page.count('src="data:image/jpeg;base64,') == 5  # one tested, two learnt of each
    assert "4 of 6 people who were tested are told without an error." in said


def test_hostile_names_are_text(made):
    assert "<script" not in made.page
    assert html.escape(NAMES[0]) in made.page
    assert "default-src 'none'" in html.unescape(made.page)
    for address in re.findall(r'(?:href|src)="([^"]*)"', made.page):
        assert address.startswith(("data:image/jpeg;base64,", "#")), address[:80]
    tags = re.findall(r"<[a-z][^>]*>", made.page)
    bare = [re.sub('"[^"]*"', "", tag) for tag in tags]
    assert not [tag for tag in bare if re.search(r"\son[a-z]+=", tag)]
    assert not [tag for tag in bare if tag.startswith(("<i>", "<form", "<link", "<object"))]
    assert r"\x202e" in made.page
    assert "\u202e" not in made.page
    assert "n" * 300 in made.page


def test_without_thumbnails_there_are_placeholders(tmp_path):
    page = Made(tmp_path, thumbnails=False).page
    assert "data:image/jpeg" not in page
    assert page.count(">no thumbnail</div>") == 5


def test_without_strangers_and_errors_the_page_says_so(tmp_path):
    made = Made(tmp_path, strangers=0, swapped=0)
    said = text(made.page)
    assert "Please note" in said
    assert all(note in said for note in made.trained.notes)
    assert "How often strangers are taken for somebody was not measured." in said
    assert "Known people found, and strangers" not in said
    assert "Is the probability true?" in said
    assert "Wrong names, with pictures" not in said
    assert "What was left out Nothing." in said


def test_only_parts_that_hold_the_faces_are_read_and_damage_costs_pictures_alone(tmp_path):
    made = Made(tmp_path)
    store = made.lake.store
    (part,) = store.parts()
    images, faces = store.read_part("images", part), store.read_part("faces", part)
    shown = {row["face_id"] for row in made.tables["told"].to_pylist() if not row["right"]}
    other = next(k for k, face in enumerate(faces["face_id"].to_pylist()) if face not in shown)
    name = store.publish_part(images.slice(other, 1), faces.slice(other, 1))
    store.folder.child("faces").publish(name, b"no Parquet")
    known, _ = wrong_pairs(made.tables["told"], made.tables["samples"])
    wanted = {face for pair in known for face, _ in (*pair.tested, *pair.own, *pair.others)}
    if faces["face_id"][other].as_py() not in wanted:
        assert made.again().count("data:image/jpeg") == 5
    store.folder.child("faces").publish(part, b"no Parquet")
    page = made.again()
    assert "data:image/jpeg" not in page
    assert "Some pictures could not be read" in text(page)


def test_faces_that_are_forgotten_by_then_are_placeholders(made, tmp_path):
    empty = LakeStore(str(tmp_path / "lake"))
    page = model_page(empty, made.trained, made.tables)
    assert page.count(">no thumbnail</div>") == 5


def test_a_network_s_page_shows_how_it_learnt(made):
    made.tables["history"] = history(1000)
    config = made.trained.card["config"]
    network = config["network"] | {"network": "mobileface", "crops": "/secret/crops", "batch": 8}
    page = made.again(network=NETWORK, config=config | {"network": network})
    del made.tables["history"]
    said = text(page)
    assert "Epoch 3 was the best, and is the one that was kept: accuracy of pairs 0.7500" in said
    assert "mobileface, begun with first; 4 epochs, the best was 3" in said
    assert "3 (the best)" in said
    assert "Loss by step" in said
    assert "People held out, by epoch" in said
    assert "torch 9.9" in said
    assert "kornia" not in said
    assert "--batch 8 64" in said
    assert "secret" not in page
    assert "/home" not in page
    lines = re.findall(r'<polyline points="([^"]*)"', page)
    assert max(len(line.split()) for line in lines) == plots.POINTS


def test_a_network_of_one_epoch_or_without_figures_has_a_page(made):
    for rows in (EPOCHS[:1], [], [{"epoch": 1, "loss": 1.0, "score": 0.0}] * 2):
        page = made.again(network={**NETWORK, "epochs": rows, "best_epoch": 1})
        assert "How the network learnt" in page
        assert "People held out, by epoch" not in page


def test_a_page_of_many_people_stays_small(made):
    count = 5_000
    row = made.trained.people[1]
    names = [f"{k:05} " + "n" * 390 for k in range(count)]
    people = [row | {"label": name, "f1": 0.5} for name in names]
    confusion = [
        {"true": names[k], "named": names[k - d], "faces": 3, "accepted": 1}
        for k in range(count) for d in range(3)
    ]  # fmt: skip
    told = pa.Table.from_pylist([
        {"face_id": f"{k:032x}-0", "label": names[k // 10], "part": "test",
         "named": names[k // 10 - 1], "right": False, "probability": 0.9, "accepted": True}
        for k in range(10 * count)
    ])  # fmt: skip
    tables = {**made.tables, "confusion": pa.Table.from_pylist(confusion), "told": told,
              "history": history(200_000)}  # fmt: skip
    trained = replace(made.trained, people=people, card={
        **made.trained.card, "network": {**NETWORK, "epochs": EPOCHS * 500}})  # fmt: skip
    page = model_page(made.lake.store, trained, tables)
    assert len(page) < 1_000_000
    said = text(page)
    assert "Shown are the 300 who are told worst, 4,700 are not shown" in said
    assert f"Shown are the {MOST} people who are confused most" in said
    assert page.count(" was named ") == MOST_PAIRS
    assert page.count(">no thumbnail</div>") == MOST_PAIRS * TESTED


def test_the_matrix_has_all_people_or_those_who_are_confused():
    people = [f"p{k}" for k in range(MOST + 5)]
    right = [{"true": p, "named": p, "faces": 4} for p in people]
    wrong = [{"true": "p1", "named": "p44", "faces": 2}, {"true": "p44", "named": "p7", "faces": 1}]
    assert matrix(right, people) is None
    few = matrix(right + wrong, people)
    assert few.names == ["p1", "p7", "p44"]
    assert not few.whole
    assert few.rows[0].cells == [(4, pytest.approx(4 / 6)), (0, 0), (2, pytest.approx(2 / 6))]
    whole = matrix([*right[:4], {"true": "p0", "named": "p9", "faces": 3}], people[:4])
    assert whole.whole
    assert whole.rows[0].elsewhere == 3
    many = [{"true": people[k], "named": people[k - 1], "faces": 1 + (k == 3)}
            for k in range(len(people))]  # fmt: skip
    assert len(matrix(many, people).rows) == MOST


def test_strangers_who_were_accepted_have_pairs_of_their_own():
    told = pa.Table.from_pylist([
        {"face_id": f"f-{k}", "label": label, "part": part, "named": "Ann", "right": right,
         "probability": p, "accepted": accepted}
        for k, (label, part, right, p, accepted) in enumerate([
            ("Ann", "test", True, 0.9, True), ("Bob", "test", False, 0.2, False),
            ("Bob", "test", False, 0.6, True), ("Zoe", "stranger, test", False, 0.7, True),
            ("Yan", "stranger, test", False, 0.1, False)])
    ])  # fmt: skip
    samples = pa.table({"face_id": ["a", "b", "c", "d"], "label": ["Ann", "Ann", "Ann", "Bob"],
                        "part": ["train", "test", "train", "train"]})  # fmt: skip
    (known,), (stranger,) = wrong_pairs(told, samples)
    assert (known.label, known.named, known.faces, known.accepted) == ("Bob", "Ann", 2, 1)
    assert known.tested == [("f-2", 0.6), ("f-1", 0.2)]
    assert (known.others, known.own) == ([("a", None), ("c", None)], [("d", None)])
    assert (stranger.label, stranger.tested, stranger.own) == ("Zoe", [("f-3", 0.7)], ())


def test_the_curve_of_the_open_set_is_that_of_its_thresholds():
    told = pa.table({
        "part": ["test"] * 4 + ["stranger, test"] * 4,
        "right": [True, True, True, False] + [False] * 4,
        "probability": [0.9, 0.7, 0.3, 0.95, 0.8, 0.5, 0.2, 0.1],
    })  # fmt: skip
    card = {"measures": {"open_set": {"false_alarms": 0.25, "detected": 0.25}},
            "acceptance": {"threshold": 0.75}}  # fmt: skip
    curve, mark = plots.open_set(told, card).series
    assert curve.x.tolist() == [0, 25, 25, 50, 75, 100]
    assert curve.y.tolist() == [25, 25, 25, 50, 75, 75]
    assert (mark.x.tolist(), mark.y.tolist()) == ([25], [25])


@pytest.mark.parametrize(
    ("axis", "texts"),
    [
        (Axis("", 0, 100), ["0", "20", "40", "60", "80", "100"]),
        (Axis("", 90, 100), ["90", "92", "94", "96", "98", "100"]),
        (Axis("", 1, 123_456), ["50,000", "100,000"]),
        (Axis("", 0.01, 100, log=True), ["0.01", "0.1", "1", "10", "100"]),
    ],
)
def test_ticks_are_round_and_inside(axis, texts):
    assert [text for _, text in axis.ticks()] == texts
    assert all(0 <= at <= 1 for at, _ in axis.ticks())
    assert axis.place(np.array([-5.0, 1e9])).tolist() == [0, 1]


def test_a_long_series_is_listed_in_part():
    rows = Series("", np.arange(1000.0), np.arange(1000.0)).rows()
    assert len(rows) == 20
    assert rows[-1] == ("999", "999")
    assert Series("", np.zeros(1), np.ones(1), "dots", [1]).rows() == [("0", "1 (1 face)")]


def test_losses_that_are_not_finite_or_few_are_no_curve():
    assert plots.loss(None) is None
    assert plots.loss(history(1)) is None
    table = pa.table({"step": [1, 2, 3], "loss": [1.0, float("nan"), 0.0]})
    assert plots.loss(table).series[0].y.tolist() == [1, 0]


def test_an_interval_that_is_not_known_is_a_dash():
    assert figures.between(None, None) == figures.percent(None) == figures.NOTHING
    assert figures.between(0.5, 1, 1) == "50.0 to 100.0 %"


def test_the_command_says_where_the_page_is(tmp_path, capsys):
    labels = training_lake(tmp_path / "lake", thumbnails=False)
    argv = ["train", str(tmp_path / "lake"), "--output", str(tmp_path / "model"), "--labels",
            str(labels), "--bootstrap", "0"]  # fmt: skip
    assert main(argv) == 0
    assert f"look at it: {tmp_path}/model/report.html" in capsys.readouterr().out.replace("\n", "")


def test_a_model_on_object_storage_has_its_page(tmp_path):
    labels = training_lake(tmp_path / "lake", thumbnails=False)
    trained = Lake(tmp_path / "lake").train("memory://models/page", labels, **OPTIONS)
    assert trained.page == "memory://models/page/report.html"
    assert b"Model <bdi>page</bdi>" in Folder("memory://models/page").read("report.html")
    assert EACH in {row["train_images"] + row["test_images"] for row in trained.people}
