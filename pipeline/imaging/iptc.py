"""Reads the dates of IPTC-IIM metadata (IIM 4.2), bare or inside Photoshop's resources."""

import struct
from collections.abc import Iterator

from pipeline.imaging.dates import Moment, read_moment

# Datasets of record 2: date and time of creation, and of digitising.
DATES = {"IPTC DateCreated": (55, 60), "IPTC DigitalCreationDate": (62, 63)}
RESOURCE, IPTC_RESOURCE = b"8BIM", 0x0404
MARK, RECORD = 0x1C, 2
MAX_DATASETS = 10_000
EXTENDED = 0x8000  # a length of more than 15 bits: no date


def read_iptc(block: bytes) -> dict[str, Moment]:
    """Return the dates by name; a block that is no IPTC has none."""
    if block.startswith(RESOURCE):
        block = b"".join(_resources(block))
    texts: dict[int, str] = {}
    for number, content in _datasets(block):
        texts.setdefault(number, content[:32].decode("latin-1").strip())
    found = {}
    for name, (day, time) in DATES.items():
        whole = read_moment(f"{texts.get(day, '')} {texts.get(time, '')}")
        moment = whole or read_moment(texts.get(day, ""))
        if moment:
            found[name] = moment
    return found


def _resources(block: bytes) -> Iterator[bytes]:
    """Yield the contents of the IPTC resources among Photoshop's."""
    at = 0
    while block.startswith(RESOURCE, at) and at + 12 <= len(block):
        number = struct.unpack_from(">H", block, at + 4)[0]
        at += 6 + (block[at + 6] + 2) // 2 * 2  # a name behind its length, of even size together
        if at + 4 > len(block):
            return
        size = struct.unpack_from(">I", block, at)[0]
        if number == IPTC_RESOURCE:
            yield block[at + 4 : at + 4 + size]
        at += 4 + size + size % 2


def _datasets(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of the datasets of record 2."""
    at = 0
    for _ in range(MAX_DATASETS):
        if at + 5 > len(block) or block[at] != MARK:
            return
        record, number, size = struct.unpack_from(">BBH", block, at + 1)
        if size & EXTENDED:
            return
        if record == RECORD:
            yield number, block[at + 5 : at + 5 + size]
        at += 5 + size
