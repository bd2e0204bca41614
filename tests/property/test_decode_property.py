"""No bytes make `decode` raise anything but ImageError, and all orientations come back."""

import io
from functools import cache

import numpy as np
import pillow_heif
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import ErrorCode, ImageError
from pipeline.imaging.exif import read_exif, upright
from pipeline.imaging.formats import probe, unsupported_kind
from pipeline.imaging.modes import to_rgb
from pipeline.imaging.phash import pdq
from pipeline.imaging.tiff import raw_kind
from tests.support.decoding import decode

# Small, so that a mutated header cannot ask for much memory in a test.
LIMIT = 4_000_000
KINDS = ("JPEG", "JPEG-progressive", "JPEG-cmyk", "PNG", "PNG-16", "PNG-palette", "WEBP", "TIFF")
KINDS += ("TIFF-lzw", "TIFF-jpeg", "BMP", "GIF", "HEIF", "AVIF", "JPEG2000", "PPM", "MPO")
quick = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@cache
def file_of(kind):
    noise = np.random.default_rng(3).integers(0, 60, (24, 40, 3), np.uint8)
    image = Image.fromarray(noise + np.arange(40, dtype=np.uint8)[:, np.newaxis] * 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    name, _, variant = kind.partition("-")
    if name != "TIFF" or not variant:  # libtiff cannot write the EXIF directory
        exif.get_ifd(0x8769)[0x9003] = "2011:06:04 12:30:15"
    options = {"exif": exif.tobytes()} if name not in ("BMP", "GIF", "PPM", "JPEG2000") else {}
    if variant == "progressive":
        options["progressive"] = True
    elif variant in ("lzw", "jpeg"):
        options["compression"] = {"lzw": "tiff_lzw"}.get(variant, variant)
    image = {
        "cmyk": lambda: image.convert("CMYK"),
        "palette": lambda: image.quantize(16),
        "16": lambda: Image.fromarray(noise[..., 0].astype(np.uint16) * 900),
    }.get(variant, lambda: image)()
    out = io.BytesIO()
    if name == "HEIF":
        pillow_heif.from_pillow(image).save(out, **options)
    elif name == "MPO":
        image.save(out, name, save_all=True, append_images=[image], **options)
    else:
        image.save(out, name, **options)
    return out.getvalue()


def check(data):
    try:
        got = decode(data, max_pixels=LIMIT)
    except ImageError as error:
        known = isinstance(error.code, ErrorCode) and error.detail
    else:
        known = True
        check_contract(got)
    assert known


def check_contract(got):
    assert got.pixels.dtype == np.uint8
    assert got.pixels.ndim == 3
    assert got.pixels.shape[2] == 3
    assert got.pixels.shape[0] * got.pixels.shape[1] <= LIMIT
    assert got.pixels.flags.c_contiguous
    assert 1 <= got.orientation <= 8


@quick
@given(st.binary(max_size=300))
def test_arbitrary_bytes(data):
    check(data)
    assert probe(data) is None or isinstance(probe(data), str)
    assert unsupported_kind(data)
    read_exif(data)


HEADS = [
    file_of("JPEG")[:4],
    file_of("PNG")[:33],
    b"GIF89a",
    b"II*\0",
    b"MM\0*",
    b"II+\0\x08\0\0\0",
]
HEADS += [
    file_of("HEIF")[:40],
    file_of("AVIF")[:40],
    file_of("WEBP")[:16],
    file_of("JPEG2000")[:60],
]
HEADS += [file_of("BMP")[:30], b"P6 ", b"P2\n3 3\n", b"Pf\n2 2\n-1\n"]


@quick
@given(st.sampled_from(HEADS), st.binary(max_size=300))
def test_arbitrary_bytes_after_a_true_beginning(head, tail):
    check(head + tail)
    read_exif(head + tail)
    raw_kind(head + tail)


@pytest.mark.parametrize("kind", KINDS)
@settings(quick, max_examples=60)
@given(data=st.data())
def test_mutated_files(kind, data):
    file = bytearray(file_of(kind))
    changes = data.draw(
        st.lists(
            st.tuples(
                # half of the changes hit the headers, where they matter most
                st.integers(0, min(200, len(file) - 1)) | st.integers(0, len(file) - 1),
                st.integers(0, 255),
            ),
            min_size=1,
            max_size=8,
        )
    )
    for at, value in changes:
        file[at] = value
    check(bytes(file))


@pytest.mark.parametrize("kind", KINDS)
@settings(quick, max_examples=40)
@given(data=st.data())
def test_cut_files(kind, data):
    file = file_of(kind)
    start = data.draw(st.integers(0, len(file)) | st.just(0))
    end = data.draw(st.integers(0, len(file)))
    check(file[:end])
    check(file[:start] + file[end:])


@quick
@given(
    st.integers(1, 8),
    st.integers(1, 130),
    st.integers(1, 130),
    st.integers(0, 2**32 - 1),
)
def test_orientation_round_trip(orientation, height, width, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    there = upright(pixels, inverse)
    assert there.shape == (pixels.shape if orientation < 5 else (width, height, 3))
    assert there.flags.c_contiguous
    np.testing.assert_array_equal(upright(there, orientation), pixels)


@settings(quick, max_examples=40)
@given(st.integers(1, 8), st.integers(1, 40), st.integers(1, 40))
def test_orientation_equals_pillows(orientation, height, width):
    pixels = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", exif=exif.tobytes())
    got = decode(out.getvalue())
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # of Image.Transpose
    image = Image.fromarray(pixels)
    if orientation in turns:
        image = image.transpose(Image.Transpose(turns[orientation]))
    np.testing.assert_array_equal(got.pixels, np.asarray(image))
    assert got.orientation == orientation


@quick
@given(st.lists(st.floats(width=32), min_size=1, max_size=30))
def test_any_floats(values):
    pixels = to_rgb(Image.fromarray(np.array([values], np.float32)))
    assert pixels.shape == (1, len(values), 3)
    numbers = [value for value in values if value == value]
    order = np.argsort(numbers)
    grey = pixels[0, [value == value for value in values], 0].astype(int)
    assert (np.diff(grey[order]) >= 0).all()  # brighter stays brighter


@quick
@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=30))
def test_any_integers(values):
    pixels = to_rgb(Image.fromarray(np.array([values], np.int32)))
    grey = pixels[0, :, 0].astype(int)
    assert (np.diff(grey[np.argsort(values)]) >= 0).all()
    assert (grey[np.array(values) <= 0] == 0).all()


@settings(quick, max_examples=80)
@given(st.integers(1, 1200), st.integers(1, 300))
def test_hash_of_any_size(height, width):
    pixels = np.arange(height * width * 3, dtype=np.uint32).astype(np.uint8)
    code, quality = pdq(pixels.reshape(height, width, 3))
    assert len(code) == 32
    assert 0 <= quality <= 100
