"""Reads texts of PNG files, and removes them and colour profiles before Pillow reads the rest.

Pillow unpacks texts and colour profiles, and refuses the photo where one is larger than a megabyte
(a PNG from Photoshop can carry its whole history in XMP). What is used of them is read here, but
for EXIF.
"""

import struct
import zlib
from collections.abc import Iterator

from pipeline.imaging.dates import read_moment
from pipeline.imaging.metadata import Blocks

RAW_PROFILE = b"Raw profile type "  # ImageMagick's
EXIF_TEXT = RAW_PROFILE + b"exif\0"
KEYWORDS = {b"XML:com.adobe.xmp", b"Creation Time", RAW_PROFILE + b"xmp", RAW_PROFILE + b"iptc"}
MAX_KEYWORD_BYTES = 80
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
# Samples of a pixel by type of colour, and how much is unpacked at once.
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PIECE_BYTES = 4096
HEADER = struct.Struct(">IIBBBBB")
TIME = struct.Struct(">H5B")
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


def read_blocks(data: bytes) -> Blocks:
    """Return what the texts say and when the file was changed; EXIF is Pillow's to read."""
    texts: dict[bytes, bytes] = {}
    blocks = Blocks()
    for kind, start, end in chunks(data):
        if kind in TEXTS:
            keyword = data[start : min(end, start + MAX_KEYWORD_BYTES)].partition(b"\0")[0]
            if keyword in KEYWORDS and keyword not in texts:
                texts[keyword] = _text(kind, data[start:end])
        elif kind == b"tIME" and end - start == TIME.size:
            year, *parts = TIME.unpack_from(data, start)  # in UTC
            moment = read_moment(f"{year:04}-{{}}-{{}} {{}}:{{}}:{{}}Z".format(*parts))
            if moment:
                blocks.dates["PNG tIME"] = moment
    created = read_moment(texts.get(b"Creation Time", b"")[:64].decode("latin-1"))
    if created:
        blocks.dates["PNG Creation Time"] = created
    blocks.xmp = texts.get(b"XML:com.adobe.xmp") or of_hex(texts.get(RAW_PROFILE + b"xmp"))
    blocks.iptc = of_hex(texts.get(RAW_PROFILE + b"iptc"))
    return blocks


def _text(kind: bytes, content: bytes) -> bytes:
    """Return the text of a tEXt, zTXt or iTXt chunk."""
    _, _, rest = content.partition(b"\0")
    if kind == b"tEXt":
        return rest
    if kind == b"zTXt":
        return _unpacked(rest[1:])
    # flags, language, translated keyword, text
    packed, parts = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
    text = parts[2] if len(parts) == 3 else b""
    return _unpacked(text) if packed else text


def of_hex(text: bytes | str | None) -> bytes:
    """Return the block in ImageMagick's text form: three lines of heading, then hex digits."""
    lines = text.encode("latin-1", "replace") if isinstance(text, str) else text or b""
    try:
        return bytes.fromhex(b"".join(lines.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return b""


def _unpacked(data: bytes) -> bytes:
    """Return what zlib packed, as far as it goes and at most `MAX_TEXT_BYTES`."""
    try:
        return zlib.decompressobj().decompress(data, MAX_TEXT_BYTES)
    except zlib.error:
        return b""


def packed_rows(data: bytes, max_pixels: int) -> tuple[bytes, int, int] | None:
    """Return a file of the rows that are there of another one, their number, and that of all.

    What is lost becomes zeros. None where rows do not follow each other (interlaced files) or the
    header is damaged or says more than `max_pixels`.
    """
    head = data[SIGNATURE_BYTES + 8 : SIGNATURE_BYTES + 8 + HEADER.size]
    if len(head) < HEADER.size or data[SIGNATURE_BYTES + 4 : SIGNATURE_BYTES + 8] != b"IHDR":
        return None
    width, height, depth, colour, _, _, interlaced = HEADER.unpack(head)
    first = next((start for kind, start, _ in _all_chunks(data) if kind == b"IDAT"), 0)
    if interlaced or not first or colour not in CHANNELS or width * height > max_pixels:
        return None
    row_bytes = 1 + (width * depth * CHANNELS[colour] + 7) // 8
    rows = _inflated(data, row_bytes * height)
    count = len(rows) // row_bytes
    whole = rows[: count * row_bytes] + bytes((height - count) * row_bytes)
    parts = [data[: first - 8]]
    for kind, content in ((b"IDAT", zlib.compress(whole, 1)), (b"IEND", b"")):
        check = zlib.crc32(kind + content)
        parts.append(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check))
    return b"".join(parts), count, height


def _all_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the chunks, the last one as far as the data go."""
    end = SIGNATURE_BYTES
    for kind, start, end_of_one in chunks(data):
        yield kind, start, end_of_one
        end = end_of_one + 4
    if end + 8 < len(data):
        yield data[end + 4 : end + 8], end + 8, len(data)


def _inflated(data: bytes, most: int) -> bytes:
    """Return what the IDAT chunks hold, up to the first fault and at most so many bytes."""
    unpacker, rows = zlib.decompressobj(), bytearray()
    for kind, start, end in _all_chunks(data):
        step = PIECE_BYTES
        while kind == b"IDAT" and start < end and len(rows) < most:
            before = unpacker.copy()
            try:
                rows += unpacker.decompress(data[start : min(end, start + step)], most - len(rows))
            except zlib.error:
                if step == 1:
                    return bytes(rows)
                unpacker, step = before, 1  # the fault is in one of these bytes
                continue
            start += step
    return bytes(rows)
