"""An archive is moved, edited and thinned out; names, people and copies follow."""

import shutil

import pyarrow.compute as pc
import pytest
from PIL import Image

from pipeline import Lake
from pipeline.executor import dataset
from tests.support.indexing import EXAMPLES, index

OBAMA, BIDEN = "obama-2012-portrait.jpg", "biden-official-portrait.jpg"


def names(lake):
    """Return the photos by the name of the person on them."""
    people = {row["person_id"]: row["name"] for row in lake.people.to_arrow().to_pylist()}
    image = {
        row["image_id"]: row["uri"].rsplit("/", 1)[-1] for row in lake.images.to_arrow().to_pylist()
    }
    found = {}
    for row in lake.clusters.to_arrow().to_pylist():
        found.setdefault(people.get(row["person_id"]), set()).add(image[row["image_id"]])
    return found


def name_of(lake, photo, name):
    where = pc.match_substring(pc.field("uri"), photo)
    face = lake.faces.to_arrow(["face_id"], where)["face_id"][0].as_py()
    rows = lake.clusters.to_arrow(["person_id"], pc.field("face_id") == face)
    lake.people.name(rows["person_id"][0].as_py(), name)


def test_names_and_people_follow_the_photos(cluster, tmp_path, monkeypatch, capsys) -> None:
    archive, folder = tmp_path / "p", tmp_path / "lake"
    shutil.copytree(EXAMPLES, archive)
    assert index(archive, "--output", folder) == 0
    lake = Lake(folder)
    lake.cluster()
    lake.dedupe()
    name_of(lake, OBAMA, "Ann")
    name_of(lake, BIDEN, "Bob")
    lake.cluster()
    before, decision = names(lake), lake.decision()
    assert len(before["Ann"]) > 5
    copies = len(lake.copies())
    assert copies

    # all moved, one gone: nothing is computed again, so no stage starts
    with monkeypatch.context() as patch:
        patch.setattr(dataset, "run", lambda *_: pytest.fail("an image was read"))
        moved = archive.rename(tmp_path / "q")
        (moved / "deep").mkdir()
        for name in before["Ann"]:
            (moved / name).rename(moved / "deep" / name)
        assert index(moved, "--output", folder) == 0
        assert names(lake) == before
        assert len(lake.copies()) == copies
        assert lake.decision() == decision
        assert lake.check().findings == []
        (moved / BIDEN).unlink()
        assert index(moved, "--output", folder) == 0
    assert lake.gone.to_arrow(["uri"])["uri"].to_pylist() == [f"{moved}/{BIDEN}"]
    assert names(lake) == before | {"Bob": before["Bob"] - {BIDEN}}
    (bob,) = [row for row in lake.people.to_arrow().to_pylist() if row["name"] == "Bob"]
    assert bob["images"] == len(before["Bob"]) - 1
    assert lake.check().findings == []
    lake.cluster(full=True)
    assert names(lake) == before | {"Bob": before["Bob"] - {BIDEN}}

    # edited in place: its face is still hers
    with Image.open(moved / "deep" / OBAMA) as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(moved / "deep" / OBAMA)
    shutil.copy(EXAMPLES / BIDEN, moved / "again.jpg")
    assert index(moved, "--output", folder) == 0
    assert "there again" in capsys.readouterr().out
    assert lake.check().findings == []
    assert len(lake.images) == len({*lake.images.to_arrow(["uri"])["uri"].to_pylist()}) == 15
    lake.cluster()
    after = names(lake)
    assert after["Ann"] == before["Ann"]
    assert after["Bob"] == before["Bob"] - {BIDEN} | {"again.jpg"}


def test_whoever_is_forgotten_is_forgotten_in_photos_that_are_gone(cluster, tmp_path) -> None:
    archive, folder = tmp_path / "p", tmp_path / "lake"
    archive.mkdir()
    for name in (OBAMA, "obama-2012-closeup.jpg", BIDEN):
        shutil.copy(EXAMPLES / name, archive)
    assert index(archive, "--output", folder) == 0
    lake = Lake(folder)
    lake.cluster()
    name_of(lake, OBAMA, "Ann")
    lake.cluster()
    (ann,) = [row["person_id"] for row in lake.people.to_arrow().to_pylist() if row["name"]]
    hers = lake.clusters.to_arrow(["face_id"], pc.field("person_id") == ann)["face_id"].to_pylist()
    assert len(hers) == 2
    others = set(lake.faces.to_arrow(["face_id"])["face_id"].to_pylist()) - {*hers}
    (archive / OBAMA).unlink()
    assert index(archive, "--output", folder) == 0
    done = lake.forget(person="Ann", prove=True)
    assert done.proof is not None
    assert done.proof.findings == []
    shutil.copy(EXAMPLES / OBAMA, archive)
    assert index(archive, "--output", folder) == 0
    assert len(lake.images) == 3
    assert set(lake.faces.to_arrow(["face_id"])["face_id"].to_pylist()) == others
    # and a photo that is gone can be forgotten by its name, the others stay
    (archive / OBAMA).unlink()
    assert index(archive, "--output", folder) == 0
    assert lake.forget(image=OBAMA, prove=True).proof.findings == []
    assert len(lake.images) == 2
    assert lake.check().findings == []


def test_a_marked_face_stays_with_its_photo(cluster, tmp_path) -> None:
    archive, folder, cat = tmp_path / "p", tmp_path / "lake", "cat-no-face.png"
    archive.mkdir()
    for name in (cat, OBAMA, BIDEN):
        shutil.copy(EXAMPLES / name, archive)
    assert index(archive, "--output", folder) == 0
    lake = Lake(folder)
    lake.cluster()
    face = lake.people.mark(cat, (100, 50, 200, 150), name="Tom").faces[0]
    with Image.open(archive / cat) as picture:
        smaller = picture.convert("RGB").reduce(2)
    smaller.save(archive / cat)
    (archive / BIDEN).rename(archive / "moved.jpg")
    assert index(archive, "--output", folder) == 0
    (row,) = lake.faces.to_arrow(["uri", "box"], pc.field("face_id") == face).to_pylist()
    assert row["uri"].endswith(cat)
    assert row["box"] == pytest.approx([50, 25, 100, 75], abs=0.5)
    assert lake.check().findings == []
    lake.cluster()
    assert names(lake)["Tom"] == {cat}
    (archive / cat).unlink()
    assert index(archive, "--output", folder) == 0
    assert lake.people.now().called("Tom") == []
    smaller.save(archive / cat)
    assert index(archive, "--output", folder) == 0
    lake.cluster()
    assert names(lake)["Tom"] == {cat}
    lake.forget(person="Tom")
    assert index(archive, "--output", folder, "--retry-errors", "all") == 0
    assert len(lake.faces.to_arrow(["face_id"], pc.field("face_id") == face)) == 0
    assert lake.check().findings == []
