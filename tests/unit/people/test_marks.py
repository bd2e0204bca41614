"""Faces that people marked: faces of the lake at once, and whatever happens to their photos."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.commands.main import main
from pipeline.errors import ConfigError, LakeBusyError, StorageError
from pipeline.imaging import geometry
from pipeline.lake import schema
from pipeline.lake.lock import RunLock
from pipeline.lake.moves import Place, bring_back, mend, park, relocate
from pipeline.library import Lake
from pipeline.maintenance.check import check, check_and_repair
from pipeline.models.detections import Detections
from pipeline.models.detector import load_detector
from pipeline.people import actions
from pipeline.people.marks.cut import _by_box, find
from pipeline.people.marks.mark import Mark
from pipeline.people.store import People, corrected_faces
from pipeline.people.view import view
from pipeline.storage.folder import Folder
from tests.support.builders import PHOTOS
from tests.support.marking import (
    DETECTED,
    ELSEWHERE,
    Killed,
    dying,
    forget,
)
from tests.support.review_lakes import again, jpeg


@pytest.fixture
def photo(people):
    return people.lake.read("images", ["image_id", "uri"]).sort_by("uri").to_pylist()[0]


def faces_of(people, image_id):
    rows = people.lake.read("faces", None, pc.field("image_id") == image_id).sort_by("face_id")
    return {row["face_id"]: row for row in rows.to_pylist()}


def persons(people):
    return view(people).people.sort_by("person_id")["person_id"].to_pylist()


def is_sound(people):
    return check(people.lake).findings == []


def test_a_mark_is_a_face_like_others(people, marker, photo):
    row = marker.mark(photo["image_id"], ELSEWHERE)
    face = row.faces[0]
    assert face == f"{photo['image_id']}-1000000"
    new = faces_of(people, photo["image_id"])[face]
    assert new["box"] == list(ELSEWHERE)
    assert new["size_px"] == 30
    assert new["uri"] == photo["uri"]
    assert new["score"] == 0
    assert new["thumbnail"] is not None
    assert all(value is not None for value in new.values())
    assert view(people).persons_of([face]) == {face: None}
    assert is_sound(people)
    counts = people.lake.read("images", ["faces"], pc.field("image_id") == photo["image_id"])
    assert counts["faces"].to_pylist() == [2]


def test_it_is_shown_with_its_person_at_once(people, marker, photo):
    who = persons(people)[1]
    before = view(people).person(who)
    face = marker.mark(photo["image_id"], ELSEWHERE, who).faces[0]
    now = view(people)
    assert now.persons_of([face]) == {face: who}
    member = next(row for row in now.faces(who) if row["face_id"] == face)
    assert member["confirmed"]
    assert member["image_id"] == photo["image_id"]
    assert now.person(who)["faces"] == before["faces"] + 1


def test_it_can_be_moved_named_and_rejected(people, marker, photo):
    first, second, _ = persons(people)
    face = marker.mark(photo["image_id"], ELSEWHERE).faces[0]
    actions.move(people, [face], first)
    assert view(people).persons_of([face]) == {face: first}
    actions.move(people, [face], second)
    assert view(people).persons_of([face]) == {face: second}
    actions.not_a_face(people, [face])
    assert view(people).persons_of([face]) == {face: None}
    own = actions.split(people, first, [view(people).faces(first)[0]["face_id"]]).person_id
    assert own in persons(people)


def test_a_name_is_of_the_one_who_has_it_or_of_somebody_new(people, marker, photo):
    who = persons(people)[0]
    actions.name(people, who, "Ann")
    row = marker.mark(photo["image_id"], ELSEWHERE, called=" ann ")
    assert row.person_id == who
    new = marker.mark(photo["image_id"], (0, 0, 25, 25), called="Bea")
    assert new.person_id not in (None, who)
    assert view(people).person(new.person_id)["name"] == "Bea"
    third = next(one for one in persons(people) if one not in (who, new.person_id))
    actions.name(people, third, "Bea")
    with pytest.raises(ConfigError, match="2 persons are called Bea"):
        marker.mark(photo["image_id"], (0, 60, 25, 95), called="Bea")
    assert is_sound(people)


@pytest.mark.parametrize(("box", "message"), [
    ((1, 2, 3), "four numbers"), ((1, 2, 3, float("nan")), "four numbers"),
    ((-5, 0, 20, 20), "does not lie in the photo"), ((90, 0, 121, 20), "120 x 100"),
    ((50, 50, 20, 90), "does not lie"), ((90, 0, 99.5, 50), "at least 10"),
    (DETECTED, r"is the face \w{32}-0 already"),
])  # fmt: skip
def test_boxes_that_are_no_mark(people, marker, photo, box, message):
    with pytest.raises(ConfigError, match=message):
        marker.mark(photo["image_id"], box)
    assert people.constraints() == []


def test_photos_that_cannot_be_marked(people, marker, photo):
    with pytest.raises(ConfigError, match="no photo"):
        marker.mark("0" * 32, ELSEWHERE)
    with pytest.raises(ConfigError, match="no person"):
        marker.mark(photo["image_id"], ELSEWHERE, "nobody")
    Path(photo["uri"]).write_bytes(jpeg(77))
    with pytest.raises(StorageError, match="has changed"):
        marker.mark(photo["image_id"], ELSEWHERE)
    Path(photo["uri"]).unlink()
    with pytest.raises(StorageError, match="cannot be read"):
        marker.mark(photo["image_id"], ELSEWHERE)
    assert people.constraints() == []


def test_another_run_is_at_work(people, marker, photo):
    with RunLock(people.lake.folder, "other"), pytest.raises(LakeBusyError):
        marker.mark(photo["image_id"], ELSEWHERE)
    assert people.constraints() == []


def test_a_box_on_a_rejected_face_takes_the_rejection_back(people, marker, photo):
    face = f"{photo['image_id']}-0"
    other = next(f for f in people.clusters()["face_id"].to_pylist() if f != face)
    who = view(people).persons_of([face])[face]
    actions.not_a_face(people, [face, other])
    row = marker.mark(photo["image_id"], DETECTED)
    assert row.faces[0] == face
    assert view(people).persons_of([face, other]) == {face: who, other: None}
    assert len(faces_of(people, photo["image_id"])) == 1
    actions.undo(people)
    assert view(people).persons_of([face, other]) == {face: None, other: None}


def test_undo_and_undo_of_that(people, marker, photo):
    row = marker.mark(photo["image_id"], ELSEWHERE, called="Ann")
    face = row.faces[0]
    former = faces_of(people, photo["image_id"])[face]
    back = actions.undo(people, row.constraint_id)
    assert view(people).persons_of([face]).get(face) is None
    assert view(people).called("Ann") == []
    assert marker.restore_now()
    assert face not in faces_of(people, photo["image_id"])
    assert is_sound(people)
    new = marker.mark(photo["image_id"], ELSEWHERE).faces[0]
    assert new != face  # what was said of the first is not of the second
    actions.undo(people)
    actions.undo(people, back.constraint_id)
    assert marker.restore_now()
    now = faces_of(people, photo["image_id"])
    assert set(now) == {f"{photo['image_id']}-0", face}
    assert now[face] | {"run_id": ""} == former | {"run_id": ""}
    assert view(people).called("Ann") == [row.person_id]
    assert is_sound(people)


def test_clustering_keeps_what_was_marked(people, marker, photo, tmp_path):
    nobody = marker.mark(photo["image_id"], ELSEWHERE).faces[0]
    who = persons(people)[2]
    theirs = marker.mark(photo["image_id"], (0, 0, 25, 25), who).faces[0]
    again(tmp_path)
    rows = {row["face_id"]: row for row in people.clusters().to_pylist()}
    assert rows[nobody]["tier"] == "attach"
    assert "somebody marked it" in rows[nobody]["reason"]
    assert rows[theirs]["person_id"] == who
    assert rows[theirs]["confirmed"]
    about = people.current()
    assert about["incremental"]
    assert about["new_faces"] < len(rows)
    again(tmp_path, "--full")
    full = {row["face_id"]: row for row in people.clusters().to_pylist()}
    assert full[theirs]["person_id"] == who
    assert full.keys() == rows.keys()


def test_clustering_forgets_a_mark_that_was_taken_back(people, marker, photo, tmp_path):
    row = marker.mark(photo["image_id"], ELSEWHERE, called="Ann")
    again(tmp_path)
    assert row.person_id in people.people()["person_id"].to_pylist()
    actions.undo(people, row.constraint_id)
    marker.restore_now()
    again(tmp_path)
    assert row.person_id not in people.people()["person_id"].to_pylist()
    assert row.faces[0] not in people.clusters()["face_id"].to_pylist()
    assert is_sound(people)


def read_again(people, photo, boxes, size=(120, 100), seed=99):
    """Change a photo and write its rows as a run that read it again does."""
    lake, image = people.lake, photo["image_id"]
    data = jpeg(seed, size)
    Path(photo["uri"]).write_bytes(data)
    row = lake.read("images", None, pc.field("image_id") == image).to_pylist()[0]
    row |= {"sha256": hashlib.sha256(data).hexdigest(), "width": size[0], "height": size[1],
            "faces": len(boxes), "run_id": "s"}  # fmt: skip
    old = lake.read("faces", None, pc.field("image_id") == image).to_pylist()[0]
    random = np.random.default_rng(seed)
    faces = []
    for rank, box in enumerate(boxes):
        vector = random.standard_normal(128)
        faces.append(old | {"face_id": f"{image}-{rank}", "box": list(box), "run_id": "s",
                            "embedding": (vector / np.linalg.norm(vector)).tolist()})  # fmt: skip
    lake.publish_part(pa.Table.from_pylist([row], schema.IMAGES),
                      pa.Table.from_pylist(faces, schema.faces_schema(128)))  # fmt: skip
    mend(lake, lake.ledger(), lambda: corrected_faces(lake))


def test_a_photo_that_is_read_again_keeps_its_mark(people, marker, photo):
    face = marker.mark(photo["image_id"], ELSEWHERE, called="Ann").faces[0]
    read_again(people, photo, [DETECTED], size=(240, 200))
    assert face not in faces_of(people, photo["image_id"])
    settled = marker.restore("t")
    assert (settled.made, settled.missing) == (1, 0)
    now = faces_of(people, photo["image_id"])
    assert now[face]["box"] == [2 * side for side in ELSEWHERE]
    assert len(now) == 2
    assert is_sound(people)
    assert marker.restore("t").made == 0  # and nothing is done twice
    # ids of detected faces stay below those of marks
    assert sorted(map(schema.rank_of, now))[0] < schema.FIRST_MARKED


def test_a_face_that_is_found_now_is_the_marked_one(people, marker, photo):
    row = marker.mark(photo["image_id"], ELSEWHERE, called="Ann")
    read_again(people, photo, [DETECTED, (87, 52, 117, 97)])
    marker.restore("t")
    now = faces_of(people, photo["image_id"])
    assert now[row.faces[0]]["box"] == [87, 52, 117, 97]
    assert len(now) == 2
    actions.undo(people, row.constraint_id)
    marker.restore("t")  # the detector's face stays, as such
    after = faces_of(people, photo["image_id"])
    assert len(after) == 2
    assert not any(map(schema.is_marked, after))
    assert is_sound(people)


def test_a_photo_of_another_shape_has_its_mark_no_more(people, marker, photo):
    marker.mark(photo["image_id"], ELSEWHERE, called="Ann")
    read_again(people, photo, [DETECTED], size=(100, 100))
    settled = marker.restore("t")
    assert (settled.made, settled.missing) == (0, 1)
    read_again(people, photo, [DETECTED], size=(60, 50), seed=100)
    assert marker.restore("t").made == 1
    assert is_sound(people)


def test_moved_gone_and_back(people, marker, photo, tmp_path):
    image, lake = photo["image_id"], people.lake
    face = marker.mark(image, ELSEWHERE, called="Ann").faces[0]
    place = Place(str(tmp_path / "photos" / "elsewhere.jpg"), "x", None)
    Path(photo["uri"]).rename(place.uri)
    relocate(lake, {image: place})
    assert faces_of(people, image)[face]["uri"] == place.uri
    assert marker.restore().made == 0
    park(lake, {image}, datetime.now(UTC))
    assert view(people).called("Ann") == []  # as people are whose photos are all gone
    assert marker.restore().made == 0
    assert is_sound(people)
    bring_back(lake, {image: place})
    assert len(view(people).called("Ann")) == 1
    assert face in faces_of(people, image)
    assert is_sound(people)


def test_forgetting_the_face_the_photo_and_the_person(people, marker, photo, capsys):
    other = people.lake.read("images", ["image_id"]).sort_by("image_id").to_pylist()[-1]["image_id"]
    assert other != photo["image_id"]
    marker.mark(photo["image_id"], (0, 0, 25, 25), called="Bea")
    on_other = marker.mark(other, ELSEWHERE, called="Cas").faces[0]
    face = marker.mark(photo["image_id"], ELSEWHERE, called="Ann").faces[0]
    forget(people, "--face", face)
    assert face not in {f for row in people.constraints() for f in row.faces}
    assert face not in faces_of(people, photo["image_id"])
    assert marker.restore().made == 0
    assert is_sound(people)
    with pytest.raises(ConfigError, match="was forgotten"):
        marker.mark(photo["image_id"], ELSEWHERE)
    forget(people, "--person", "Cas")
    assert on_other not in {f for row in people.constraints() for f in row.faces}
    forget(people, "--image", photo["image_id"])
    assert [row for row in people.constraints() if row.kind == "mark"] == []
    assert marker.restore().made == 0
    assert is_sound(people)
    assert main(["forget", people.lake.folder.url, "--prove", "--yes"]) == 0


def test_forgetting_a_mark_whose_photo_cannot_be_read(people, marker, photo):
    row = marker.mark(photo["image_id"], ELSEWHERE, called="Ann")
    read_again(people, photo, [DETECTED], size=(100, 100))
    marker.restore()
    forget(people, "--person", "Ann")
    assert people.constraints() == []
    read_again(people, photo, [DETECTED], seed=100)
    assert marker.restore().made == 0
    assert row.faces[0] not in faces_of(people, photo["image_id"])
    assert is_sound(people)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("number", range(1, 7))
def test_killed_at_any_write(people, marker, photo, monkeypatch, number, before):
    writes = {"left": number}
    for name in ("publish", "create", "remove"):
        monkeypatch.setattr(Folder, name, dying(getattr(Folder, name), writes, before))
    killed = False
    try:
        marker.mark(photo["image_id"], ELSEWHERE, called="Ann")
    except Killed:
        killed = True
    monkeypatch.undo()
    people.lake.folder.remove("run.lock") if people.lake.folder.exists("run.lock") else None
    was_said = bool(people.constraints())
    check_and_repair(people.lake)
    assert is_sound(people)
    assert "quarantine" not in {p.name for p in _folder(people).iterdir()}
    marker.restore("t")
    faces = faces_of(people, photo["image_id"])
    assert len(faces) == 1 + was_said
    assert is_sound(people)
    assert len(view(people).called("Ann")) == was_said
    assert killed


def _folder(people):
    return Path(people.lake.folder.url)


def test_an_older_list_of_corrections_makes_no_face(people, marker, photo):
    face = marker.mark(photo["image_id"], ELSEWHERE).faces[0]
    for name in people.constraint_files():
        people.lake.folder.remove(f"constraints/{name}")
    store = People(people.lake)
    assert face in faces_of(people, photo["image_id"])
    assert store.constraints() == []


@given(st.sampled_from([0, 90, 180, 270]), st.floats(0, 60), st.floats(0, 30))
def test_landmarks_of_a_box_lie_in_it_upright(turn, x, y):
    box = np.array([x, y, x + 30, y + 40], np.float32)
    face = _by_box(box, turn, 100, 120)
    np.testing.assert_allclose(face.boxes[0], box, atol=1e-3)
    assert (face.landmarks[0] >= box[:2] - 1).all()
    assert (face.landmarks[0] <= box[2:]).all()
    sides = (100, 120)
    upright = replace(face, turn=0).turned(turn, *sides).landmarks[0]
    eyes, mouth = upright[:2, 1].mean(), upright[3:, 1].mean()
    assert eyes < mouth
    assert upright[0, 0] < upright[1, 0]


@given(st.floats(0, 50), st.integers(1, 9))
def test_a_mark_follows_the_size_of_its_photo(x, factor):
    mark = Mark((x, 0, x + 20, 30), 100, 80)
    box = mark.on(100 * factor, 80 * factor)
    np.testing.assert_allclose(box, np.array(mark.box) * factor)
    assert mark.on(100, 100) is None
    assert mark.on(0, 0) is None
    assert Mark.of(statement(mark.value())) == mark


def statement(value):
    from pipeline.people.constraints import Constraint

    return Constraint("1", datetime.now(UTC), "mark", ("a-1000000",), value=value)


@pytest.mark.parametrize("value", [None, "", "[]", "{}", '{"box": [1]}', "nonsense"])
def test_a_damaged_mark_says_so(value):
    with pytest.raises(StorageError, match="marks no face"):
        Mark.of(statement(value))


@pytest.mark.parametrize("turn", [0, 90, 270])
def test_the_lakes_detector_finds_landmarks_in_the_box(turn):
    pixels = np.asarray(Image.open(PHOTOS / "obama-2012-closeup.jpg").convert("RGB"))
    turned = np.ascontiguousarray(geometry.turned(pixels, -turn))
    detector = load_detector("mtcnn")
    known = detector.detect(pixels)
    wanted = replace(known, turn=0).turned(-turn, *pixels.shape[:2])
    drawn = wanted.boxes[0] + np.array([-15, -10, 10, 15], np.float32)
    face = find(turned, drawn, turn, detector)
    assert face.scores[0] > 0.9
    assert face.turn == turn
    assert np.abs(face.landmarks - wanted.landmarks).max() < 6


def test_from_the_command_line_and_the_library(people, photo, capsys):
    url = people.lake.folder.url
    mark = ["people", url, "mark", photo["uri"], "--box"]
    assert main([*mark, "85,50,115,95", "--name", "Ann"]) == 0
    said = capsys.readouterr().out
    assert f"{photo['image_id']}-1000000 is a face, of" in said
    assert len(view(people).called("Ann")) == 1
    assert main([*mark, "85,50,115"]) == 2
    assert main([*mark, "a,b"]) == 2
    lake = Lake(url)
    lake.people.undo(people.constraints()[-1].constraint_id)
    assert len(faces_of(people, photo["image_id"])) == 1
    assert [row.kind for row in lake.people.history()] == ["mark", "name", "undo", "undo"]
    assert is_sound(people)


def test_the_detector_is_measured_without_marks(people, marker, photo, tmp_path):
    marker.mark(photo["image_id"], ELSEWHERE)
    sides = ",".join(map(str, ELSEWHERE))
    (tmp_path / "boxes.csv").write_text(f"image,x1,y1,x2,y2\n{photo['uri']},{sides}\n")
    report = Lake(people.lake.folder.url).evaluate_detection(tmp_path / "boxes.csv")
    assert report.result["faces"] == 1
    assert report.result["boxes"] == 1


def test_copies_and_the_index_of_vectors_stay_current(people, marker, photo, tmp_path):
    url = people.lake.folder.url
    assert main(["dedupe", url]) == 0
    lake = Lake(url)
    decided = lake.decision()
    face = marker.mark(photo["image_id"], ELSEWHERE).faces[0]
    assert lake.copies() == []  # it would refuse a lake that has changed since
    assert lake.decision() == decided
    assert lake.search(face_id=face, top=1).matches
    assert main(["report", url, "--output", str(tmp_path / "report")]) == 0
    assert main(["people", url, "export", "--xmp", str(tmp_path / "out")]) == 0


def test_a_face_that_is_hardly_seen_gets_landmarks_from_a_second_look():
    pixels = np.asarray(Image.open(PHOTOS / "obama-2012-closeup.jpg").convert("RGB"))
    detector = load_detector("mtcnn")
    box = detector.detect(pixels).boxes[0]

    class Strict:
        """Sees nothing by itself."""

        def detect(self, _):
            return Detections.none()

        def lenient(self, thresholds):
            return detector.lenient(thresholds)

    face = find(pixels, box, 0, Strict())
    assert face.scores[0] > 0
    assert detector.config.thresholds == (0.6, 0.7, 0.7)
    nothing = np.zeros_like(pixels)
    assert find(nothing, box, 0, detector).scores[0] == 0
