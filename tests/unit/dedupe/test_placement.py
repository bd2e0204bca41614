"""One picture inside another."""

import numpy as np
import pytest
from PIL import Image

from benchmarks import edits
from pipeline.dedupe.algorithms.looks import look
from pipeline.dedupe.algorithms.placement import lies_inside, places
from tests.support.pictures import photo


def inside(part: Image.Image, whole: Image.Image) -> bool:
    aspects = part.width / part.height, whole.width / whole.height
    return lies_inside(look(np.asarray(part)), look(np.asarray(whole)), aspects)


@pytest.fixture
def whole() -> Image.Image:
    return photo("coffee-no-face.png", 600)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_a_part_lies_in_the_whole_and_not_the_other_way(whole, share):
    part = edits.crop(whole, share, np.random.default_rng(0))
    assert inside(part, whole)
    assert not inside(whole, part)


@pytest.mark.parametrize("degrees", [3, 10])
def test_a_tilted_part_is_found(whole, degrees):
    assert inside(edits.tilt(whole, degrees, np.random.default_rng(0)), whole)


def test_a_photo_lies_in_a_picture_of_a_screen(whole):
    assert inside(whole, edits.screenshot(whole, 0.8))


def test_other_pictures_do_not_lie_in_each_other(whole):
    for other in ("cat-no-face.png", "obama-2012-closeup.jpg"):
        assert not inside(photo(other), whole)
        assert not inside(whole, photo(other))
    assert not inside(whole.transpose(Image.Transpose.FLIP_LEFT_RIGHT), whole)


def test_the_place_is_where_the_part_was_cut(whole):
    part = whole.crop((120, 60, 420, 60 + round(300 * whole.height / whole.width)))
    aspects = part.width / part.height, whole.width / whole.height
    pair = (look(np.asarray(one)).astype(np.float32) for one in (part, whole))
    best = next(places(*pair, aspects))
    centre = np.array([270, 60 + part.height / 2]) / whole.size - 0.5
    assert best[:2, 2] == pytest.approx(centre, abs=0.03)
    assert best[0, 0] == pytest.approx(300 / 600, abs=0.04)
