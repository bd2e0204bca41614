"""TIFF in all its kinds: right, or an error, but never wrong pixels without one.

The files are written by tifffile from known pixels; what is expected is computed from those, so a
file that a reader misunderstands shows.
"""

import io
import itertools

import numpy as np
import pytest
import tifffile

from pipeline.errors import ErrorCode, ImageError
from tests.support.decoding import decode, sandbox

Y, X = np.mgrid[0:48, 0:64]
COLOURS = np.stack([X * 4, Y * 5, (X + Y) * 2], -1).astype(np.uint8)
GREY = COLOURS[..., 1].copy()
GREY[0, 0], COLOURS[0, 0] = 255, 255  # the maximum tells the scale of 32 bits
SCALES = {"u1": 1, "u2": 257, "u4": 16843009, "i2": 32767 / 255, "i4": (2**31 - 1) / 255,
          "f2": 1 / 255, "f4": 1 / 255, "f8": 1 / 255}  # fmt: skip


def samples(levels, kind, order):
    scaled = levels.astype(np.float64) * SCALES[kind]
    return (scaled if kind[0] == "f" else np.rint(scaled)).astype(order + kind)


def written(values, **options):
    out = io.BytesIO()
    tifffile.imwrite(out, values, metadata=None, **options)
    return out.getvalue()


PACKINGS = [(None, False), ("zlib", False), ("zlib", True), ("lzw", False), ("lzw", True),
            ("packbits", False), ("zstd", False)]  # fmt: skip


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", SCALES)
@pytest.mark.parametrize("layout", ["rgb", "planes", "minisblack", "miniswhite"])
def test_every_combination(order, kind, layout):
    is_colour = layout in ("rgb", "planes")
    levels = COLOURS if is_colour else GREY
    values = samples(levels, kind, order)
    expected = 255 - levels.astype(int) if layout == "miniswhite" else levels.astype(int)
    expected = expected if is_colour else np.repeat(expected[..., np.newaxis], 3, 2)
    for (packing, predictor), tile, rows in itertools.product(
        PACKINGS, (None, (16, 16)), (None, 7)
    ):
        if tile and rows:
            continue
        data = written(
            np.ascontiguousarray(np.moveaxis(values, -1, 0)) if layout == "planes" else values,
            photometric="rgb" if is_colour else layout,
            planarconfig="separate" if layout == "planes" else None,
            byteorder=order,
            compression=packing,
            predictor=predictor,
            tile=tile,
            rowsperstrip=rows,
        )
        got = decode(data)
        error = np.abs(got.pixels.astype(int) - expected).max()
        assert error <= 1, (packing, predictor, tile, rows)


@pytest.mark.parametrize(("extra", "alpha"), [("unassalpha", True), ("unspecified", False)])
def test_a_fourth_sample_of_16_bits(extra, alpha):
    opacity = (X * 4).astype(np.uint8)
    values = samples(np.concatenate([COLOURS, opacity[..., np.newaxis]], -1), "u2", "<")
    got = decode(written(values, photometric="rgb", extrasamples=[extra])).pixels
    share = opacity[..., np.newaxis] / 255
    expected = COLOURS * share + 255 * (1 - share) if alpha else COLOURS
    assert np.abs(got - expected).max() <= 1


def test_orientation_of_a_deep_file():
    data = written(samples(COLOURS, "u2", ">"), photometric="rgb", byteorder=">",
                   extratags=[(274, 3, 1, 6, True)])  # fmt: skip
    got = decode(data)
    assert got.orientation == 6
    np.testing.assert_array_equal(got.pixels, np.rot90(COLOURS, -1))


@pytest.mark.parametrize("photometric", ["separated", "cielab"])
def test_what_is_not_read_is_said(photometric):
    channels = 4 if photometric == "separated" else 3
    data = written(np.zeros((8, 8, channels), np.uint16), photometric=photometric)
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.code == ErrorCode.UNSUPPORTED_FORMAT


def test_a_deep_file_that_is_cut():
    data = written(samples(COLOURS, "u2", "<"), photometric="rgb", rowsperstrip=4)
    got = decode(data[: int(len(data) * 0.9)])
    assert 0 < got.damaged_rows <= 12
    kept = 48 - got.damaged_rows
    np.testing.assert_array_equal(got.pixels[:kept], COLOURS[:kept])
    with pytest.raises(ImageError) as caught:
        decode(data[: len(data) // 2])
    assert caught.value.code == ErrorCode.TRUNCATED


def test_in_the_sandbox():
    with sandbox() as one:
        image, _ = one.decode(written(samples(COLOURS, "u2", ">"), photometric="rgb"))
    np.testing.assert_array_equal(image.pixels, COLOURS)


@pytest.mark.parametrize("kind", ["u1", "i1"])
def test_samples_of_8_bits_with_a_sign_are_not_taken_for_others(kind):
    values = GREY if kind == "u1" else (GREY // 2).astype(np.int8)
    got = decode(written(values, photometric="minisblack")).pixels[..., 0].astype(int)
    assert np.abs(got - GREY).max() <= (0 if kind == "u1" else 2)


@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha", "unspecified"])
@pytest.mark.parametrize("layout", ["planes", "white is zero"])
def test_rarer_kinds_of_8_bits(layout, extra):
    opacity = (X * 4).astype(np.uint8)[..., np.newaxis]
    if layout == "planes":
        colours, options = COLOURS, {"photometric": "rgb", "planarconfig": "separate"}
    else:
        colours = GREY[..., np.newaxis]
        options = {"photometric": "miniswhite", "planarconfig": "contig"}
    if extra == "assocalpha":
        colours = np.minimum(colours, opacity)
    stored = np.concatenate([colours, opacity], -1)
    if layout == "planes":
        stored = np.ascontiguousarray(np.moveaxis(stored, -1, 0))
    else:
        stored[..., 0] = 255 - stored[..., 0]
    got = decode(written(stored, extrasamples=[extra], **options)).pixels
    share = opacity / 255
    if extra == "unassalpha":
        colours = colours * share + 255 * (1 - share)
    elif extra == "assocalpha":
        colours = colours.astype(int) + 255 - opacity
    assert np.abs(got - colours).max() <= 1
