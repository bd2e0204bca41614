"""Tells whether data that a decoder refused ends early, by the sizes and marks of its format.

Decoders say "cannot open" in both cases; people want to know whether to copy the file again
(truncated) or to look for another one (corrupt).
"""

import re
import struct

from pipeline.imaging import boxes
from pipeline.imaging.tiff import (
    HEIGHT,
    PLANES,
    ROWS_PER_STRIP,
    SAMPLES,
    SEPARATE,
    STRIP_BYTES,
    STRIPS,
    TILE_BYTES,
    TILES,
    Directory,
    Header,
    integer,
    integers,
    read_directory,
    read_header,
)

# How Pillow, libheif, libavif and OpenJPEG word it.
_SAID_SO = re.compile(r"truncat|premature|end of file|insufficient input|expected to read", re.I)


def says_truncated(error: BaseException) -> bool:
    """Whether a decoder's message means that it ran out of data."""
    return _SAID_SO.search(str(error)) is not None


def ends_early(name: str, data: bytes) -> bool:
    """Whether `data` of format `name` is shorter than it says, or lacks its end mark."""
    if name == "JPEG" or name == "JPEG2000":  # both close with the same EOI / EOC mark
        return b"\xff\xd9" not in data
    if name == "PNG":
        return b"IEND" not in data
    if name == "GIF":
        return not data.rstrip(b"\0").endswith(b";")
    if name == "WEBP":
        return len(data) < 12 or len(data) < 8 + _word(data, 4)
    if name == "BMP":
        return len(data) < 14 or len(data) < max(_word(data, 2), _word(data, 10))
    if name in ("HEIF", "AVIF"):
        return boxes.ends_early(data)
    return name == "TIFF" and _tiff_ends_early(data)


def _word(data: bytes, at: int) -> int:
    value: int = struct.unpack_from("<I", data, at)[0]
    return value


def _strips(tags: Directory, header: Header) -> int | None:
    """Return how many strips the picture has; None where the directory does not say."""
    height, rows, planes, samples = (
        integer(tags, tag, header) for tag in (HEIGHT, ROWS_PER_STRIP, PLANES, SAMPLES)
    )
    if not height or not rows:
        return None
    return -(-height // rows) * ((samples or 1) if planes == SEPARATE else 1)


def _tiff_ends_early(data: bytes) -> bool:
    header = read_header(data)
    if header is None or header.first + 2 > len(data):
        return True
    tags, _ = read_directory(data, header, header.first)
    for offsets, sizes in ((STRIPS, STRIP_BYTES), (TILES, TILE_BYTES)):
        if offsets in tags and sizes in tags:
            pairs = zip(
                integers(tags, offsets, header),
                integers(tags, sizes, header),
                strict=False,
            )
            needed = list(pairs)[: _strips(tags, header) if offsets == STRIPS else None]
            return any(offset + size > len(data) for offset, size in needed)
    return True  # the directory itself, or its values, lie past the end
