"""Scans that lie on their side or upside down, without a word about it."""

import numpy as np
import pytest
from PIL import Image

from pipeline.config import DetectConfig
from pipeline.imaging import geometry
from pipeline.models import Detections, face_crops, find_card, load_detector
from pipeline.models.detections import upright
from pipeline.models.turns import TURNS, at_best_turns, doubted_turns, look_factor

ONE, TWO = "biden-official-portrait.jpg", "obama-and-biden-composite.jpg"
CARDS = [find_card("sface"), find_card("facenet-vggface2")]


def smaller(pixels, side=600):
    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    return np.asarray(image)


def scanned(pixels, turn):
    """Return a picture that must be turned clockwise by `turn` to be upright."""
    return np.ascontiguousarray(geometry.turned(pixels, -turn))


@pytest.fixture(scope="module")
def turning():
    return load_detector()


@pytest.fixture(scope="module")
def still():
    return load_detector(config=DetectConfig(turns=False))


@pytest.fixture(scope="module")
def pictures(photo_pixels):
    return {name: smaller(pixels) for name, pixels in photo_pixels.items()}


def assert_same_faces(found, wanted, pixels=1e-3):
    assert len(found) == len(wanted)
    assert np.allclose(found.boxes, wanted.boxes, atol=pixels)
    assert np.allclose(found.landmarks, wanted.landmarks, atol=pixels)


def test_upright_photos_are_left_alone(turning, still, pictures):
    names = list(pictures)
    found = turning.detect([pictures[name] for name in names])
    wanted = still.detect([pictures[name] for name in names])
    assert [one.turn for one in found] == [0] * len(names)
    for one, other in zip(found, wanted, strict=True):
        assert np.array_equal(one.boxes, other.boxes)
        assert np.array_equal(one.scores, other.scores)


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("name", [ONE, TWO, "collins-nasa-portrait.png", "obama-2012-closeup.jpg"])
def test_faces_of_a_turned_scan_are_those_of_the_upright_photo(
    turning, still, pictures, name, turn
):
    pixels = pictures[name]
    scan = scanned(pixels, turn)
    found, wanted = turning.detect(scan), still.detect(pixels)
    assert found.turn == turn
    there, faces = upright(scan, found)
    assert np.array_equal(there, pixels)
    assert faces.turn == 0
    assert_same_faces(faces, wanted)
    height, width = scan.shape[:2]
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    assert ((centres > 0) & (centres < [width, height])).all()
    for card in CARDS:
        crops = face_crops(scan, found, card)
        assert np.abs(crops.astype(int) - face_crops(pixels, wanted, card)).max() <= 1
    assert np.abs(turning.crop(scan, found).astype(int) - still.crop(pixels, wanted)).max() <= 1


def test_upright_turned_and_faceless_pictures_in_one_batch(turning, pictures):
    turns = (0, 180, 90, 0)
    names = (TWO, ONE, "collins-nasa-portrait.png", "cat-no-face.png")
    batch = [scanned(pictures[name], turn) for name, turn in zip(names, turns, strict=True)]
    found = turning.detect(batch)
    assert [one.turn for one in found] == list(turns)
    assert [len(one) for one in found] == [2, 1, 1, 0]


@pytest.mark.parametrize("turn", TURNS)
def test_no_face_is_made_of_a_picture_without(turning, pictures, turn):
    scans = [scanned(pictures[name], turn) for name in ("cat-no-face.png", "coffee-no-face.png")]
    assert [(len(one), one.turn) for one in turning.detect(scans)] == [(0, 0)] * 2


def test_somebody_who_lies_in_an_upright_picture_turns_nothing(turning, still, pictures):
    face = pictures[ONE]
    both = np.zeros((600, 600 + face.shape[1], 3), np.uint8)
    both[: len(face), : face.shape[1]] = face
    both[: face.shape[1], -len(face) :] = scanned(face, 90)[:600, :600]
    found = turning.detect(both)
    assert found.turn == 0
    assert_same_faces(found, still.detect(both), 0)


def test_the_selection_is_of_the_turned_faces(pictures):
    largest = load_detector(config=DetectConfig(selection="largest"))
    scan = scanned(pictures[TWO], 180)
    found = largest.detect(scan)
    assert (len(found), found.turn) == (1, 180)
    assert found.boxes[0, 2] < scan.shape[1] / 2  # the larger is at the right of the upright one


def test_without_turns_scans_are_searched_as_they_are(still, pictures):
    assert still.detect(scanned(pictures[ONE], 180)).turn == 0


@pytest.mark.parametrize("turn", TURNS)
def test_faces_turn_there_and_back(turn):
    faces = Detections(
        np.array([[10, 20, 40.5, 60.25]], np.float32),
        np.ones(1, np.float32),
        np.arange(10, dtype=np.float32).reshape(1, 5, 2),
    )
    there = faces.turned(turn, 100, 200)
    assert there.turn == 360 - turn
    sides = (200, 100) if turn % 180 else (100, 200)
    back = there.turned(-turn, *sides)
    assert back.turn == 0
    assert_same_faces(back, faces, 0)
    assert there.take(np.array([0])).turn == there.enlarged(2).turn == there.turn


@pytest.mark.parametrize(
    ("score", "roll", "turns"),
    [(0.9999, 0, ()), (0.9999, 40, ()), (0.9999, 90, TURNS), (0.9, 0, TURNS), (0.998, 0, (180,))],
)
def test_what_is_doubted(score, roll, turns):
    angle = np.radians(roll)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points = (geometry.ARCFACE_112 @ turn).astype(np.float32)
    faces = Detections(
        np.array([[0, 0, 112, 112]], np.float32), np.array([score], np.float32), points[None]
    )
    assert doubted_turns(faces) == turns
    assert doubted_turns(Detections.none()) == TURNS


def test_first_looks_are_small():
    sizes = {(250, 250): 2, (768, 1024): 2, (1536, 2048): 4, (3000, 4000): 8, (1, 1): 2}
    for (height, width), factor in sizes.items():
        assert look_factor(np.broadcast_to(np.uint8(0), (height, width, 3))) == factor


def test_a_picture_without_faces_is_looked_at_whole_but_once(still, pictures):
    sizes = []

    def detect(images):
        sizes.extend(image.shape[0] for image in images)
        return still.detect(list(images)) if images else []

    cat = pictures["cat-no-face.png"]
    assert len(at_best_turns([cat], [Detections.none()], detect)[0]) == 0
    assert len(sizes) == 3
    assert max(sizes) <= max(cat.shape) / 2 + 1
