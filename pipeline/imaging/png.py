"""Reads texts of PNG files, and removes them and colour profiles before Pillow reads the rest.

Pillow unpacks texts and colour profiles, and refuses the photo where one is larger than a megabyte
(a PNG from Photoshop can carry its whole history in XMP). What is used of them is read here, but
for EXIF.
"""

import struct
import zlib
from collections.abc import Iterator

EXIF_TEXT = b"Raw profile type exif\0"  # ImageMagick's
XMP_TEXT = b"XML:com.adobe.xmp\0"
LEFT_OUT = (b"iCCP", b"iTXt", b"tEXt", b"zTXt")
# An EXIF block fits 64 KiB, and is written here in hex digits.
MAX_EXIF_TEXT = 1 << 18
# A packed text is unpacked to this at most.
MAX_TEXT_BYTES = 4 << 20

SIGNATURE_BYTES = 8
FRAME_BYTES = 12  # of a chunk: length, kind, checksum


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of the content of each chunk that is there as a whole."""
    at = SIGNATURE_BYTES
    while at + FRAME_BYTES <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        start, end = at + 8, at + 8 + size
        if end + 4 <= len(data):
            yield kind, start, end
        at = end + 4


def without_texts(data: bytes) -> bytes:
    """Return the file without texts and colour profile; EXIF in a text stays."""
    kept: list[memoryview] = []
    view, after = memoryview(data), 0
    for kind, start, end in chunks(data):
        is_exif = data.startswith(EXIF_TEXT, start) and end - start <= MAX_EXIF_TEXT
        if kind in LEFT_OUT and not is_exif:
            kept.append(view[after : start - 8])
            after = end + 4
    return b"".join([*kept, view[after:]]) if kept else data


def read_xmp_text(data: bytes) -> bytes:
    """Return the XMP packet of the file, empty when there is none or it is damaged."""
    for kind, start, end in chunks(data):
        if kind == b"iTXt" and data.startswith(XMP_TEXT, start):
            return _international(data[start:end])
    return b""


def _international(content: bytes) -> bytes:
    """Return the text of an iTXt chunk: keyword, flags, language, translated keyword, text."""
    _, _, rest = content.partition(b"\0")
    packed, parts = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
    text = parts[2] if len(parts) == 3 else b""
    return _unpacked(text) if packed else text


def _unpacked(data: bytes) -> bytes:
    """Return what zlib packed, as far as it goes and at most `MAX_TEXT_BYTES`."""
    try:
        return zlib.decompressobj().decompress(data, MAX_TEXT_BYTES)
    except zlib.error:
        return b""
