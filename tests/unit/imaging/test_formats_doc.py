"""Writes and checks docs/formats.md: what comes out of each format and mode, measured.

`FACELAKE_UPDATE_DOCS=1 pytest tests/unit/test_formats_doc.py` rewrites the page.
"""

import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from pipeline.errors import ErrorCode
from pipeline.imaging import modes as modes_module
from pipeline.imaging.formats import IMAGE_EXTENSIONS, UNDECODABLE_IMAGE_EXTENSIONS
from pipeline.imaging.metadata import DATES
from pipeline.sources.walk import OTHER_EXTENSIONS
from tests.support.decoding import DEFAULT, decode

DOC = Path(__file__).parents[3] / "docs" / "formats.md"
SIDE = 96

MEANINGS = {
    ErrorCode.EMPTY: "the file has no bytes",
    ErrorCode.UNSUPPORTED_FORMAT: "not an image format that is read; the detail names it: camera "
    "RAW, Photoshop, SVG, JPEG XL, PDF, video ...",
    ErrorCode.TRUNCATED: "the data ends before the image does",
    ErrorCode.CORRUPT: "the decoder rejects the data",
    ErrorCode.TOO_LARGE: "width x height is over `--max-pixels`; told from the header, before any "
    "pixel memory is taken",
    ErrorCode.UNREADABLE: "storage did not give the bytes; the next run tries again",
    ErrorCode.UNSAFE_MEMBER: "a member of an archive that is a link, a device, or leaves it",
    ErrorCode.ENCRYPTED: "a member of an archive behind a password",
    ErrorCode.OUT_OF_MEMORY: "decoding needed more memory than there was",
    ErrorCode.TIMEOUT: "decoding took too long",
    ErrorCode.CRASHED: "decoding ended its process",
}


def source():
    """A smooth gradient with blocks of plain colours in it, uint8 [96, 96, 3]."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    pixels = np.stack([x * 255 // (SIDE - 1), y * 255 // (SIDE - 1), 255 - (x + y) * 4 // 3], -1)
    blocks = [(200, 40, 40), (40, 160, 60), (60, 60, 220), (0, 0, 0), (255, 255, 255)]
    for index, colour in enumerate(blocks):
        pixels[32:48, 16 * index : 16 * index + 16] = colour
    return pixels.astype(np.uint8)


RGB = source()
GREY = RGB[..., 1]
ALPHA = np.tile(np.linspace(0, 255, SIDE).astype(np.uint8), (SIDE, 1))
WIDE = (GREY.astype(np.uint16) * 257) ^ np.uint16(0x5A)  # 16 bits whose low byte matters
THREE_WIDE = (RGB.astype(np.uint16) * 257) ^ np.uint16(0x5A)


def thrice(grey):
    return np.repeat(np.asarray(grey)[..., np.newaxis], 3, axis=2)


def over_white(colour):
    opacity = ALPHA[..., np.newaxis] / 255
    return np.rint(colour * opacity + 255 * (1 - opacity))


def save(name, image, **options):
    out = io.BytesIO()
    if name == "HEIF":
        pillow_heif.from_pillow(image).save(out, **options)
    else:
        image.save(out, name, **options)
    return out.getvalue()


def png_of_16_bits(values):
    """Return a PNG of [H, W, channels] 16-bit values, which Pillow cannot write."""
    height, width, channels = values.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    body = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))]
    body += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in body
    )


@dataclass(frozen=True)
class Case:
    """A file that is written, and how far the decoded pixels may be from its source."""

    format: str
    mode: str
    write: Callable[[], bytes]
    expected: np.ndarray
    largest: int = 0  # lossless: exactly this; lossy: at most
    mean: float | None = None  # lossy only: at most
    note: str = ""


def modes_of(image_mode):
    """Return the image in a mode and the RGB that the rules make of it, computed another way."""
    rgb = Image.fromarray(RGB)
    grey = Image.fromarray(GREY)
    if image_mode == "RGB":
        return rgb, RGB
    if image_mode == "L":
        return grey, thrice(GREY)
    if image_mode == "1":
        return Image.fromarray(GREY > 99), thrice((GREY > 99) * 255)
    if image_mode == "P":
        small = Image.fromarray(RGB // 51 * 51).quantize(256)
        return small, RGB // 51 * 51
    if image_mode == "P + transparency":
        small, colours = modes_of("P")
        index = int(np.asarray(small)[40, 8])
        small.info["transparency"] = index
        return small, np.where((np.asarray(small) == index)[..., np.newaxis], 255, colours)
    if image_mode == "LA":
        return Image.fromarray(np.stack([GREY, ALPHA], -1)), over_white(thrice(GREY))
    if image_mode == "RGBA":
        return Image.fromarray(np.concatenate([RGB, ALPHA[..., np.newaxis]], -1)), over_white(RGB)
    if image_mode == "I;16":
        return Image.fromarray(WIDE), thrice(np.rint(WIDE / 257))
    if image_mode == "I":
        values = WIDE.astype(np.int32) * 30_000
        return Image.fromarray(values), thrice(np.rint(values * (255 / (2**31 - 1))))
    if image_mode == "F":
        values = GREY.astype(np.float32) / 255
        return Image.fromarray(values), thrice(GREY)
    if image_mode == "CMYK":
        inks = np.concatenate([255 - RGB, 255 - GREY[..., np.newaxis]], -1)
        key = 1 - inks[..., 3:] / 255
        image = Image.frombytes("CMYK", (SIDE, SIDE), inks.tobytes())
        return image, np.rint((255 - inks[..., :3].astype(float)) * key)
    if image_mode == "YCbCr":
        return rgb.convert("YCbCr"), RGB
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.profileToProfile(rgb, *profiles, outputMode="LAB"), RGB


def lossless(name, mode, label="", largest=0, note="", **options):
    image, expected = modes_of(mode)
    if "transparency" in image.info and name in ("PNG", "GIF"):
        options["transparency"] = image.info["transparency"]
    return Case(
        label or name, mode, lambda: save(name, image, **options), expected, largest, None, note
    )


def lossy(name, mode, label, largest, mean, note="", **options):
    image, expected = modes_of(mode)
    return Case(label, mode, lambda: save(name, image, **options), expected, largest, mean, note)


def cases():
    yield lossy("JPEG", "RGB", "JPEG, quality 95, 4:4:4", 8, 1.5, quality=95, subsampling=0)
    yield lossy("JPEG", "RGB", "JPEG, quality 90, 4:2:0", 128, 4, quality=90, subsampling=2)
    yield lossy(
        "JPEG", "RGB", "JPEG, progressive", 8, 1.5, quality=95, progressive=True, subsampling=0
    )
    yield lossy("JPEG", "L", "JPEG", 2, 0.5, quality=95)
    yield lossy("JPEG", "CMYK", "JPEG", 4, 0.5, quality=95)
    yield lossy(
        "MPO", "RGB", "MPO, primary picture", 8, 1.5, quality=95, subsampling=0, save_all=True
    )
    for mode in ("1", "L", "LA", "P", "P + transparency", "RGB", "RGBA", "I;16"):
        yield lossless("PNG", mode)
    yield Case(
        "PNG",
        "LA, 16 bits",
        lambda: png_of_16_bits(np.stack([WIDE, ALPHA.astype(np.uint16) * 257], -1)),
        over_white(thrice(WIDE / 257)),
        1,
        None,
        "Pillow gives the high byte",
    )
    yield Case(
        "PNG",
        "RGB, 16 bits",
        lambda: png_of_16_bits(THREE_WIDE),
        np.rint(THREE_WIDE / 257),
        0,
        None,
        "Pillow gives the high byte",
    )
    for mode in ("RGB", "RGBA"):
        yield lossless("WEBP", mode, "WebP, lossless", lossless=True, exact=True)
    yield lossy("WEBP", "RGB", "WebP, quality 90", 128, 4, quality=90)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "F"):
        yield lossless("TIFF", mode)
    yield lossless("TIFF", "CMYK")
    yield lossy("TIFF", "YCbCr", "TIFF", 4, 2, note="rounding of the colour space")
    yield lossy("TIFF", "LAB", "TIFF", 48, 2, note="8 bits of Lab are coarse for dark colours")
    for packing in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma"):
        yield lossless("TIFF", "RGB", f"TIFF, {packing.removeprefix('tiff_')}", compression=packing)
    yield lossless("TIFF", "1", "TIFF, fax group 4", compression="group4")
    for mode in ("1", "L", "P", "RGB"):
        yield lossless("BMP", mode)
    for mode in ("L", "P", "P + transparency"):
        yield lossless("GIF", mode)
    for mode in ("RGB", "RGBA", "L"):
        yield lossy("HEIF", mode, "HEIF, quality 95", 16, 2, quality=95)
    yield lossy("AVIF", "RGB", "AVIF, quality 100, 4:4:4", 4, 1, quality=100, subsampling="4:4:4")
    yield lossy("AVIF", "RGB", "AVIF, quality 90", 128, 4, quality=90)
    yield lossy("AVIF", "RGBA", "AVIF, quality 90", 128, 4, quality=90)
    for mode in ("L", "LA", "RGB", "RGBA", "I;16"):
        yield lossless("JPEG2000", mode, "JPEG 2000, reversible", irreversible=False)
    yield lossy("JPEG2000", "RGB", "JPEG 2000, 20:1", 64, 4, quality_layers=[20], irreversible=True)
    for mode in ("1", "L", "RGB"):
        yield lossless("PPM", mode)
    yield lossless("PPM", "I;16")
    yield lossless("PPM", "F", note="as PFM")


CASES = list(cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.format} {case.mode}")
def test_measured(case):
    got = decode(case.write())
    error = np.abs(got.pixels.astype(float) - case.expected)
    assert got.pixels.shape == (SIDE, SIDE, 3)
    print(case.format, case.mode, error.max(), error.mean())
    if case.mean is None:
        assert error.max() == case.largest
        return
    assert error.max() <= case.largest
    assert error.mean() <= case.mean


def extensions(names):
    return " ".join(f"`{name}`" for name in sorted(names))


def page():
    rows = "\n".join(
        f"| {case.format} | {case.mode} | "
        + (f"{case.largest}" if case.mean is None else f"at most {case.largest}")
        + f" | {'' if case.mean is None else f'at most {case.mean:g}'} | {case.note} |"
        for case in CASES
    )
    rules = modes_module.__doc__.split("\n\n", 1)[1].strip()
    sources = "\n".join(f"{at}. {name}" for at, name in enumerate(DATES, 1))
    codes = "\n".join(f"| `{code.value}` | {MEANINGS[code]} |" for code in ErrorCode)
    return f"""# Image formats

<!-- Generated and measured by tests/unit/test_formats_doc.py; do not edit by hand. -->

An image is told by its first bytes, never by its name. Of several frames or pages the first is
read, of several pictures the primary one. All pixels come out as 8-bit RGB, upright.

Files with these extensions are images, and get a row whatever they hold:
{extensions(IMAGE_EXTENSIONS)}

Files without an extension, and with one that is in no list here (`photo.jpg_large`, `photo.jpg.1`,
`Dr. Smith`), are images if their first bytes say so. These are never looked into, and counted as
passed over: {extensions(OTHER_EXTENSIONS)}

Files with these are photos that cannot be read yet; each gets a row with `unsupported_format`, so
that none is passed over in silence: {extensions(UNDECODABLE_IMAGE_EXTENSIONS)}

Up to {DEFAULT.max_pixels:,} pixels are decoded unless `--max-pixels` says otherwise.

## What comes out

Each line is a file written from known pixels, smooth gradients with blocks of plain colours, and
decoded again. Errors are levels of 255: the largest of any pixel and channel, and the mean.
Lossless files are exact but for the rounding that their line names; for lossy ones, whose encoders
change from release to release, the bound that the tests hold them to.

| format | mode | largest error | mean error | note |
|---|---|---|---|---|
{rows}

JPEG files give the same pixels as Pillow, bit for bit.

## Pixel modes

{rules}

## Orientation and time

The first of these that names an orientation turns the picture, once: the container of HEIF
(`irot`, `imir`), EXIF, and XMP (`tiff:Orientation`) in JPEG, HEIF, PNG, TIFF and WebP. What the
others say is a repetition, and ignored. So photos look as they do on the phones and computers that
made them: iPhones turn the container and repeat it in EXIF, others write EXIF alone (the standard
would leave these lying on their side, as libvips does; macOS and the phones turn them), and some
editors XMP alone. In AVIF the container alone counts, as in browsers. Values that make no sense
count as none.

The time of capture is the first of these that is a date, and `taken_from` names it: when the
picture was taken, then when it was made a file, then when it was changed.

{sources}

Dates are read with colons, dashes, slashes or dots, with `T` or a blank before the time, without
seconds, and as in mails. A date without a time of day counts as midnight, and `taken_from` ends in
`, date only`. `taken_offset_min` is the offset from UTC where one is named; GPS and PNG's `tIME`
are in UTC. Of day and month the order must be known: `06/05/2004` is no date.

## Errors

An image that cannot be used is a row with one of these codes and a text.

| code | meaning |
|---|---|
{codes}

A JPEG, PNG, WebP or TIFF whose end is lost keeps what is there, and `damaged_rows` says how many
rows are lost, counted in the picture as it is stored: 0 where nothing visible is, such as the end
mark, or the last steps of a progressive JPEG. Lost rows are grey. With more than a quarter of them
lost it is `truncated`, even when something closed the file properly: a picture whose lower half is
one grey would pass for a photo without faces. So is a file that has lost what is needed for all
rows, such as the directory at the end of a TIFF, or whose rows do not follow each other (interlaced
PNG, tiled or planar TIFF). A JPEG with a flaw inside keeps its picture.

## The vector index

`facelake search-index` writes into the lake's `index/`; how it is used: [search.md](search.md).

| file | holds |
|---|---|
| `_current.json` | which files count; model, kind, recall; the parts of each shard |
| `trained-H.faiss` | an empty FAISS index with the quantiser of all shards |
| `shard-H.faiss` | a FAISS index of some parts, inner product of unit vectors |
| `shard-H.rows.npy` | for each row: `face_id`, and the number of its part in `_current.json` |
| `shard-H.fp16.npy` | with `ivf-pq`: the vectors as half floats, for exact re-ranking |

H is a hash of what a file is made from. A file never changes; it goes when nothing names it.
FAISS opens them without Facelake: flat is an `IndexScalarQuantizer` and ivf an
`IndexIVFScalarQuantizer` of half floats, ivf-pq an `IndexIVFPQ`.
"""


def test_every_code_is_explained():
    assert set(MEANINGS) == set(ErrorCode)


def test_the_page_is_current():
    if os.environ.get("FACELAKE_UPDATE_DOCS"):
        DOC.parent.mkdir(exist_ok=True)
        DOC.write_text(page())
    assert DOC.read_text() == page(), (
        "run FACELAKE_UPDATE_DOCS=1 pytest tests/unit/test_formats_doc.py"
    )
