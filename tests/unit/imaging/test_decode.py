import io
import struct
import threading
import warnings
import zlib
from datetime import datetime
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import simplejpeg
from PIL import Image, ImageCms, ImageFile, PngImagePlugin

from pipeline.errors import ErrorCode, ImageError
from pipeline.imaging.formats import (
    IMAGE_EXTENSIONS,
    UNDECODABLE_IMAGE_EXTENSIONS,
    probe,
    unsupported_kind,
)
from pipeline.imaging.modes import to_rgb
from tests.support.decoding import decode

PHOTOS = Path(__file__).parents[3] / "examples" / "photos"

# how each format is written: Pillow's name and options
FORMATS = {
    "JPEG": ("JPEG", {"quality": 95}),
    "PNG": ("PNG", {}),
    "WEBP": ("WEBP", {"lossless": True}),
    "TIFF": ("TIFF", {}),
    "TIFF-lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "TIFF-jpeg": ("TIFF", {"compression": "jpeg"}),
    "BMP": ("BMP", {}),
    "GIF": ("GIF", {}),
    "HEIF": ("HEIF", {"quality": 90}),
    "AVIF": ("AVIF", {"quality": 90}),
    "JPEG2000": ("JPEG2000", {}),
    "PPM": ("PPM", {}),
}


def encode(image, kind="PNG", **more):
    name, options = FORMATS[kind]
    out = io.BytesIO()
    if name == "HEIF":
        pillow_heif.from_pillow(image).save(out, **options | more)
    else:
        image.save(out, name, **options | more)
    return out.getvalue()


def scene(width=96, height=64):
    """A picture whose eight orientations differ: smooth, with a light and a dark corner."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 200 // width, y * 200 // height, (x + y) * 100 // (width + height)], -1)
    pixels[: height // 4, : width // 4] = 250
    pixels[-height // 4 :, : width // 4] = 5
    return pixels.astype(np.uint8)


def exif_bytes(orientation=None, **dates):
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    if "changed" in dates:
        exif[0x0132] = dates["changed"]
    photo = {0x9003: dates.get("original"), 0x9004: dates.get("digitized")}
    for tag, text in photo.items():
        if text is not None:
            exif.get_ifd(0x8769)[tag] = text
    return exif.tobytes()


def code_of(data, **more):
    with pytest.raises(ImageError) as caught:
        decode(data, **more)
    assert caught.value.detail
    return caught.value.code


def test_contract():
    got = decode(encode(Image.fromarray(scene()), "PNG"))
    assert (got.format, got.orientation, got.taken_at) == ("PNG", 1, None)
    assert got.pixels.dtype == np.uint8
    assert got.pixels.flags.c_contiguous
    assert got.pixels.flags.writeable  # torch.from_numpy warns otherwise
    np.testing.assert_array_equal(got.pixels, scene())


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format(kind):
    data = encode(Image.fromarray(scene()), kind)
    got = decode(data)
    assert got.format == probe(data[:32]) == FORMATS[kind][0]
    assert got.pixels.flags.c_contiguous
    assert np.abs(got.pixels.astype(int) - scene()).mean() < 4


# ---- codes


def test_empty():
    assert code_of(b"") == ErrorCode.EMPTY


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"FUJIFILMCCD-RAW 0201", "RAF"),
        (b"IIRO\x08\0\0\0" + bytes(40), "ORF"),
        (b"IIU\0\x18\0\0\0" + bytes(40), "RW2"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(40), "CR3"),
        (b"\0\0\0\x18ftypisom\0\0\0\1isommp42" + bytes(40), "video"),
        (b"\0\0\0\x14ftypqt  \0\0\0\1qt  " + bytes(40), "video"),
        (b"RIFF\x10\0\0\0AVI LIST" + bytes(40), "video"),
        (b"8BPS\0\1" + bytes(40), "Photoshop"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg/>", "SVG"),
        (b"\xff\x0a\xfa\x1f" + bytes(40), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "JPEG XL"),
        (b"%PDF-1.7\n", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        (b"<!DOCTYPE html><p>404", "web page"),
        (bytes(1000), "zero bytes"),
        (b"BMW is a maker of cars, this is no bitmap", "unknown"),
        (b"P3 is a pop song", "unknown"),
    ],
)
def test_unsupported_names_what_it_is(data, word):
    assert code_of(data) == ErrorCode.UNSUPPORTED_FORMAT
    assert word in unsupported_kind(data)


def raw_file(first, sub=None):
    """A little-endian TIFF: SHORT and LONG tags in IFD0, and in a SubIFD of it."""

    def directory(tags, at, more=()):
        rows = sorted([*((tag, 3, 1, value) for tag, value in tags.items()), *more])
        body = b"".join(struct.pack("<HHII", *row) for row in rows)
        return struct.pack("<H", len(rows)) + body + bytes(4), at + 2 + 12 * len(rows) + 4

    start = 8
    more = []
    if sub is not None:
        more = [(0x14A, 4, 1, start + 2 + 12 * (len(first) + 1) + 4)]
    head, _ = directory(first, start, more)
    tail = directory(sub, 0)[0] if sub is not None else b""
    return b"II*\0" + struct.pack("<I", start) + head + tail


@pytest.mark.parametrize(
    "data",
    [
        b"II*\0\x10\0\0\0CR\2\0" + bytes(64),
        raw_file({0xC612: 0x0104}),
        raw_file({0xFE: 1, 0x106: 2}, {0xFE: 0, 0x106: 32803}),
        raw_file({0x106: 32803}),
        raw_file({0x106: 6, 0xC634: 1}),
        raw_file({0x106: 34892}),
    ],
)
def test_raw_is_never_its_preview(data):
    assert code_of(data) == ErrorCode.UNSUPPORTED_FORMAT


def test_raw_with_a_readable_preview():
    """A whole TIFF picture with DNG's tag: Pillow alone would decode it."""
    data = encode(Image.fromarray(scene()), "TIFF", tiffinfo={0xC612: b"\1\4\0\0"})
    assert code_of(data) == ErrorCode.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("part", [0.03, 0.3, 0.6, 0.9])
def test_truncated(kind, part):
    noise = np.random.default_rng(1).integers(0, 255, (64, 96, 3), np.uint8)
    data = encode(Image.fromarray(noise), kind)
    cut = data[: int(len(data) * part)]
    if part == 0.9 and kind in ("PNG", "WEBP", "TIFF"):  # most of it is there
        assert 0 < decode(cut).damaged_rows <= 16
    else:
        assert code_of(cut) == ErrorCode.TRUNCATED


def test_truncated_within_the_magic():
    assert code_of(b"\xff\xd8") == ErrorCode.TRUNCATED
    assert code_of(b"\x89PNG") == ErrorCode.TRUNCATED


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("tail", [b"", b"\xff\xd9", bytes(500), bytes(100_000)])
def test_half_a_jpeg_is_no_picture(progressive, grey, tail):
    image = Image.open(PHOTOS / "obama-2012-closeup.jpg")
    data = encode(image.convert("L") if grey else image, "JPEG", progressive=progressive)
    half = data[: len(data) // 2] + tail
    if progressive:  # a whole picture, only less sharp
        got = decode(half)
        assert got.damaged_rows == 0
        assert np.abs(got.pixels.astype(int) - decode(data).pixels).mean() < 4
        return
    assert code_of(half) == ErrorCode.TRUNCATED


def test_a_flaw_in_the_middle_keeps_the_photo():
    data = bytearray((PHOTOS / "obama-2012-closeup.jpg").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4] = b"\xff\xd0\xff\xd1"
    assert decode(bytes(data)).pixels.shape == (240, 320, 3)


def test_junk_after_the_image_is_ignored():
    for kind in FORMATS:
        if kind != "HEIF":  # libheif counts boxes to the end of the file
            assert decode(encode(Image.fromarray(scene()), kind) + b"junk" * 9).pixels.shape == (
                (64, 96, 3)
            )


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG2000", "TIFF-lzw"])
def test_corrupt(kind):
    data = bytearray(encode(Image.fromarray(scene()), kind))
    data[40 : len(data) - 40] = bytes(b ^ 0x5A for b in data[40 : len(data) - 40])
    assert code_of(bytes(data)) in (ErrorCode.CORRUPT, ErrorCode.TRUNCATED)


def test_corrupt_jpeg_header_and_png_checksum():
    jpeg = encode(Image.fromarray(scene()), "JPEG")
    at = jpeg.index(b"\xff\xc4")
    assert code_of(jpeg[: at + 4] + b"\xff" * 30 + jpeg[at + 34 :]) == ErrorCode.CORRUPT
    png = bytearray(encode(Image.fromarray(scene()), "PNG"))
    png[29] ^= 1
    assert code_of(bytes(png)) == ErrorCode.CORRUPT


@pytest.mark.parametrize("kind", FORMATS)
def test_too_large_comes_first(kind):
    data = encode(Image.fromarray(scene()), kind)
    assert code_of(data, max_pixels=96 * 64 - 1) == ErrorCode.TOO_LARGE
    assert decode(data, max_pixels=96 * 64).pixels.shape == (64, 96, 3)


def bomb_png():
    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")
    )


def bomb(kind):
    if kind == "PNG":
        return bomb_png()
    data = encode(Image.fromarray(scene()), kind)
    small = {"GIF": struct.pack("<HH", 96, 64), "BMP": struct.pack("<ii", 96, 64)}
    small |= {"JPEG": struct.pack(">HH", 64, 96), "HEIF": struct.pack(">II", 96, 64)}
    small |= {"AVIF": small["HEIF"], "JPEG2000": struct.pack(">II", 64, 96), "PPM": b"96 64"}
    huge = {"GIF": struct.pack("<HH", 60000, 60000), "BMP": struct.pack("<ii", 60000, 60000)}
    huge |= {"JPEG": struct.pack(">HH", 60000, 60000), "HEIF": struct.pack(">II", 60000, 60000)}
    huge |= {"AVIF": huge["HEIF"], "JPEG2000": huge["HEIF"], "PPM": b"60000 60000"}
    assert small[kind] in data
    return data.replace(small[kind], huge[kind])


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "JPEG", "HEIF", "AVIF", "JPEG2000", "PPM"])
def test_bombs(kind):
    assert code_of(bomb(kind)) == ErrorCode.TOO_LARGE


def test_gif_frame_larger_than_its_canvas():
    """A first frame that is disposed of makes Pillow fill its whole extent when it opens."""
    data = bytearray(encode(Image.fromarray(scene()), "GIF", disposal=2, transparency=0))
    at = data.index(b"\x2c\0\0\0\0" + struct.pack("<HH", 96, 64))
    data[at + 5 : at + 9] = struct.pack("<HH", 60000, 60000)
    assert code_of(bytes(data)) == ErrorCode.TOO_LARGE


def test_tiff_tile_larger_than_its_image():
    data = raw_file(
        {0x100: 10, 0x101: 10, 0x102: 8, 0x103: 1, 0x106: 1, 0x115: 1}
        | {0x142: 60000, 0x143: 60000, 0x144: 8, 0x145: 100}
    )
    assert code_of(data) in (ErrorCode.TOO_LARGE, ErrorCode.TRUNCATED, ErrorCode.CORRUPT)


def test_out_of_memory(monkeypatch):
    def starve(*args, **options):
        raise MemoryError

    monkeypatch.setattr(Image.core, "new", starve)
    assert code_of(encode_now) == ErrorCode.OUT_OF_MEMORY


encode_now = encode(Image.fromarray(scene()), "PNG")


def test_damaged_item_types_do_not_end_the_process():
    """pi_heif 1.4 turns them to text without a check, and dereferences the NULL it gets."""
    data = encode(Image.fromarray(scene()), "HEIF", exif=exif_bytes(6))
    at = data.index(b"Exif")
    for offset in range(4):
        bad = bytearray(data)
        bad[at + offset] |= 0x80
        assert code_of(bytes(bad)) == ErrorCode.CORRUPT


# ---- JPEG


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_pillow_bit_for_bit(subsampling, mode, progressive):
    image = Image.open(PHOTOS / "obama-2012-closeup.jpg").convert(mode).crop((0, 0, 317, 211))
    data = encode(image, "JPEG", quality=80, subsampling=subsampling, progressive=progressive)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(decode(data).pixels, expected)


@pytest.mark.parametrize("photo", sorted(PHOTOS.glob("*.jpg")), ids=lambda path: path.stem)
def test_photos_are_pillow_bit_for_bit(photo):
    got = decode(photo.read_bytes())
    with Image.open(photo) as image:
        np.testing.assert_array_equal(got.pixels, np.asarray(image.convert("RGB")))


def test_photos_take_the_fast_path(monkeypatch):
    monkeypatch.setattr("pipeline.imaging.jpeg.open_with", None)
    for photo in PHOTOS.glob("*.jpg"):
        decode(photo.read_bytes())


def test_cmyk_and_rgb_jpegs_are_pillows():
    for image, more in (
        (Image.fromarray(scene()).convert("CMYK"), {}),
        (Image.fromarray(scene()), {"keep_rgb": True}),
    ):
        data = encode(image, "JPEG", **more)
        assert simplejpeg.decode_jpeg_header(data)[2] not in ("YCbCr", "Gray")
        expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        np.testing.assert_array_equal(decode(data).pixels, expected)


def test_mpo_gives_its_primary_picture():
    out = io.BytesIO()
    first, second = Image.fromarray(scene()), Image.fromarray(255 - scene())
    first.save(out, "MPO", save_all=True, append_images=[second], quality=95)
    got = decode(out.getvalue())
    assert got.format == "MPO"
    assert np.abs(got.pixels.astype(int) - scene()).mean() < 4


# ---- frames


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF", "AVIF"])
def test_first_frame(kind):
    frames = [Image.fromarray(scene()), Image.fromarray(255 - scene())]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.abs(decode(data).pixels.astype(int) - scene()).mean() < 4


# ---- EXIF


def turned(pixels, orientation):
    """How a camera stores `pixels` so that EXIF `orientation` brings it back (independent path)."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = Image.fromarray(pixels)
    return image.transpose(undo[orientation]) if orientation in undo else image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "TIFF-lzw", "HEIF", "AVIF"])
def test_orientation_is_applied_once(kind, orientation):
    stored = turned(scene(), orientation)
    data = encode(stored, kind, exif=exif_bytes(orientation))
    got = decode(data)
    assert got.orientation == orientation
    assert got.pixels.shape == scene().shape
    assert got.pixels.flags.c_contiguous
    assert np.abs(got.pixels.astype(int) - scene()).mean() < 4


def test_heif_ignores_exif_that_its_boxes_do_not_repeat():
    """ISO/IEC 23008-12: only irot and imir turn; the EXIF inside is for information."""
    data = encode(turned(scene(), 6), "HEIF", exif=exif_bytes(6))
    at = data.index(b"irot")
    plain = data[: at + 4] + b"\0" + data[at + 5 :]
    got = decode(plain)
    assert got.orientation == 1
    assert got.pixels.shape == (96, 64, 3)


@pytest.mark.parametrize("value", [0, 9, 65535])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_absurd_orientation_is_none(kind, value):
    got = decode(encode(Image.fromarray(scene()), kind, exif=exif_bytes(value)))
    assert got.orientation == 1
    assert got.pixels.shape == scene().shape


ABSURD = {
    "nothing": b"",
    "no header": b"Exif\0\0garbage that is no TIFF header at all",
    "cut header": b"Exif\0\0II*\0",
    "offset past the end": b"Exif\0\0II*\0\xff\xff\xff\x7f",
    "offset to itself": b"Exif\0\0II*\0\0\0\0\0",
    "a million entries": b"Exif\0\0II*\0\x08\0\0\0\xff\xff"
    + b"\x12\x01\x03\0\xff\xff\xff\xff" * 50,
    "orientation as text": b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\2\0\4\0\0\0abc\0\0\0\0\0",
    "orientation as double": b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\x0c\0\1\0\0\0\x1a\0\0\0"
    + bytes(12),
    "EXIF directory in itself": b"Exif\0\0II*\0\x08\0\0\0\1\0\x69\x87\4\0\1\0\0\0\x08\0\0\0"
    + bytes(4),
    "long": b"Exif\0\0MM\0*" + b"\xff" * 60_000,
}


@pytest.mark.parametrize("block", ABSURD.values(), ids=ABSURD)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_absurd_exif_is_ignored(kind, block):
    got = decode(encode(Image.fromarray(scene()), kind, exif=block))
    assert (got.orientation, got.taken_at) == (1, None)


def test_png_exif_as_imagemagick_writes_it():
    block = exif_bytes(6, original="2011:06:04 12:30:15")
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", f"\nexif\n{len(block):8}\n{block.hex()}\n", zip=True)
    got = decode(encode(turned(scene(), 6), "PNG", pnginfo=info))
    assert (got.orientation, got.taken_at) == (6, datetime(2011, 6, 4, 12, 30, 15))
    np.testing.assert_array_equal(got.pixels, scene())


GOOD, LATER = "2011:06:04 12:30:15", "2020:01:01 00:00:00"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF", "AVIF", "TIFF"])
def test_taken_at(kind):
    data = encode(Image.fromarray(scene()), kind, exif=exif_bytes(original=GOOD, changed=LATER))
    assert decode(data).taken_at == datetime(2011, 6, 4, 12, 30, 15)


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        ({"digitized": GOOD, "changed": LATER}, datetime(2011, 6, 4, 12, 30, 15)),
        ({"changed": GOOD}, datetime(2011, 6, 4, 12, 30, 15)),
        ({"original": "0000:00:00 00:00:00", "changed": GOOD}, datetime(2011, 6, 4, 12, 30, 15)),
        ({"original": "    :  :     :  :  "}, None),
        ({"original": "2011:13:45 99:00:00"}, None),
        ({"original": "yesterday"}, None),
        ({}, None),
    ],
)
def test_taken_at_takes_the_first_that_is_a_date(dates, expected):
    assert decode(encode(Image.fromarray(scene()), "JPEG", exif=exif_bytes(**dates))).taken_at == (
        expected
    )


# ---- modes


def test_alpha_is_composited_over_white():
    pixels = np.zeros((4, 256, 4), np.uint8)
    pixels[..., 3] = np.arange(256)
    pixels[1, :, 0], pixels[2, :, 1], pixels[3, :, :3] = 255, 130, 77
    colour, alpha = pixels[..., :3].astype(float), pixels[..., 3:] / 255
    expected = np.rint(colour * alpha + 255 * (1 - alpha)).astype(np.uint8)
    for kind in ("PNG", "WEBP"):
        got = decode(
            encode(Image.fromarray(pixels), kind, **({"exact": True} if kind == "WEBP" else {}))
        )
        np.testing.assert_array_equal(got.pixels, expected)
    premultiplied = Image.fromarray(pixels).convert("RGBa")
    difference = to_rgb(premultiplied).astype(int) - expected
    assert np.abs(difference).max() <= 1  # premultiplying itself rounds
    grey = Image.fromarray(pixels[..., [0, 3]])
    assert grey.mode == "LA"
    np.testing.assert_array_equal(decode(encode(grey)).pixels, expected[..., [0, 0, 0]])


def test_huge_transparent_pictures_are_composited_in_bands(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 255, (50, 40, 4), np.uint8)
    whole = to_rgb(Image.fromarray(pixels))
    monkeypatch.setattr("pipeline.imaging.modes.BAND_PIXELS", 130)
    np.testing.assert_array_equal(to_rgb(Image.fromarray(pixels)), whole)


def test_palette_transparency():
    image = Image.new("P", (4, 1))
    image.putpalette([10, 20, 30, 200, 100, 50, 0, 0, 0])
    image.putdata([0, 1, 2, 1])
    np.testing.assert_array_equal(decode(encode(image)).pixels[0, 1], [200, 100, 50])
    one = decode(encode(image, transparency=1)).pixels[0]
    np.testing.assert_array_equal(one, [[10, 20, 30], [255] * 3, [0, 0, 0], [255] * 3])
    many = decode(encode(image, transparency=bytes([255, 0, 255]))).pixels[0]
    np.testing.assert_array_equal(many, one)
    gif = decode(encode(image, "GIF", transparency=1)).pixels[0]
    np.testing.assert_array_equal(gif, one)


def test_transparent_colours():
    colour = decode(encode(Image.fromarray(scene()), transparency=(250, 250, 250))).pixels
    assert (colour[:16, :24] == 255).all()
    grey = Image.fromarray(np.array([[0, 7, 200]], np.uint8))
    np.testing.assert_array_equal(
        decode(encode(grey, transparency=7)).pixels[0, :, 0], [0, 255, 200]
    )
    bits = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    np.testing.assert_array_equal(decode(encode(bits, transparency=0)).pixels[0, :, 0], [255, 255])


SIXTEEN = np.array([[0, 1, 128, 129, 257, 32768, 65407, 65535]], np.uint16)
SIXTEEN_SCALED = np.rint(SIXTEEN / 257).astype(np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG2000"])
def test_sixteen_bits_are_scaled(kind):
    values = np.repeat(np.tile(SIXTEEN, 8), 64, axis=0)
    more = {"irreversible": False} if kind == "JPEG2000" else {}
    got = decode(encode(Image.fromarray(values), kind, **more)).pixels
    np.testing.assert_array_equal(got[..., 0], np.rint(values / 257))


def test_a_dark_sixteen_bit_picture_stays_dark():
    got = decode(encode(Image.fromarray(np.full((4, 4), 200, np.uint16)))).pixels
    assert (got == 1).all()


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B"])
def test_sixteen_bits_of_either_order(mode):
    raw = SIXTEEN.astype(">u2" if mode == "I;16B" else "<u2").tobytes()
    got = to_rgb(Image.frombytes(mode, (8, 1), raw))
    np.testing.assert_array_equal(got[0, :, 1], SIXTEEN_SCALED[0])


def test_twelve_bit_tiff():
    packed = bytes([0xFF, 0xF0, 0x00, 0x80, 0x00, 0x00])  # 4095, 0, 2048, 0
    tags = {0x100: 4, 0x101: 1, 0x102: 12, 0x103: 1, 0x106: 1, 0x111: 0, 0x115: 1, 0x117: 6}
    body = raw_file(tags | {0x111: len(raw_file(tags))}) + packed
    np.testing.assert_array_equal(decode(body).pixels[0, :, 0], [255, 0, 128, 0])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([-5, 0, 128, 255], [0, 0, 128, 255]),
        ([0, 256, 65535, -1], [0, 1, 255, 0]),
        ([0, 65536, 2**31 - 1, 2**30], [0, 0, 255, 128]),
    ],
)
def test_mode_i(values, expected):
    got = to_rgb(Image.fromarray(np.array([values], np.int32)))
    np.testing.assert_array_equal(got[0, :, 2], expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0.5, 1, np.nan], [0, 128, 255, 0]),
        ([0, 2, 255, np.nan], [0, 2, 255, 0]),
        ([0, 257, 65535, 128.5], [0, 1, 255, 0]),
        ([-1, 0, 1, np.nan], [0, 128, 255, 0]),
        ([-3, np.inf, 1, -np.inf], [0, 255, 255, 0]),
        ([7e9, 7e9, 7e9, 7e9], [0, 0, 0, 0]),
        ([np.nan] * 4, [0, 0, 0, 0]),
        ([-3e38, 3e38, 0, 0], [0, 255, 128, 128]),
    ],
)
def test_mode_f(values, expected):
    got = to_rgb(Image.fromarray(np.array([values], np.float32)))
    np.testing.assert_array_equal(got[0, :, 0], expected)


def test_mode_f_from_a_tiff():
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    got = decode(encode(Image.fromarray(values), "TIFF")).pixels
    np.testing.assert_array_equal(got[..., 0], np.rint(values.astype(float) * 255))


def in_mode(image, mode):
    if mode != "LAB":
        return image.convert(mode)
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.profileToProfile(image, *profiles, outputMode="LAB")


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "LAB", "RGBX", "PA", "1"])
def test_other_modes(mode):
    image = Image.fromarray(scene())
    image = image.convert("P").convert("PA") if mode == "PA" else in_mode(image, mode)
    got = to_rgb(image)
    assert got.shape == scene().shape
    if mode not in ("PA", "1"):
        assert np.abs(got.astype(int) - scene()).mean() < 3


def test_a_mode_without_a_rule_is_refused():
    image = Image.new("RGB", (1, 1))
    image._mode = "BGR;24"
    with pytest.raises(ValueError, match="no rule"):
        to_rgb(image)


# ---- neighbours


def test_pillow_is_left_as_it_was():
    before = (dict(Image.OPEN), list(Image.ID), list(warnings.filters))
    Image.MAX_IMAGE_PIXELS, kept = 10, Image.MAX_IMAGE_PIXELS
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        for kind in FORMATS:
            data = encode(Image.fromarray(scene()), kind)
            assert decode(data).pixels.shape == (64, 96, 3)
            assert code_of(data[: len(data) // 2]) == ErrorCode.TRUNCATED
        assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == (10, True)
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = kept, False
    assert (dict(Image.OPEN), list(Image.ID), list(warnings.filters)) == before


def test_threads_leave_nothing_behind():
    before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    files = [encode(Image.fromarray(scene()), kind) for kind in FORMATS]
    expected = [decode(data).pixels for data in files]
    failures = []

    def work():
        for data, pixels in zip(files * 4, expected * 4, strict=True):
            if not np.array_equal(decode(data).pixels, pixels):
                failures.append(data[:8])

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


def test_probe_needs_32_bytes_and_never_raises():
    assert probe(b"") is None
    assert probe(b"\xff\xd8") is None
    assert probe(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif") == "AVIF"
    assert probe(b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic") == "HEIF"
    assert probe(b"\0\0\0\x1cftypMiHB\0\0\0\0mif1heic") == "HEIF"


def test_extensions():
    assert {".jpg", ".heic", ".png", ".webp", ".tiff"} <= IMAGE_EXTENSIONS
    assert {".dng", ".cr2", ".psd", ".svg", ".jxl"} <= UNDECODABLE_IMAGE_EXTENSIONS
    assert not IMAGE_EXTENSIONS & UNDECODABLE_IMAGE_EXTENSIONS
    for extension in IMAGE_EXTENSIONS | UNDECODABLE_IMAGE_EXTENSIONS:
        assert extension == extension.lower()
        assert extension.startswith(".")


def photo_jpeg(width, height, orientation=1, mode="RGB"):
    ramp = np.linspace(0, 255, width * height, dtype=np.uint8).reshape(height, width)
    image = Image.fromarray(np.dstack([ramp, ramp[::-1], ramp.T.reshape(height, width)]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.convert(mode).save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(
    ("side", "factor"), [(None, 1), (601, 1), (300, 2), (301, 1), (150, 4), (75, 8), (12, 8)]
)
def test_a_large_jpeg_is_decoded_no_larger_than_asked_for(side, factor):
    data = photo_jpeg(601, 399)
    image = decode(data, side=side)
    assert image.reduced == factor
    assert (image.width, image.height) == (601, 399)
    assert image.pixels.shape == (-(-399 // factor), -(-601 // factor), 3)
    assert image.pixels.flags.c_contiguous
    whole = decode(data).pixels[: 399 // factor * factor, : 601 // factor * factor].astype(float)
    means = whole.reshape(399 // factor, factor, 601 // factor, factor, 3).mean(axis=(1, 3))
    difference = image.pixels[: 399 // factor, : 601 // factor] - means
    assert np.abs(difference).mean() < 2  # the same picture, in the same place


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_jpeg_is_upright_as_well(orientation):
    data = photo_jpeg(400, 202, orientation)
    image = decode(data, side=100)
    assert image.reduced == 4
    assert (image.width, image.height) == ((400, 202) if orientation < 5 else (202, 400))
    assert image.pixels.shape[:2] == ((51, 100) if orientation < 5 else (100, 51))


def test_grey_jpegs_are_reduced_others_are_whole():
    assert decode(photo_jpeg(400, 200, mode="L"), side=100).pixels.shape == (50, 100, 3)
    assert decode(photo_jpeg(400, 200, mode="CMYK"), side=100).pixels.shape == (200, 400, 3)
    png = io.BytesIO()
    Image.new("RGB", (400, 200)).save(png, "PNG")
    assert decode(png.getvalue(), side=100).reduced == 1
