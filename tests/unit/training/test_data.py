"""Crops, labels, batches and augmentation."""

import io
import json
import tarfile

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.lake.checkpoints import TaskRunner, Workspace, in_process
from pipeline.models.cards.card import known_cards
from pipeline.models.detections import Detections
from pipeline.models.faces import face_crops
from pipeline.storage.folder import Folder
from pipeline.training.data.augment import augmented
from pipeline.training.data.batches import Faces, MakeBatch, Order, items
from pipeline.training.data.crops import Cut, cut_crops
from pipeline.training.labels import labels_of
from pipeline.training.samples import read_samples
from tests.support.photo_lakes import image_id
from tests.support.training_lakes import (
    SIDE,
    lake_of_places,
    picture,
    publish,
    training_lake,
    vector,
)

CARD = known_cards()["sface"]


def cut(lake, folder, faces=None, **options):
    wanted = faces or set(lake.read("faces", ["face_id"])["face_id"].to_pylist())
    tasks = TaskRunner(Workspace(Folder(str(folder))), in_process)
    return cut_crops(tasks, lake, wanted, Cut(CARD, **options))


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    lake, labels = training_lake(folder, 4, 5)
    return folder, lake, labels


def test_crops_are_those_of_the_index(here, tmp_path):
    _, lake, _ = here
    shards = cut(lake, tmp_path)
    where, missing = shards.places()
    assert (len(where), missing) == (20, {})
    rows = lake.read("faces", ["face_id", "box", "landmarks"]).to_pylist()
    for row in rows[::7]:
        photo = simplejpeg.decode_jpeg(picture_of(lake, row["face_id"]))
        found = Detections(
            np.array([row["box"]], np.float32), np.ones(1, np.float32),
            np.array(row["landmarks"], np.float32).reshape(1, 5, 2),
        )  # fmt: skip
        crop = shards.pixels([where[row["face_id"]]])[0]
        difference = crop.astype(int) - face_crops(photo, found, CARD)[0]
        assert np.abs(difference).mean() < 2  # of the JPEG that is cached


def picture_of(lake, face):
    rows = lake.read("images", ["image_id", "uri"]).to_pylist()
    uri = next(row["uri"] for row in rows if face.startswith(row["image_id"]))
    with open(uri, "rb") as file:
        return file.read()


def test_only_wanted_faces_are_cut_and_shards_are_not_made_again(here, tmp_path):
    _, lake, _ = here
    one = lake.read("faces", ["face_id"])["face_id"].to_pylist()[3]
    assert set(cut(lake, tmp_path, {one}).places()[0]) == {one}
    shard = next(tmp_path.glob("*.parquet"))
    before = shard.stat().st_mtime_ns
    cut(lake, tmp_path, {one})
    assert shard.stat().st_mtime_ns == before


def test_photos_that_changed_or_are_gone_are_told_not_cut(tmp_path):
    lake, _ = training_lake(tmp_path, 2, 2)
    (tmp_path / "photos" / "p00" / "0.jpg").unlink()
    (tmp_path / "photos" / "p01" / "1.jpg").write_bytes(picture(9, 9))
    where, missing = cut(lake, tmp_path / "crops").places()
    assert len(where) == 2
    assert sorted("has changed" in why or "cannot be read" in why for why in missing.values()) == [
        True,
        True,
    ]


def test_the_lakes_vectors_teach(here, tmp_path):
    _, lake, _ = here
    shards = cut(lake, tmp_path, teacher="lake")
    where, _ = shards.places()
    face = f"{image_id(str(here[0] / 'photos' / 'p02' / '3.jpg'))}-0"
    number, row = where[face]
    assert np.allclose(shards.read(number).teacher[row], vector(2, 3))


def test_another_embedder_teaches(here, tmp_path):
    _, lake, _ = here
    shards = cut(lake, tmp_path, teacher="sface")
    teacher = shards.read(0).teacher
    assert teacher.shape == (10, 128)
    assert np.allclose(np.linalg.norm(teacher, axis=1), 1, atol=1e-5)


def test_labels_are_folders(here):
    _, lake, labels = here
    found = labels_of(lake, "folders", "largest")
    assert {face.rpartition("-")[0]: one.label for face, one in found.of.items()} == labels
    assert found.source == "folders of the photos"


def test_photos_at_the_top_of_their_archive_have_no_folder(tmp_path):
    lake = lake_of_places(tmp_path, [("/photos/all.tar#a.jpg", "/photos/all.tar")])
    with pytest.raises(ConfigError, match=r"No photo of .* has a label by the folders"):
        labels_of(lake, "folders", "largest")


def test_labels_lie_beside_photos_in_tars(tmp_path):
    names = {"a/1.jpg": "Ann", "a/2.x.jpg": "Bob", "a/3.jpg": None, "4.jpg": "7"}
    tar = tmp_path / "shard-000.tar"
    beside = {"a/1.cls": b"Ann\n", "a/2.json": json.dumps({"label": "Bob"}).encode(),
              "a/3.json": b"[1, 2", "4.json": b'{"class": 7}', "5.txt": b"nobody's"}  # fmt: skip
    with tarfile.open(tar, "w") as archive:
        for name, data in {**dict.fromkeys(names, b"..."), **beside}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    lake = lake_of_places(tmp_path / "lake", [(f"{tar}#{name}", str(tar)) for name in names])
    found = labels_of(lake, "webdataset", "largest")
    assert sorted(one.label for one in found.of.values()) == ["7", "Ann", "Bob"]
    assert [(one.reason, one.count) for one in found.left_out] == [("the photo has no label", 1)]


def test_webdataset_needs_tars(here):
    with pytest.raises(ConfigError, match="lie in no tars"):
        labels_of(here[1], "webdataset", "largest")


def test_samples_of_folders(here):
    _, lake, _ = here
    samples = read_samples(lake, "folders", "largest")
    assert [one.label for one in samples.people] == ["p00", "p01", "p02", "p03"]
    assert np.bincount(samples.person).tolist() == [5, 5, 5, 5]


def faces_of(counts, shards=3):
    target = np.repeat(np.arange(len(counts)), counts)
    at = np.arange(len(target))
    return Faces(at % shards, at // shards, target)


@given(st.lists(st.integers(1, 9), min_size=4, max_size=12), st.integers(0, 5), st.integers(0, 3))
def test_an_epoch_has_every_face_once_at_most(counts, seed, epoch):
    faces = faces_of(counts)
    order = Order(4, 2, None, seed)
    steps = order.epoch(faces, epoch)
    assert steps.shape == (len(faces) // 4, 4)
    assert len(np.unique(steps)) == steps.size
    assert np.array_equal(steps, order.epoch(faces, epoch))


@given(st.lists(st.integers(1, 9), min_size=4, max_size=12), st.integers(0, 5))
def test_chunks_have_groups_of_people(counts, seed):
    faces = faces_of(counts)
    order = Order(4, 4, 2, seed)
    for batch in order.epoch(faces, 0):
        pairs = faces.target[batch].reshape(-1, 2)
        assert (pairs[:, 0] == pairs[:, 1]).all()
        assert len(set(pairs[:, 0])) == 2


def test_people_come_alike_however_many_faces_they_have():
    faces = faces_of([2, 40, 2, 40])
    seen = np.bincount(faces.target[Order(4, 4, 2).epoch(faces, 0)].ravel())
    assert seen.max() - seen.min() <= 4


def test_workers_share_the_chunks_of_one():
    faces = faces_of([6, 6, 6, 6])
    order = Order(8, 2)
    alone = {(i.step, i.chunk): i.faces.tolist() for i in items(faces, order, 1, 0, 1)}
    both = {(i.step, i.chunk): i.faces.tolist()
            for worker in (0, 1) for i in items(faces, order, 1, worker, 2)}  # fmt: skip
    assert alone == both


@pytest.mark.parametrize(
    ("order", "workers", "match"),
    [
        (Order(10, 4), 1, "multiple of 4"),
        (Order(8, 4), 4, "multiple of 16"),
        (Order(8, 8, 3), 1, "divides --chunk"),
        (Order(64, 8), 1, "fewer than a batch"),
        (Order(8, 8, 1), 1, "people cannot fill"),
    ],
)
def test_orders_that_do_not_fit_are_refused(order, workers, match):
    with pytest.raises(ConfigError, match=match):
        order.check(faces_of([4, 4, 4]), workers)


def test_a_batch_depends_on_its_place_alone(here, tmp_path):
    _, lake, _ = here
    shards = cut(lake, tmp_path)
    places = np.array(sorted(shards.places()[0].values()))
    faces = Faces(places[:, 0], places[:, 1], np.arange(20) % 4)
    made, again = (MakeBatch(shards, faces, "strong", 3) for _ in range(2))
    todo = list(items(faces, Order(4, 4), 0, 0, 1))
    later = again(todo[2])
    for item in todo:
        batch = made(item)
        assert batch.crops.shape == (4, 112, 112, 3)
        assert np.array_equal(batch.target, faces.target[item.faces])
        if item.step == 2:
            assert np.array_equal(batch.crops, later.crops)
    other = MakeBatch(shards, faces, "strong", 4)(todo[2])
    assert not np.array_equal(later.crops, other.crops)


@pytest.fixture
def crops():
    return np.stack([simplejpeg.decode_jpeg(picture(p, 0)) for p in range(8)])


def test_none_changes_nothing_and_flip_mirrors(crops):
    random = np.random.default_rng(0)
    assert augmented(crops, "none", random) is crops
    flipped = augmented(crops, "flip", random)
    mirrored = [np.array_equal(a, b[:, ::-1]) for a, b in zip(flipped, crops, strict=True)]
    same = [np.array_equal(a, b) for a, b in zip(flipped, crops, strict=True)]
    assert any(mirrored)
    assert any(same)
    assert all(a or b for a, b in zip(mirrored, same, strict=True))


@pytest.mark.parametrize("level", ["standard", "strong"])
@pytest.mark.parametrize("count", [1, 8])
def test_faces_are_changed_but_stay_faces(crops, level, count):
    before = crops[:count].copy()
    changed = np.stack(
        [augmented(crops[:count], level, np.random.default_rng(k)) for k in range(6)]
    )
    assert np.array_equal(crops[:count], before)
    assert changed.shape == (6, count, SIDE, SIDE, 3)
    assert changed.dtype == np.uint8
    difference = np.abs(changed.astype(int) - before).mean(axis=(2, 3, 4))
    assert difference.max() > 3
    assert difference.mean() < 80


def test_new_photos_are_published_as_another_part(tmp_path):
    lake, _ = training_lake(tmp_path, 2, 2, parts=1)
    path = tmp_path / "photos" / "p00" / "9.jpg"
    path.write_bytes(picture(0, 9))
    publish(lake, [(path, 0, 9)])
    assert len(cut(lake, tmp_path / "crops").places()[0]) == 5
