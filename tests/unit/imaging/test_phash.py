from pathlib import Path

import numpy as np
import pdqhash
import pytest
from PIL import Image

from pipeline.imaging.phash import HASH_BYTES, MATCH_BITS, MIN_QUALITY, distance, pdq
from tests.support.decoding import decode

PHOTOS = sorted(
    path
    for path in (Path(__file__).parents[3] / "examples" / "photos").iterdir()
    if path.suffix in (".jpg", ".png")
)
# Bits of 256 by which we may differ from the reference where it sees every pixel and we a sample.
SAMPLED_BITS = 10


def reference(pixels):
    bits, quality = pdqhash.compute(np.ascontiguousarray(pixels))
    return np.packbits(bits).tobytes(), quality


def resized(path, side):
    image = Image.fromarray(decode(path.read_bytes()).pixels)
    image.thumbnail((side, side))
    return np.array(image)


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda path: path.stem)
def test_small_photos_equal_the_reference(photo):
    pixels = resized(photo, 500)
    (ours, quality), (theirs, expected) = pdq(pixels), reference(pixels)
    # the same sums in another order: a bit at the median may fall to the other side
    assert distance(ours, theirs) <= 2
    assert abs(quality - expected) <= 1


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda path: path.stem)
def test_large_photos_are_close_to_the_reference(photo):
    pixels = decode(photo.read_bytes()).pixels
    (ours, quality), (theirs, expected) = pdq(pixels), reference(pixels)
    assert distance(ours, theirs) <= SAMPLED_BITS
    assert abs(quality - expected) <= 2


@pytest.mark.parametrize("strength", [2, 5, 10, 20, 40, 80])
@pytest.mark.parametrize("shape", [(100, 140), (700, 900)])
def test_quality_of_flat_pictures(strength, shape):
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    wave = np.sin(x * 12 / shape[1]) * np.cos(y * 9 / shape[0]) * strength + 128
    pixels = np.repeat(wave.astype(np.uint8)[..., np.newaxis], 3, axis=2)
    assert abs(pdq(pixels)[1] - reference(pixels)[1]) <= 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (4, 4), (4, 1000), (0, 0), (0, 9)])
def test_tiny_pictures_have_quality_zero(shape):
    assert pdq(np.full((*shape, 3), 9, np.uint8)) == (bytes(HASH_BYTES), 0)


@pytest.mark.parametrize("shape", [(5, 5), (5, 3000), (64, 64), (127, 129), (513, 1025), (1023, 5)])
def test_any_shape(shape):
    pixels = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    code, quality = pdq(pixels)
    assert len(code) == HASH_BYTES
    assert isinstance(quality, int)
    assert 0 <= quality <= 100


def test_one_colour_has_no_quality():
    for shape in ((64, 64), (1000, 700)):
        assert pdq(np.full((*shape, 3), 77, np.uint8))[1] == 0


def test_half_the_bits_are_set():
    code, _ = pdq(resized(PHOTOS[0], 400))
    assert distance(code, bytes(HASH_BYTES)) == 128


def test_copies_are_close_and_other_photos_far():
    portrait, closeup, speech = (
        pdq(decode((PHOTOS[0].parent / name).read_bytes()).pixels)[0]
        for name in ("obama-2012-portrait.jpg", "cat-no-face.png", "obama-2009-speech.jpg")
    )
    rgba = pdq(decode((PHOTOS[0].parent / "obama-2009-speech-rgba.png").read_bytes()).pixels)[0]
    assert distance(speech, rgba) <= MATCH_BITS
    for photo in PHOTOS:
        whole, quality = pdq(decode(photo.read_bytes()).pixels)
        assert quality >= MIN_QUALITY
        assert distance(whole, pdq(resized(photo, 240))[0]) <= MATCH_BITS
    assert min(distance(portrait, closeup), distance(closeup, speech)) > 2 * MATCH_BITS


def test_the_picture_need_not_be_contiguous():
    pixels = resized(PHOTOS[0], 300)
    assert pdq(pixels[:, ::-1]) == pdq(np.ascontiguousarray(pixels[:, ::-1]))
