"""Removes texts and colour profiles from PNG files before Pillow reads them.

Pillow unpacks texts and colour profiles, and refuses the photo where one is larger than a megabyte
(a PNG from Photoshop can carry its whole history in XMP). None of them is used here but EXIF.
"""

import struct

EXIF_TEXT = b"Raw profile type exif\0"  # ImageMagick's
LEFT_OUT = (b"iCCP", b"iTXt", b"tEXt", b"zTXt")
# An EXIF block fits 64 KiB, and is written here in hex digits.
MAX_EXIF_TEXT = 1 << 18

SIGNATURE_BYTES = 8
FRAME_BYTES = 12  # of a chunk: length, kind, checksum


def without_texts(data: bytes) -> bytes:
    """Return the file without texts and colour profile; EXIF in a text stays."""
    kept: list[memoryview] = []
    view, start, at = memoryview(data), 0, SIGNATURE_BYTES
    while at + FRAME_BYTES <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        end = at + FRAME_BYTES + size
        if kind in LEFT_OUT and end <= len(data):
            is_exif = data.startswith(EXIF_TEXT, at + 8) and size <= MAX_EXIF_TEXT
            if not is_exif:
                kept.append(view[start:at])
                start = end
        at = end
    return b"".join([*kept, view[start:]]) if kept else data
