"""Files whose end is lost: what is there is used, and said to be less than all."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import ErrorCode, ImageError
from tests.support.decoding import decode
from tests.support.pictures import photo

PHOTO = photo(side=480)
WHOLE = np.asarray(PHOTO)
HEIGHT, WIDTH = WHOLE.shape[:2]


def encode(kind="JPEG", image=PHOTO, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


JPEGS = {
    "plain": {"quality": 90},
    "4:4:4": {"quality": 90, "subsampling": 0},
    "progressive": {"quality": 90, "progressive": True},
    "restarts": {"quality": 90, "restart_marker_rows": 1},
}


def jpeg(kind, mode="RGB", **more):
    return encode("JPEG", PHOTO.convert(mode), **JPEGS[kind], **more)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("tail", [b"", bytes(2), b"\xff", b"\xff\0"])
def test_a_jpeg_without_its_end_mark_is_whole(kind, mode, tail):
    data = jpeg(kind, mode)
    got = decode(data[:-2] + tail)
    assert got.damaged_rows <= 16
    kept = HEIGHT - got.damaged_rows
    np.testing.assert_array_equal(got.pixels[:kept], decode(data).pixels[:kept])


@pytest.mark.parametrize("kind", ["plain", "4:4:4", "restarts"])
@pytest.mark.parametrize("tail", [lambda n: b"", bytes, lambda n: b"\xff\xd9"])
@pytest.mark.parametrize("part", [0.99, 0.9])
def test_rows_that_are_lost_are_counted(kind, tail, part):
    data = jpeg(kind)
    keep = int(len(data) * part)
    got = decode(data[:keep] + tail(len(data) - keep))
    assert 0 < got.damaged_rows < HEIGHT / 4
    kept = HEIGHT - got.damaged_rows
    np.testing.assert_array_equal(got.pixels[:kept], decode(data).pixels[:kept])
    assert (got.pixels[kept + 1] != decode(data).pixels[kept + 1]).any()


def test_a_progressive_jpeg_that_lacks_its_last_steps_is_less_sharp():
    data = jpeg("progressive")
    got = decode(data[: int(len(data) * 0.9)])
    assert got.damaged_rows == 0
    assert np.abs(got.pixels.astype(int) - WHOLE).mean() < 4
    with pytest.raises(ImageError) as caught:
        decode(data[: int(len(data) * 0.1)])
    assert caught.value.code == ErrorCode.TRUNCATED


def test_orientation_and_loss():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = jpeg("plain", exif=exif)
    got = decode(data[: int(len(data) * 0.95)])
    assert (got.width, got.height, got.orientation) == (HEIGHT, WIDTH, 6)
    assert got.damaged_rows > 0


@pytest.mark.parametrize("part", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_too_little_is_an_error(kind, part):
    data = encode(kind)
    with pytest.raises(ImageError) as caught:
        decode(data[: int(len(data) * part)])
    assert caught.value.code == ErrorCode.TRUNCATED


OTHERS = {
    "PNG": ("PNG", {}),
    "PNG, compressed more": ("PNG", {"optimize": True}),
    "WebP": ("WEBP", {"quality": 90}),
    "WebP, lossless": ("WEBP", {"lossless": True}),
    "TIFF": ("TIFF", {}),
    "TIFF, strips": ("TIFF", {"strip_size": 20_000}),
    "TIFF, deflate": ("deflated TIFF", {}),
}


def deflated_tiff(exif):
    """Return a TIFF of compressed strips behind its directory; libtiff writes them before it."""
    each = 8
    strips = [zlib.compress(WHOLE[top : top + each].tobytes()) for top in range(0, HEIGHT, each)]
    tags = {256: WIDTH, 257: HEIGHT, 258: 8, 259: 8, 262: 2, 274: exif.get(274, 1), 277: 3,
            278: each}  # fmt: skip
    count = len(strips)
    arrays = 8 + 2 + 12 * (len(tags) + 2) + 4
    at = arrays + 8 * count + 6
    places = [at + sum(map(len, strips[:index])) for index in range(count)]
    entries = [(tag, 3, 1, value) for tag, value in tags.items()]
    entries += [(273, 4, count, arrays), (279, 4, count, arrays + 4 * count)]
    entries = [e if e[0] != 258 else (258, 3, 3, arrays + 8 * count) for e in entries]
    body = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"".join(
        [b"II*\0", struct.pack("<IH", 8, len(entries)), body, bytes(4),
         struct.pack(f"<{count}I", *places), struct.pack(f"<{count}I", *map(len, strips)),
         struct.pack("<3H", 8, 8, 8), *strips]
    )  # fmt: skip


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("name", OTHERS)
def test_other_formats(name, orientation):
    kind, options = OTHERS[name]
    if kind == "WEBP" and orientation != 1:
        pytest.skip("EXIF comes last, and is lost")
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = deflated_tiff(exif) if " " in kind else encode(kind, **options, exif=exif)
    expected = decode(data)
    assert expected.damaged_rows == 0
    got = decode(data[: int(len(data) * 0.9)])
    assert 0 < got.damaged_rows < HEIGHT / 4
    assert (got.width, got.height, got.orientation) == (
        expected.width, expected.height, expected.orientation)  # fmt: skip
    kept = HEIGHT - got.damaged_rows
    first = {1: np.s_[:kept], 3: np.s_[-kept:], 6: np.s_[:, -kept:]}[expected.orientation]
    np.testing.assert_array_equal(got.pixels[first], expected.pixels[first])


@pytest.mark.parametrize("lost", [1, 4, 12])
def test_a_png_without_its_end_is_whole(lost):
    got = decode(encode("PNG")[:-lost])
    assert got.damaged_rows == 0
    np.testing.assert_array_equal(got.pixels, WHOLE)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_zeros_in_place_of_the_end(kind):
    data = encode(kind)
    keep = int(len(data) * 0.95)
    got = decode(data[:keep] + bytes(len(data) - keep))
    assert 0 < got.damaged_rows < HEIGHT / 4


def plain_below(mode="RGB", level=0, height=500):
    pixels = np.full((height, 1000, len(mode)), level, np.uint8)
    pixels[:200] = np.random.default_rng(0).integers(0, 256, (200, 1000, len(mode)))
    return Image.fromarray(pixels, mode)


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("how", [{"lossless": True, "method": 0, "quality": 0}, {"quality": 80}])
def test_a_webp_whose_foot_is_plain_is_whole_although_it_ends_in_zeros(how, mode, level):
    image = plain_below(mode, level, 2000)
    data = encode("WEBP", image, **how)
    if mode == "RGB":
        assert data.endswith(bytes(16))
    got = decode(data)
    assert got.damaged_rows == 0
    wanted = Image.open(io.BytesIO(data)).convert("RGBA")
    over_white = Image.alpha_composite(Image.new("RGBA", wanted.size, "white"), wanted)
    assert np.abs(got.pixels - np.asarray(over_white.convert("RGB"), np.float32)).max() <= 1
    # with metadata behind the picture that end in zeros
    exif = Image.Exif()
    exif[0x010E] = "\0" * 40
    assert decode(encode("WEBP", image, exif=exif.tobytes() + bytes(40), **how)).damaged_rows == 0
    # and of a copy that stopped, rows are missed
    stopped = int(0.8 * len(data.rstrip(b"\0")))
    broken = data[:stopped] + bytes(len(data) - stopped)
    with pytest.raises(ImageError) as error:
        decode(broken)
    assert error.value.code in (ErrorCode.TRUNCATED, ErrorCode.CORRUPT)


def test_an_animation_that_ends_in_zeros_shows_its_first_picture():
    frames = [plain_below(level=level) for level in (0, 255)]
    how = {"save_all": True, "append_images": frames[1:], "lossless": True, "quality": 0}
    data = encode("WEBP", frames[0], method=0, **how)
    got = decode(data + b"JUNK" + struct.pack("<I", 32) + bytes(32))
    assert got.damaged_rows == 0
    np.testing.assert_array_equal(got.pixels, np.asarray(frames[0]))
