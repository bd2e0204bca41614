"""Reads TIFF directories: the structure of EXIF blocks, of TIFF files and of most camera RAW.

A small reader of our own because it meets the bytes of strangers: it never raises, never warns,
follows no loops, and costs microseconds where Pillow's builds every tag of the file.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

# TIFF 6.0, section 2, "Types"; BigTIFF adds 16 to 18.
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
TYPE_BYTES |= {16: 8, 17: 8, 18: 8}
UNSIGNED = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}

# A directory of a camera has fewer than 100 entries and values of a few kilobytes.
MAX_ENTRIES = 1000
MAX_VALUE_BYTES = 1 << 20
MAX_DIRECTORIES = 32

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 0x0100, 0x0101, 0x0102, 0x0103, 0x0106
STRIPS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES = 0x0111, 0x0115, 0x0116, 0x0117
PLANES, TILES, TILE_BYTES, SUB_IFDS = 0x011C, 0x0144, 0x0145, 0x014A
EXTRA, FORMAT, MAKE = 0x0152, 0x0153, 0x010F
SEPARATE = 2  # of PLANES: each sample has strips of its own
XMP, IPTC, PHOTOSHOP_RESOURCES = 0x02BC, 0x83BB, 0x8649
DNG_VERSION, DNG_PRIVATE_DATA, CFA_PATTERN = 0xC612, 0xC634, 0x828E
# Photometric interpretations of sensor data (TIFF/EP, DNG 1.7).
SENSOR_PHOTOMETRICS = {32803, 34892}


class Header(NamedTuple):
    """Where a TIFF structure begins."""

    order: str  # "<" or ">", as struct writes it
    big: bool  # BigTIFF: 64-bit offsets
    first: int  # offset of the first directory


class Value(NamedTuple):
    """One tag's value as it lies in the file."""

    kind: int
    raw: bytes

    def integers(self, order: str) -> tuple[int, ...]:
        """Return the unsigned integers of the value; empty when it is of another type."""
        letter = UNSIGNED.get(self.kind)
        if letter is None:
            return ()
        count = len(self.raw) // TYPE_BYTES[self.kind]
        return struct.unpack(f"{order}{count}{letter}", self.raw[: count * TYPE_BYTES[self.kind]])

    def text(self) -> str:
        """Return the value as text up to its first NUL; "" when it is of another type."""
        if self.kind not in (2, 7):
            return ""
        return self.raw.split(b"\0", 1)[0].decode("latin-1").strip()


Directory = dict[int, Value]


def integers(tags: Directory, tag: int, header: Header) -> tuple[int, ...]:
    """Return the unsigned integers of a tag; empty where it is not there or of another type."""
    return tags[tag].integers(header.order) if tag in tags else ()


def integer(tags: Directory, tag: int, header: Header) -> int | None:
    """Return the first unsigned integer of a tag, or None."""
    return next(iter(integers(tags, tag, header)), None)


def read_header(data: bytes) -> Header | None:
    """Return the header of a TIFF structure, or None when `data` does not begin with one."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        return None
    version = struct.unpack_from(f"{order}H", data, 2)[0]
    if version == 42:
        return Header(order, False, struct.unpack_from(f"{order}I", data, 4)[0])
    if version == 43 and len(data) >= 16:
        return Header(order, True, struct.unpack_from(f"{order}Q", data, 8)[0])
    return None


def read_directory(
    data: bytes, header: Header, offset: int, most: int = MAX_VALUE_BYTES
) -> tuple[Directory, int]:
    """Return the tags of the directory at `offset` and the offset of the next (0: none).

    Entries that reach past the data, or have more than `most` bytes, are left out; a directory that
    reaches past it ends early.
    """
    count_format, entry_format, word = ("Q", "HHQ", 8) if header.big else ("H", "HHI", 4)
    count_bytes = struct.calcsize(f"{header.order}{count_format}")
    entry_bytes = struct.calcsize(f"{header.order}{entry_format}") + word
    if offset <= 0 or offset + count_bytes > len(data):
        return {}, 0
    count: int = struct.unpack_from(f"{header.order}{count_format}", data, offset)[0]
    tags: Directory = {}
    at = offset + count_bytes
    for _ in range(min(count, MAX_ENTRIES)):
        if at + entry_bytes > len(data):
            return tags, 0
        tag, kind, items = struct.unpack_from(f"{header.order}{entry_format}", data, at)
        size = TYPE_BYTES.get(kind, 0) * items
        value_at = at + entry_bytes - word
        if size > word:
            value_at = struct.unpack_from(
                f"{header.order}{'Q' if word == 8 else 'I'}", data, value_at
            )[0]
        if 0 < size <= most and value_at + size <= len(data):
            tags.setdefault(tag, Value(kind, data[value_at : value_at + size]))
        at += entry_bytes
    if count > MAX_ENTRIES or at + word > len(data):
        return tags, 0
    return tags, struct.unpack_from(f"{header.order}{'Q' if word == 8 else 'I'}", data, at)[0]


def directories(data: bytes, header: Header) -> Iterator[Directory]:
    """Yield the directories of a TIFF structure and their sub-directories, each once."""
    waiting, seen = [header.first], {0}
    while waiting and len(seen) <= MAX_DIRECTORIES:
        offset = waiting.pop(0)
        if offset in seen:
            continue
        seen.add(offset)
        tags, following = read_directory(data, header, offset)
        yield tags
        waiting += [*integers(tags, SUB_IFDS, header)[:MAX_DIRECTORIES], following]


def raw_kind(data: bytes) -> str | None:
    """Return the name of the camera RAW format that a TIFF file is, or None.

    Such a file also holds a small preview, which would pass for the photo itself. What tells it
    apart is sensor data in any directory, or the tags that only DNG and its kin carry.
    """
    header = read_header(data)
    if header is None:
        return None
    if data[8:10] == b"CR":  # Canon's own mark, straight after the header
        return "Canon CR2"
    for index, tags in enumerate(directories(data, header)):
        if DNG_VERSION in tags:
            return "DNG"
        if integer(tags, PHOTOMETRIC, header) in SENSOR_PHOTOMETRICS or CFA_PATTERN in tags:
            return _raw_of_make(data, header)
        if index == 0 and DNG_PRIVATE_DATA in tags:  # Sony hides its sensor data behind this tag
            return _raw_of_make(data, header)
    return None


def read_iptc_tags(data: bytes) -> bytes:
    """Return the IPTC block of a TIFF file, or Photoshop's resources, or b""."""
    return read_tag(data, IPTC) or read_tag(data, PHOTOSHOP_RESOURCES)


def read_tag(data: bytes, tag: int, most: int = MAX_VALUE_BYTES) -> bytes:
    """Return the value of a tag of the first directory as it lies in the file, or b""."""
    header = read_header(data)
    tags = {} if header is None else read_directory(data, header, header.first, most)[0]
    return tags[tag].raw if tag in tags else b""


def _raw_of_make(data: bytes, header: Header) -> str:
    tags, _ = read_directory(data, header, header.first)
    make = tags[MAKE].text().upper() if MAKE in tags else ""
    makers = {
        "NIKON": "Nikon NEF",
        "SONY": "Sony ARW",
        "PENTAX": "Pentax PEF",
        "SAMSUNG": "Samsung SRW",
    }
    return next((name for start, name in makers.items() if make.startswith(start)), "camera RAW")


def cut_to_what_is_there(data: bytes) -> tuple[bytes, int, int] | None:
    """Return a TIFF of the rows that are there of another one, their number, and that of all.

    Only for pictures in strips of whole pixels; None for others, and where the directory is lost.
    """
    header = read_header(data)
    if header is None:
        return None
    tags, _ = read_directory(data, header, header.first)
    one = {tag: integer(tags, tag, header)
           for tag in (HEIGHT, ROWS_PER_STRIP, PLANES, COMPRESSION) if tag in tags}  # fmt: skip
    height = one.get(HEIGHT) or 0
    if not height or one.get(PLANES, 1) != 1 or STRIPS not in tags or STRIP_BYTES not in tags:
        return None
    each = min(one.get(ROWS_PER_STRIP) or height, height)
    rows = 0
    places, sizes = (integers(tags, tag, header) for tag in (STRIPS, STRIP_BYTES))
    for place, size in zip(places, sizes, strict=False):
        there = max(0, len(data) - place)
        of_strip = min(each, height - rows)
        if there >= size:
            rows += of_strip
            continue
        if one.get(COMPRESSION, 1) == 1 and size - there <= len(data):
            rows += of_strip * there // size
            data += bytes(size - there)
        break
    cut = _with_height(data, header, rows) if rows else None
    return None if cut is None else (cut, min(rows, height), height)


def _with_height(data: bytes, header: Header, height: int) -> bytes | None:
    """Return a TIFF file whose first directory says another height."""
    count_format, entry, value_at = ("Q", 20, 12) if header.big else ("H", 12, 8)
    count = struct.unpack_from(f"{header.order}{count_format}", data, header.first)[0]
    at = header.first + struct.calcsize(f"{header.order}{count_format}")
    for place in range(at, at + min(count, MAX_ENTRIES) * entry, entry):
        tag, kind = struct.unpack_from(f"{header.order}HH", data, place)
        if tag == HEIGHT and kind in UNSIGNED:
            value = struct.pack(f"{header.order}{UNSIGNED[kind]}", height)
            return data[: place + value_at] + value + data[place + value_at + len(value) :]
    return None
