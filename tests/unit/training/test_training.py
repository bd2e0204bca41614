"""Training on lakes, the folder of a model, classifying, and what forgetting leaves of it."""

import csv
import hashlib
import io
import json
import sys

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline import Lake, classify
from pipeline.commands.main import main
from pipeline.errors import ConfigError, LakeMismatchError, StorageError
from pipeline.imaging.geometry import ARCFACE_112
from pipeline.maintenance.follow import leaving
from pipeline.maintenance.forget.derived import clean_predictions
from pipeline.models.detections import Detections
from pipeline.people import actions
from pipeline.people.store import People
from pipeline.people.view import view
from pipeline.storage.folder import Folder
from pipeline.training.classify import Classifier
from pipeline.training.model import load_model
from pipeline.training.predictions import predictions_of
from tests.support.lakes import archive
from tests.support.photo_lakes import REVISION, face, image_id, photo_lake

pytest.importorskip("sklearn")

PEOPLE, EACH, STRANGERS = 5, 8, 12
NAMES = ["Ann", "Bob", "Cem", "Dee", "Eve"]
OPTIONS = {"bootstrap": 20}


def name_of(person, k):
    return f"{NAMES[person]}-{k}.jpg" if person < PEOPLE else f"stranger{person}-{k}.jpg"


def vectors():
    """Return vectors by photo: five people on eight each, and twelve on two."""
    label = np.concatenate(
        [np.repeat(np.arange(PEOPLE), EACH), np.repeat(PEOPLE + np.arange(STRANGERS), 2)]
    )
    drawn, _ = archive(PEOPLE + STRANGERS, EACH)
    rows, seen = {}, {}
    for person in label.tolist():
        k = seen[person] = seen.get(person, -1) + 1
        rows[name_of(person, k)] = drawn[person * EACH + k]
    return rows


def write_labels(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label"])
        writer.writerows(rows)
    return path


def rows_in(path):
    return list(csv.reader(path.read_text().splitlines()))


def face_of(photo):
    return f"{image_id(photo)}-0"


@pytest.fixture
def lake(tmp_path):
    photo_lake(tmp_path / "lake", {name: [face(row)] for name, row in vectors().items()})
    return Lake(tmp_path / "lake")


@pytest.fixture
def labels(tmp_path):
    return write_labels(tmp_path / "labels.csv", [(n, n.split("-")[0]) for n in vectors()])


@pytest.fixture
def named(lake):
    """The lake, clustered, its five people named, two of whose images show more people."""
    lake.cluster(ray="never", threshold=0.45)
    store = People(lake.store)
    for person, name in enumerate(NAMES):
        owner = view(store).persons_of([face_of(name_of(person, 0))])
        actions.name(store, next(iter(owner.values())), name)
    return lake


def table(folder, stem):
    (path,) = folder.glob(f"{stem}-*.parquet")
    return pq.read_table(path)


@pytest.mark.parametrize("head", ["logistic", "svm", "centroid", "knn"])
def test_people_are_learnt_and_strangers_are_nobody(lake, labels, tmp_path, head):
    trained = lake.train(tmp_path / "model", labels, head=head, false_alarms=0.1, **OPTIONS)
    assert [row["label"] for row in trained.people] == NAMES
    assert trained.card["measures"]["closed_set"]["accuracy"] == 1
    assert trained.card["measures"]["open_set"]["stranger_faces"] == STRANGERS
    assert trained.card["embedder"] == lake.store.existing_models().embedder
    assert {(one.label, one.count) for one in trained.left_out} == {
        (f"stranger{p}", 2) for p in range(PEOPLE, PEOPLE + STRANGERS)
    }
    figures = lake.classify(tmp_path / "model")
    assert figures["faces"] == len(lake.predictions) == len(vectors())
    told = {row["face_id"]: row for row in lake.predictions.to_arrow().to_pylist()}
    right = [told[face_of(name_of(p, k))]["person"] == NAMES[p]
             for p in range(PEOPLE) for k in range(EACH)]  # fmt: skip
    taken = [told[face_of(name_of(p, k))]["person"] is not None
             for p in range(PEOPLE, PEOPLE + STRANGERS) for k in (0, 1)]  # fmt: skip
    assert np.mean(right) >= 0.95
    assert np.mean(taken) <= 0.25
    threshold = trained.card["acceptance"]["threshold"]
    assert all((row["person"] is not None) == (row["probability"] >= threshold)
               for row in told.values())  # fmt: skip
    assert lake.check().findings == []


def test_the_same_seed_gives_the_same_model(lake, labels, tmp_path):
    cards, arrays = [], []
    for seed, name in ((3, "a"), (3, "b"), (4, "c")):
        cards.append(lake.train(tmp_path / name, labels, seed=seed, **OPTIONS).card)
        (path,) = (tmp_path / name).glob("head-*.npz")
        arrays.append(path.read_bytes())
    assert cards[0]["data_sha256"] == cards[1]["data_sha256"] == cards[2]["data_sha256"]
    assert arrays[0] == arrays[1] != arrays[2]
    assert cards[0]["measures"] == cards[1]["measures"]
    parts = [table(tmp_path / name, "samples").to_pylist() for name in "abc"]
    assert parts[0] == parts[1] != parts[2]


def test_tables_say_who_served_for_what_and_what_was_left_out(lake, labels, tmp_path):
    extra = rows_in(labels)[1:]
    file = write_labels(tmp_path / "more.csv", [*extra, ("none.jpg", "Ann")])
    trained = lake.train(tmp_path / "model", file, **OPTIONS)
    samples = table(tmp_path / "model", "samples").to_pydict()
    by_part = {part: samples["part"].count(part) for part in set(samples["part"])}
    assert by_part == trained.card["parts"]
    assert by_part["test"] == PEOPLE * 2
    reasons = table(tmp_path / "model", "left_out")["reason"].to_pylist()
    assert reasons[0] == "the label matches no face of the lake"
    per_class = table(tmp_path / "model", "per_class").to_pylist()
    assert per_class == trained.people
    assert {row["test_images"] for row in per_class} == {2}
    confusion = table(tmp_path / "model", "confusion").to_pylist()
    assert sum(row["faces"] for row in confusion) == by_part["test"]


def test_told_says_whom_each_tested_face_was_taken_for(lake, labels, tmp_path):
    rows = [(n, "Bob" if n in ("Ann-0.jpg", "Ann-1.jpg", "Ann-2.jpg") else label)
            for n, label in rows_in(labels)[1:]]  # fmt: skip
    file = write_labels(tmp_path / "wrong.csv", rows)
    trained = lake.train(tmp_path / "model", file, head="knn", test_share=0.5, **OPTIONS)
    told = table(tmp_path / "model", "told").to_pylist()
    samples = table(tmp_path / "model", "samples").to_pydict()
    parts = dict(zip(samples["face_id"], samples["part"], strict=True))
    assert {row["face_id"]: row["part"] for row in told} == {
        face: part for face, part in parts.items() if part in ("test", "stranger, test")
    }
    known = [row for row in told if row["part"] == "test"]
    assert all(row["right"] == (row["label"] == row["named"]) for row in known)
    assert not any(row["right"] for row in told if row["part"] != "test")
    closed, opened = trained.card["measures"].values()
    assert np.mean([row["right"] for row in known]) == pytest.approx(closed["accuracy"])
    assert closed["accuracy"] < 1
    detected = [row["right"] and row["accepted"] for row in known]
    assert np.mean(detected) == pytest.approx(opened["detected"])
    threshold = trained.card["acceptance"]["threshold"]
    assert all(row["accepted"] == (row["probability"] >= threshold) for row in told)
    wrong = {(row["label"], row["named"]) for row in known if not row["right"]}
    confusion = table(tmp_path / "model", "confusion").to_pylist()
    assert wrong == {(r["true"], r["named"]) for r in confusion if r["true"] != r["named"]}


def test_without_strangers_people_play_them(lake, labels, tmp_path):
    rows = [row for row in rows_in(labels) if not row[0].startswith("stranger")][1:]
    trained = lake.train(
        tmp_path / "model", write_labels(tmp_path / "few.csv", rows), false_alarms=0.1, **OPTIONS
    )
    validation = trained.card["validation"]
    assert validation["stranger_faces"] == 0
    assert validation["faces_that_play_strangers"] == PEOPLE * 6
    assert validation["false_alarms"] <= 0.1
    assert trained.card["measures"]["open_set"]["false_alarms"] is None
    assert any("no strangers are labelled" in note for note in trained.notes)
    lake.classify(tmp_path / "model")
    told = {row["face_id"]: row["person"] for row in lake.predictions.to_arrow().to_pylist()}
    strangers = [told[face_of(name_of(PEOPLE + p, 0))] for p in range(STRANGERS)]
    assert strangers.count(None) >= STRANGERS * 0.75


def test_copies_of_a_picture_stay_on_one_side_and_contradictions_are_left_out(tmp_path):
    rows = {name: row for name, row in vectors().items() if name.startswith(("Ann", "Bob"))}
    copies = {f"Ann-copy{k}.jpg": rows[f"Ann-{k}.jpg"] for k in range(EACH)}
    store = photo_lake(tmp_path / "lake", {n: [face(r)] for n, r in (rows | copies).items()})
    part = store.parts()[0]
    images, faces = store.read_part("images", part), store.read_part("faces", part)
    names = [uri.rsplit("/", 1)[-1].replace("copy", "") for uri in images["uri"].to_pylist()]
    at = images.schema.get_field_index("pixels_sha256")
    images = images.set_column(at, images.schema.field(at), [names])
    store.publish_part(images, faces)
    labels = [(n, n.split("-")[0]) for n in rows | copies if n != "Ann-copy7.jpg"]
    file = write_labels(tmp_path / "labels.csv", [*labels, ("Ann-copy7.jpg", "Bob")])
    trained = Lake(tmp_path / "lake").train(tmp_path / "model", file, min_images=3, **OPTIONS)
    assert trained.people[0]["train_images"] + trained.people[0]["test_images"] == EACH - 1
    assert [(one.label, one.count) for one in trained.left_out] == [("Ann", 1), ("Bob", 1)]
    samples = table(tmp_path / "model", "samples").to_pylist()
    part_of = {row["face_id"]: row["part"] for row in samples}
    for k in range(EACH - 1):
        assert part_of[face_of(f"Ann-{k}.jpg")] == part_of[face_of(f"Ann-copy{k}.jpg")]


def test_named_people_of_the_lake_are_learnt_with_corrections(named, tmp_path):
    store = People(named.store)
    bob = view(store).lookup("Bob")
    actions.move(store, [face_of("Ann-0.jpg")], bob)
    trained = named.train(tmp_path / "model", head="centroid", **OPTIONS)
    assert [row["label"] for row in trained.people] == NAMES
    assert trained.people[1]["person_id"] == bob
    samples = {row["face_id"]: row["label"] for row in table(tmp_path / "model", "samples")
               .to_pylist()}  # fmt: skip
    assert samples[face_of("Ann-0.jpg")] == "Bob"
    assert samples[face_of("Ann-1.jpg")] == "Ann"
    assert any("clustering made of the same vectors" in note for note in trained.notes)
    actions.hide(store, [bob])
    again = named.train(tmp_path / "model", head="centroid", **OPTIONS)
    assert [row["label"] for row in again.people] == [n for n in NAMES if n != "Bob"]


def test_faces_that_are_gone_since_the_clustering_are_left_out(named, tmp_path):
    part = named.store.parts()[0]
    images, faces = named.store.read_part("images", part), named.store.read_part("faces", part)
    named.store.publish_part(
        images, faces.filter(pc.not_equal(faces["face_id"], face_of("Ann-0.jpg")))
    )
    trained = named.train(tmp_path / "model", head="centroid", **OPTIONS)
    assert ("Ann", "the face is gone", 1) in {
        (one.label, one.reason, one.count) for one in trained.left_out
    }


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(f"Ann-{k}.jpg", "Ann") for k in range(8)], "Only one person has 5 images or more"),
        ([("Ann-0.jpg", "Ann"), ("Bob-0.jpg", "Bob")], "Nobody has 5 images .* the most, 1, are"),
        ([("x.jpg", "Ann")], "None of the 1 labels"),
        ([("Ann-0.jpg", "Ann"), ("Ann-0.jpg", "Bob")], "twice, as Ann and as Bob"),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused(lake, tmp_path, rows, message):
    file = write_labels(tmp_path / "few.csv", rows)
    with pytest.raises(ConfigError, match=message):
        lake.train(tmp_path / "model", file, **OPTIONS)
    assert not (tmp_path / "model").exists()


def test_places_that_cannot_hold_a_model_are_refused(lake, labels, tmp_path):
    with pytest.raises(ConfigError, match="run facelake cluster"):
        lake.train(tmp_path / "model")
    with pytest.raises(ConfigError, match="lies in the lake"):
        lake.train(tmp_path / "lake" / "model", labels)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"something that is no model, for example a\.jpg"):
        lake.train(tmp_path / "photos", labels)
    lake.cluster(ray="never")
    with pytest.raises(ConfigError, match=r"Nobody in .* has a name"):
        lake.train(tmp_path / "model")


def test_training_without_scikit_learn_says_what_to_install(lake, labels, tmp_path, monkeypatch):
    lake.train(tmp_path / "model", labels, **OPTIONS)
    for name in [n for n in sys.modules if n.split(".")[0] == "sklearn"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(ConfigError, match=r"facelake\[train\]"):
        lake.train(tmp_path / "other", labels, **OPTIONS)
    assert lake.classify(tmp_path / "model")["faces"] == len(vectors())  # needs none


# --- the folder of a model


@pytest.fixture
def model(lake, labels, tmp_path):
    lake.train(tmp_path / "model", labels, head="knn", **OPTIONS)
    return tmp_path / "model"


class Stop(Exception):  # noqa: N818  # no error
    """A process that ends here."""


def test_what_is_stopped_anywhere_leaves_the_old_model_or_the_new(lake, labels, model, monkeypatch):
    before = load_model(Folder(str(model))).digest
    real = Folder.publish
    for allowed in range(10):
        left = [allowed]

        def publish(self, name, data, left=left):
            if left[0] == 0:
                raise Stop
            left[0] -= 1
            real(self, name, data)

        with monkeypatch.context() as patch:
            patch.setattr(Folder, "publish", publish)
            try:
                lake.train(model, labels, head="centroid", **OPTIONS)
            except Stop:
                assert load_model(Folder(str(model))).digest == before
            else:
                break
    assert allowed == 9
    assert load_model(Folder(str(model))).head.kind == "centroid"
    assert len(list(model.iterdir())) == 9


def test_a_model_that_was_never_finished_or_is_not_there_is_refused(model, tmp_path):
    with pytest.raises(ConfigError, match="There is no model in"):
        load_model(Folder(str(tmp_path / "none")))
    (model / "model.json").unlink()
    with pytest.raises(ConfigError, match="is not finished"):
        load_model(Folder(str(model)))


def test_the_page_is_a_file_of_the_model_that_it_works_without(model):
    entry = json.loads((model / "model.json").read_text())["files"]["report.html"]
    page = (model / "report.html").read_bytes()
    assert (entry["bytes"], entry["sha256"]) == (len(page), hashlib.sha256(page).hexdigest())
    (model / "report.html").write_text("edited")
    load_model(Folder(str(model)))
    (model / "report.html").unlink()
    load_model(Folder(str(model)))


@pytest.mark.parametrize("stem", ["head", "classes", "samples"])
@pytest.mark.parametrize("how", ["cut", "missing", "changed"])
def test_a_damaged_model_is_refused(model, stem, how):
    (path,) = model.glob(f"{stem}-*")
    data = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(data[:-9])
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    with pytest.raises(StorageError, match="is damaged"):
        load_model(Folder(str(model)))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda card: card.update(format=2), ConfigError, "format 2"),
        (lambda card: card.update(kind="network"), ConfigError, "embeds, but knows nobody"),
        (lambda card: card.update(kind="tree"), ConfigError, "kind tree"),
        (lambda card: card.update(head="tree"), StorageError, "damaged"),
        (lambda card: card.update(dimension=4), StorageError, "damaged"),
        (lambda card: card.pop("acceptance"), StorageError, "damaged"),
        (lambda card: card.update(files=[]), StorageError, "damaged"),
        (
            lambda card: card["files"].update({"head-../../x.npz": {}}),
            StorageError,
            "not a model's",
        ),
    ],
)
def test_a_card_that_does_not_fit_is_refused(model, change, error, message):
    card = json.loads((model / "model.json").read_text())
    change(card)
    (model / "model.json").write_text(json.dumps(card))
    with pytest.raises(error, match=message):
        load_model(Folder(str(model)))
    (model / "model.json").write_text("{")
    with pytest.raises(StorageError, match="damaged"):
        load_model(Folder(str(model)))


def test_arrays_are_loaded_without_pickles(model):
    (path,) = model.glob("head-*.npz")
    with np.load(path, allow_pickle=False) as arrays:
        assert all(arrays[name].dtype.kind in "if" for name in arrays.files)


# --- classifying


def test_vectors_of_another_embedder_are_refused(model, tmp_path):
    rows = {name: [face(row)] for name, row in list(vectors().items())[:3]}
    photo_lake(tmp_path / "other", rows, embedder="other@1")
    with pytest.raises(LakeMismatchError, match=r"vectors of sface@\w+ \(128 numbers\)"):
        Lake(tmp_path / "other").classify(model)
    photo_lake(tmp_path / "short", {"a.jpg": [face()]})
    with pytest.raises(LakeMismatchError, match=r"has those of sface@\w+ \(4\)"):
        Lake(tmp_path / "short").classify(model)
    assert not (tmp_path / "other" / "predictions").exists()


class Found:
    """A detector and an embedder that find what they are told, in any picture."""

    def __init__(self, rows, revision, card):
        self.rows, self.revision, self.card = rows, revision, card

    def detect(self, pixels):
        count = len(self.rows)
        boxes = np.array([[0, 0, 10 + k, 10 + k] for k in range(count)], np.float32).reshape(-1, 4)
        points = np.tile(ARCFACE_112, (count, 1, 1)).astype(np.float32)
        return Detections(boxes, np.ones(count, np.float32), points)

    def embed(self, crops):
        return np.stack(self.rows), np.ones(len(self.rows), np.float32)


@pytest.fixture
def found(monkeypatch, model):
    """What the models find in a picture: Ann and a stranger."""
    from pipeline.models.cards.card import known_cards

    rows = vectors()
    card = load_model(Folder(str(model))).card
    both = Found([rows["Ann-0.jpg"], rows["stranger9-0.jpg"]], card["embedder"],
                 known_cards()["sface"])  # fmt: skip
    monkeypatch.setattr("pipeline.training.classify.load_detector", lambda *_, **__: both)
    monkeypatch.setattr("pipeline.training.classify.load_embedder", lambda *_, **__: both)
    return both


def jpeg(path):
    out = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 150, 100)).save(out, "JPEG")
    path.write_bytes(out.getvalue())
    return str(path)


def test_each_face_of_a_photo_is_told(model, found, tmp_path):
    good, bad = jpeg(tmp_path / "good.jpg"), tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    results = classify([good, bad, tmp_path / "none.jpg"], model)
    assert [one.person for one in results[0].faces] == [None, "Ann"]  # the larger one first
    stranger, ann = results[0].faces
    assert 0 < stranger.probability < ann.probability < 1
    assert ann.box == (0, 0, 10, 10)
    assert all(one.error for one in results[1:])
    assert classify(Image.new("RGB", (64, 64)), Classifier(model))[0].faces[1].person == "Ann"
    found.rows = []
    assert classify(good, model)[0].faces == ()


def test_an_embedder_with_other_weights_is_refused(model, found, tmp_path):
    found.revision = "sface@000000000000"
    with pytest.raises(LakeMismatchError, match="the embedder here has those of sface@0000"):
        classify(jpeg(tmp_path / "a.jpg"), model)


def test_a_model_of_flipped_faces_embeds_them_so(labels, tmp_path):
    photos = {name: [face(row)] for name, row in vectors().items()}
    flipped = f"{REVISION}+flip"
    made = Lake(photo_lake(tmp_path / "flipped", photos, flipped).folder.url)
    made.train(tmp_path / "model", labels, head="knn", **OPTIONS)
    classifier = Classifier(tmp_path / "model")
    assert classifier.embedder.revision == flipped
    plain = Lake(photo_lake(tmp_path / "plain", photos).folder.url)
    with pytest.raises(LakeMismatchError, match=r"sface@\w+\+flip \(128.*has those of sface@\w+ "):
        plain.classify(tmp_path / "model")


def test_commands(lake, labels, found, tmp_path, capsys):
    url, folder, photo = lake.url, str(tmp_path / "made"), jpeg(tmp_path / "a.jpg")
    assert main(["train", url, "--labels", str(labels), "--output", folder, "--head", "svm",
                 "--bootstrap", "20"]) == 0  # fmt: skip
    out = capsys.readouterr().out
    assert "accuracy" in out
    assert "a stranger" in out
    assert main(["classify", photo, "--model", folder]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "nobody it knows, probability 0." in lines[0]
    assert "a.jpg: Ann, probability 0.9" in lines[1]
    assert main(["classify", photo, str(tmp_path / "none"), "--model", folder, "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert [face["person"] for face in told[0]["faces"]] == [None, "Ann"]
    assert main(["classify", "--lake", url, "--model", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["faces"] == len(vectors())
    assert main(["classify", "--model", folder]) == 2
    assert main(["train", url, "--labels", str(labels), "--output", folder, "--json",
                 "--bootstrap", "0"]) == 0  # fmt: skip
    assert json.loads(capsys.readouterr().out)["head"] == "logistic"


# --- forgetting


def rows_of(lake):
    return {row["face_id"]: row["person"] for row in lake.predictions.to_arrow().to_pylist()}


def test_a_forgotten_person_is_in_no_prediction(named, tmp_path):
    named.train(tmp_path / "model", false_alarms=0.1, **OPTIONS)
    named.classify(tmp_path / "model")
    before = rows_of(named)
    gone = named.forget(person="Ann", prove=True)
    assert gone.proof.findings == []
    assert gone.removed.predictions >= EACH
    after = rows_of(named)
    assert "Ann" not in after.values()
    assert after == {face: who for face, who in before.items()
                     if who != "Ann" and not face.startswith(image_id("Ann-0.jpg"))
                     and face in after}  # fmt: skip
    assert {face for face, who in before.items() if who not in ("Ann", None)} <= after.keys()
    with pytest.raises(ConfigError, match="faces that were forgotten in"):
        named.classify(tmp_path / "model")
    named.train(tmp_path / "model", false_alarms=0.1, **OPTIONS)
    named.classify(tmp_path / "model")
    assert "Ann" not in rows_of(named).values()
    assert named.forget(prove=True).proof.findings == []
    assert named.check().findings == []


def test_a_forgotten_photo_is_in_no_prediction(lake, labels, tmp_path):
    lake.train(tmp_path / "model", labels, **OPTIONS)
    lake.classify(tmp_path / "model")
    before = rows_of(lake)
    gone = lake.forget(image="Bob-3.jpg", prove=True)
    assert gone.removed.predictions == 1
    assert gone.proof.findings == []
    assert rows_of(lake) == {k: v for k, v in before.items() if k != face_of("Bob-3.jpg")}
    with pytest.raises(ConfigError, match="trained with 1 faces that were forgotten"):
        lake.classify(tmp_path / "model")


def test_predictions_of_a_photo_that_is_gone_leave(lake, labels, tmp_path):
    lake.train(tmp_path / "model", labels, **OPTIONS)
    lake.classify(tmp_path / "model")
    before = rows_of(lake)
    leaving(lake.store, {image_id("Bob-3.jpg")}, "later")
    assert rows_of(lake) == {k: v for k, v in before.items() if k != face_of("Bob-3.jpg")}


def test_labels_of_a_file_go_whole_with_a_person(named, labels, tmp_path):
    named.train(tmp_path / "model", labels, **OPTIONS)
    named.classify(tmp_path / "model")
    gone = named.forget(person="Ann", prove=True)
    assert gone.removed.predictions == len(vectors())
    assert gone.proof.findings == []
    with pytest.raises(ConfigError, match="Nobody has classified"):
        len(named.predictions)


def test_damaged_predictions_are_found_and_removed(lake, labels, tmp_path):
    lake.train(tmp_path / "model", labels, **OPTIONS)
    lake.classify(tmp_path / "model")
    (path,) = (tmp_path / "lake" / "predictions").glob("part-*")
    path.write_bytes(b"PAR1")
    assert {finding.kind for finding in lake.check().findings} == {"derived"}
    lake.forget(image="Bob-3.jpg")
    assert not list((tmp_path / "lake" / "predictions").glob("*"))
    assert clean_predictions(lake.store, lake.store.forgotten(), "again") == 0
    assert predictions_of(lake.store).current() is None
