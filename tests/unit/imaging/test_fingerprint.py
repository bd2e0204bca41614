from datetime import datetime

import numpy as np
import pytest
from PIL import Image

from pipeline.imaging.borders import content
from pipeline.imaging.exif import MAX_CAMERA_CHARACTERS
from pipeline.imaging.fingerprint import fingerprint, inner_hash, sharpness
from pipeline.imaging.phash import MATCH_BITS, distance, pdq
from tests.support.decoding import decode
from tests.support.pictures import encoded, exif, photo


def pixels(image):
    return np.array(image)


def with_bars(image, colour, left=0, top=0, right=0, bottom=0):
    wide = Image.new("RGB", (image.width + left + right, image.height + top + bottom), colour)
    wide.paste(image, (left, top))
    return wide


@pytest.mark.parametrize("colour", ["black", "white", (90, 90, 160)])
@pytest.mark.parametrize(
    "bars", [{"left": 80, "right": 80}, {"top": 60, "bottom": 60}, {"bottom": 50},
             {"left": 40, "top": 40, "right": 40, "bottom": 40}],
    ids=lambda bars: "-".join(bars),
)  # fmt: skip
@pytest.mark.parametrize("quality", [95, 40])
def test_bars_are_found_after_compression(colour, bars, quality):
    image = photo("biden-official-portrait.jpg", 400)
    data = encoded(with_bars(image, colour, **bars), quality=quality)
    x1, y1, x2, y2 = content(decode(data).pixels)
    left, top = bars.get("left", 0), bars.get("top", 0)
    wanted = (left, top, left + image.width, top + image.height)
    assert np.abs(np.subtract((x1, y1, x2, y2), wanted)).max() <= 9  # JPEG's blocks
    whole = pdq(pixels(image))[0]
    assert distance(inner_hash(decode(data).pixels), whole) <= MATCH_BITS


@pytest.mark.parametrize("name", ["obama-press-room.jpg", "cat-no-face.png", "coffee-no-face.png"])
def test_photos_without_bars_have_none(name):
    assert content(pixels(photo(name))) is None
    assert fingerprint(pixels(photo(name))).phash_inner is None


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 3), (64, 64), (700, 900)])
def test_plain_and_tiny_pictures_have_no_bars(shape):
    flat = np.full((*shape, 3), 128, np.uint8)
    assert content(flat) is None
    marks = fingerprint(flat)
    assert (marks.phash_inner, marks.phash_quality, marks.sharpness) == (None, 0, 0.0)


def test_little_in_a_large_frame_is_a_picture_of_its_own():
    image = photo("cat-no-face.png", 60)
    assert content(pixels(with_bars(image, "black", 200, 200, 200, 200))) is None


def test_equal_pixels_have_equal_hashes_in_any_container():
    image = photo()
    png = decode(encoded(image, "PNG"))
    for kind, options in (("TIFF", {}), ("WEBP", {"lossless": True}), ("BMP", {})):
        other = decode(encoded(image, kind, **options))
        assert fingerprint(other.pixels) == fingerprint(png.pixels)
    jpeg = encoded(image)
    block = exif()
    stamped = jpeg[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + jpeg[2:]
    assert decode(stamped).camera
    assert (
        fingerprint(decode(stamped).pixels).pixels_sha256
        == fingerprint(decode(jpeg).pixels).pixels_sha256
    )


def test_sizes_belong_to_the_hash_of_pixels():
    values = np.arange(6 * 8 * 3, dtype=np.uint8)
    tall, wide = values.reshape(8, 6, 3), values.reshape(6, 8, 3)
    assert fingerprint(tall).pixels_sha256 != fingerprint(wide).pixels_sha256


def test_sharpness_falls_with_blur_and_compression():
    image = photo(side=900)
    half = image.resize((image.width // 3, image.height // 3)).resize(image.size)
    sharp = sharpness(pixels(image))
    assert sharp > 1.3 * sharpness(pixels(half))
    assert sharp > sharpness(decode(encoded(image, quality=10)).pixels)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_camera_and_fractions_of_a_second(kind):
    got = decode(encoded(photo(side=80), kind, exif=exif(sub="25")))
    assert got.camera == "Canon EOS R5"
    assert got.taken_at == datetime(2024, 5, 1, 10, 0, 0, 250_000)


@pytest.mark.parametrize(
    ("sub", "milli"),
    [("5", 500), ("05", 50), ("123456", 123), ("", 0), ("  ", 0), ("-1", 0), ("x", 0), ("\xb3", 0)],
)
def test_fractions_that_are_none(sub, milli):
    block = Image.Exif()
    block.get_ifd(0x8769)[0x9003] = "2024:05:01 10:00:00"
    block.get_ifd(0x8769)[0x9291] = sub
    got = decode(encoded(photo(side=40), exif=block.tobytes()))
    assert got.taken_at == datetime(2024, 5, 1, 10, 0, 0, milli * 1000)


@pytest.mark.parametrize(
    ("camera", "name"),
    [
        ("NIKON NIKON D850", "NIKON D850"),
        ("Apple iPhone 15 Pro", "Apple iPhone 15 Pro"),
        (" ", None),
        ("A \x1b[31m\n\tB", "A [31m B"),
        ("M " + "x" * 4000, "M " + "x" * (MAX_CAMERA_CHARACTERS - 2)),
    ],
)
def test_names_of_cameras_are_tidied(camera, name):
    assert decode(encoded(photo(side=40), exif=exif(camera))).camera == name
