"""Tells whether a file holds more than the 8-bit picture made of it: pages, frames, depth.

Only headers are read. In doubt the answer is yes, so that no file is treated as if it were only its
first picture.
"""

from pipeline.imaging.tiff import directories, read_header

# Kinds whose files often hold more (depth, motion, ten bits, views) and do not say so in one place.
RICH = frozenset({"HEIF", "AVIF", "MPO", "JPEG2000", "PPM"})
PNG_DEPTH_AT, WEBP_FLAGS_AT = 24, 20
WEBP_ANIMATION = 0x02
GIF_EXTENSION, GIF_IMAGE = 0x21, 0x2C
BITS_PER_SAMPLE = 258


def holds_more(name: str, data: bytes) -> bool:
    """Return whether a file of format `name` holds more than its first picture in 8 bits."""
    if name in RICH:
        return True
    if name == "PNG":
        return data[PNG_DEPTH_AT : PNG_DEPTH_AT + 1] == b"\x10" or b"acTL" in data[:4096]
    if name == "GIF":
        return _gif_holds_more(data)
    if name == "WEBP":
        return data[12:16] == b"VP8X" and bool(data[WEBP_FLAGS_AT] & WEBP_ANIMATION)
    if name == "TIFF":
        return _tiff_holds_more(data)
    return False


def _gif_holds_more(data: bytes) -> bool:
    """Walk over the blocks of a GIF (specification 89a) until a second picture."""
    at, pictures = 13 + _table_bytes(data, 10), 0
    while at + 10 < len(data):
        if data[at] == GIF_IMAGE:
            pictures += 1
            if pictures > 1:
                return True
            at += 11 + _table_bytes(data, at + 9)
        elif data[at] == GIF_EXTENSION:
            at += 2
        else:
            return False
        while at < len(data) and data[at]:  # sub-blocks behind their lengths
            at += 1 + data[at]
        at += 1
    return False


def _table_bytes(data: bytes, at: int) -> int:
    """Return the size of the colour table that the flags at a place tell of."""
    flags = data[at] if at < len(data) else 0
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _tiff_holds_more(data: bytes) -> bool:
    header = read_header(data)
    if header is None:
        return True
    for page, tags in enumerate(directories(data, header)):
        depth = tags[BITS_PER_SAMPLE].integer(header.order) if BITS_PER_SAMPLE in tags else 1
        if page or (depth or 0) > 8:
            return True
    return False
