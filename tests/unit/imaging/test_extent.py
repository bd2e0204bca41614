"""Does a file hold more than its first picture in 8 bits?"""

import io

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from pipeline.imaging.decode import decode
from pipeline.imaging.extent import holds_more

RGB = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8))
GREY16 = np.random.default_rng(0).integers(0, 2**16, (64, 80), np.uint16)


def saved(kind, image=RGB, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def heic(*images):
    file = pillow_heif.HeifFile()
    for image in images:
        file.add_from_pillow(image)
    out = io.BytesIO()
    file.save(out, save_all=True)
    return out.getvalue()


def ten_bits():
    pixels = np.repeat(GREY16[..., None], 3, axis=2)
    file = pillow_heif.from_bytes("RGB;16", (80, 64), pixels.tobytes())
    out = io.BytesIO()
    file.save(out)
    return out.getvalue()


def ppm(header, count, pictures=1):
    return (header + bytes(count)) * pictures


@pytest.mark.parametrize(
    ("name", "data", "more"),
    [
        ("HEIF", heic(RGB), False),
        ("HEIF", heic(RGB.convert("RGBA")), False),
        ("HEIF", heic(RGB, RGB), True),
        ("HEIF", ten_bits(), True),
        ("HEIF", b"nonsense", True),
        ("AVIF", saved("AVIF"), False),
        ("AVIF", saved("AVIF", save_all=True, append_images=[RGB.rotate(90)]), True),
        ("JPEG2000", saved("JPEG2000"), False),
        ("JPEG2000", saved("JPEG2000", Image.fromarray(GREY16)), True),
        ("JPEG2000", b"", True),
        ("PPM", ppm(b"P6\n4 2\n255\n", 24), False),
        ("PPM", ppm(b"P6\n# made here\n4 2\n255\n", 24), False),
        ("PPM", ppm(b"P6\n4 2\n255\n", 24, pictures=2), True),
        ("PPM", ppm(b"P6\n4 2\n65535\n", 48), True),
        ("PPM", ppm(b"P5\n4 2\n255\n", 8), False),
        ("PPM", ppm(b"P4\n9 2\n", 4), False),
        ("PPM", b"P3\n1 1\n255\n1 2 3\n", True),
    ],
)
def test_what_a_file_holds(name, data, more):
    assert holds_more(name, data) == more


def test_a_heic_of_one_picture_says_so_when_it_is_decoded():
    assert decode(heic(RGB), 10**6, None).holds_more is False
    assert decode(ten_bits(), 10**6, None).holds_more is True
