"""Labelled variants of a photo: 27 transformations, 3 strengths of each that has strengths.

Bytes in, bytes out, the same for the same seed and name. EXIF is dropped unless a variant is about
it. What has to be re-encoded is saved as JPEG of quality 90 unless said.
"""

import io
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import pillow_heif
from PIL import Image, ImageEnhance

from benchmarks import edits
from benchmarks.edits import Picture, Random

QUALITY = 90


class Source(NamedTuple):
    """A photo to be varied: its file, its upright RGB picture, and its own randomness."""

    data: bytes
    image: Picture
    random: Random


class Variant(NamedTuple):
    """One variant: what was done, how strongly, and the file it made."""

    transformation: str
    strength: str
    data: bytes


Make = Callable[[Source], bytes]


def variants(name: str, data: bytes, image: Picture, seed: int = 0) -> Iterator[Variant]:
    """Yield every variant of a photo.

    Args:
        name: of the photo; with the seed it settles what is drawn at random.
        data: the photo's file, JPEG or PNG.
        image: the same decoded, upright, RGB.
    """
    for transformation, strengths in TRANSFORMATIONS.items():
        for strength, make in strengths.items():
            words = zlib.crc32(f"{name}/{transformation}/{strength}".encode())
            source = Source(data, image, np.random.default_rng([seed, words]))
            yield Variant(transformation, strength, make(source))


def encode(image: Picture, quality: int = QUALITY, kind: str = "JPEG") -> bytes:
    """Return the file of a picture; TIFF with the lossless LZW, PNG in a hurry."""
    out = io.BytesIO()
    if kind == "HEIF":
        pillow_heif.from_pillow(image).save(out, quality=quality)
    elif kind == "PNG":
        image.save(out, kind, compress_level=1)
    elif kind == "TIFF":
        image.save(out, kind, compression="tiff_lzw")
    elif kind == "WEBP lossless":
        image.save(out, "WEBP", lossless=True, quality=0, method=0)
    else:
        image.save(out, kind, quality=quality)
    return out.getvalue()


def with_metadata(data: bytes, kind: str) -> bytes:
    """Return the same JPEG or PNG with more metadata: `comment`, `exif` or `heavy` (50 kB)."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0132] = "Canon", "EOS R6", "2021:06:12 14:02:11"
    block = exif.tobytes()  # "Exif\0\0" and TIFF
    if data.startswith(b"\x89PNG"):
        chunk = (b"eXIf", block[6:]) if kind == "exif" else (b"tEXt", _text(kind))
        body = b"".join(chunk)
        piece = len(chunk[1]).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
        return data[:33] + piece + data[33:]  # behind IHDR
    marker, body = (b"\xff\xe1", block) if kind == "exif" else (b"\xff\xfe", _text(kind))
    return data[:2] + marker + (len(body) + 2).to_bytes(2, "big") + body + data[2:]


def _text(kind: str) -> bytes:
    return b"Comment\0" + b"seen by Facelake " * (3000 if kind == "heavy" else 1)


def _edited(edit: Callable[[Picture], Picture]) -> Make:
    return lambda source: encode(edit(source.image))


def _drawn(edit: Callable[..., Picture], strength: float) -> Make:
    return lambda source: encode(edit(source.image, strength, random=source.random))


def _saved(quality: int, kind: str) -> Make:
    return lambda source: encode(source.image, quality, kind)


def _enhanced(kind: Callable[[Picture], ImageEnhance._Enhance], factor: float) -> Make:
    return lambda source: encode(kind(source.image).enhance(factor))


def _turned(turn: Image.Transpose, factor: float = 1, quality: int = QUALITY) -> Make:
    return lambda s: encode(edits.scale(s.image.transpose(turn), factor, factor), quality)


def _chained(factor: float, quality: int, brightness: float, contrast: float) -> Make:
    def make(source: Source) -> bytes:
        image = edits.scale(source.image, factor, factor)
        image = ImageEnhance.Brightness(image).enhance(brightness)
        return encode(ImageEnhance.Contrast(image).enhance(contrast), quality)

    return make


def _scaled(x: float, y: float) -> Make:
    return _edited(partial(edits.scale, x=x, y=y))


def _metadata(kind: str) -> Make:
    return lambda source: with_metadata(source.data, kind)


def _mirrored(turn: Image.Transpose) -> dict[str, Make]:
    return {
        "alone": _turned(turn),
        "and 50 %": _turned(turn, 0.5),
        "and q40": _turned(turn, 1, 40),
    }


TRANSFORMATIONS: dict[str, dict[str, Make]] = {
    "exact copy": {"bytes": lambda source: source.data},
    "metadata": {k: _metadata(k) for k in ("comment", "exif", "heavy")},
    "lossless container": {k: _saved(100, k) for k in ("PNG", "TIFF", "WEBP lossless")},
    "format": {
        "PNG": _saved(100, "PNG"),
        "WebP q80": _saved(80, "WEBP"),
        "HEIC q50": _saved(50, "HEIF"),
    },
    "resize": {f"{k} %": _scaled(k / 100, k / 100) for k in (75, 50, 25)},
    "enlarge": {f"{k} %": _scaled(k / 100, k / 100) for k in (125, 150, 200)},
    "recompress": {f"q{k}": _saved(k, "JPEG") for k in (75, 40, 15)},
    "saturation": {f"x {k}": _enhanced(ImageEnhance.Color, k) for k in (1.25, 1.6, 2.5)},
    "brightness": {f"x {k}": _enhanced(ImageEnhance.Brightness, k) for k in (1.1, 1.3, 1.7)},
    "contrast": {f"x {k}": _enhanced(ImageEnhance.Contrast, k) for k in (1.15, 1.5, 2.2)},
    "gamma": {str(k): _edited(partial(edits.curve, gamma=k)) for k in (1.15, 1.5, 2.2)},
    "tint": {f"{k} %": _edited(partial(edits.tint, strength=k / 100)) for k in (8, 20, 40)},
    "black and white": {
        k: _edited(partial(edits.grey, kind=k)) for k in ("plain", "sepia", "harsh")
    },
    "blur": {f"{k} %": _edited(partial(edits.blur, share=k / 100)) for k in (0.4, 1.0, 2.0)},
    "sharpen": {f"{k} %": _edited(partial(edits.sharpen, percent=k)) for k in (100, 250, 500)},
    "noise": {str(k): _drawn(edits.noise, k) for k in (5, 12, 25)},
    "watermark": {f"{k} %": _drawn(edits.watermark, k / 100) for k in (30, 60, 95)},
    "caption": {f"{k} %": _edited(partial(edits.caption, share=k / 100)) for k in (5, 10, 20)},
    "letterbox": {f"{k} %": _drawn(edits.letterbox, k / 100) for k in (5, 12, 25)},
    "crop": {f"{k} %": _drawn(edits.crop, k / 100) for k in (2, 10, 30)},
    "mirror": _mirrored(Image.Transpose.FLIP_LEFT_RIGHT),
    "flip": _mirrored(Image.Transpose.FLIP_TOP_BOTTOM),
    "rotate": {
        "90": _turned(Image.Transpose.ROTATE_270),
        "180": _turned(Image.Transpose.ROTATE_180),
        "270": _turned(Image.Transpose.ROTATE_90),
    },
    "tilt": {f"{k} deg": _drawn(edits.tilt, k) for k in (1, 3, 10)},
    "screenshot": {
        f"{k} %": _edited(partial(edits.screenshot, share=k / 100)) for k in (95, 80, 60)
    },
    "stretch": {f"{k} %": _scaled(1 + k / 100, 1) for k in (5, 15, 30)},
    "chain": {
        "mild": _chained(0.75, 75, 1.05, 1.05),
        "middle": _chained(0.5, 40, 1.15, 1.2),
        "strong": _chained(0.3, 20, 1.3, 1.4),
    },
}
