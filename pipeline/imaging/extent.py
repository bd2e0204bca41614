"""Tells whether a file holds more than the 8-bit picture made of it: pages, frames, depth.

Only headers are read. In doubt the answer is yes, so that no file is treated as if it were only its
first picture.
"""

import re

from pipeline.imaging import boxes
from pipeline.imaging.tiff import BITS, directories, integer, read_header

PPM_HEADER = re.compile(rb"P[456]\s+(?:#[^\n]*\n\s*)*(\d+)\s+(\d+)(?:\s+(\d+))?\s")
PNG_DEPTH_AT, WEBP_FLAGS_AT = 24, 20
WEBP_ANIMATION = 0x02
GIF_EXTENSION, GIF_IMAGE = 0x21, 0x2C


def holds_more(name: str, data: bytes) -> bool:
    """Return whether a file of format `name` holds more than its first picture in 8 bits."""
    if name in ("HEIF", "AVIF"):
        return boxes.holds_more(data)
    if name == "JPEG2000":
        return _jpeg2000_holds_more(data)
    if name == "PPM":
        return _ppm_holds_more(data)
    if name == "MPO":  # several views by its nature
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


def _jpeg2000_holds_more(data: bytes) -> bool:
    """Look at the depth of each component in the SIZ marker (ISO/IEC 15444-1, A.5.1)."""
    at = data.find(b"\xff\x4f\xff\x51")
    components = int.from_bytes(data[at + 40 : at + 42], "big") if at >= 0 else 0
    depths = data[at + 42 : at + 42 + 3 * components : 3]
    return not depths or any((depth & 0x7F) > 7 for depth in depths)


def _ppm_holds_more(data: bytes) -> bool:
    """Compare the length with that of one picture of 8 bits; text forms are in doubt."""
    header = PPM_HEADER.match(data)
    if header is None or (data[1:2] != b"4" and (not header[3] or int(header[3]) > 255)):
        return True
    width, height = int(header[1]), int(header[2])
    row_bytes = {b"4": -(-width // 8), b"5": width, b"6": 3 * width}[data[1:2]]
    start = header.start(3) if data[1:2] == b"4" and header[3] else header.end()
    return len(data) - start > row_bytes * height + 1


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
        if page or (integer(tags, BITS, header) or 0) > 8:
            return True
    return False
