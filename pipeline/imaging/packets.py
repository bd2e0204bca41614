"""Finds the XMP packets inside image files (ISO 16684-3), whatever the format; nothing is decoded.

Like all code that reads strangers' bytes it never raises; what is damaged is as good as none, and
what is larger than any honest packet is passed over.
"""

import re
import struct
from collections.abc import Iterator

from pipeline.imaging import boxes
from pipeline.imaging.formats import probe, unsupported_kind
from pipeline.imaging.jpeg import APP1, XMP_NAME, segments
from pipeline.imaging.png import read_blocks
from pipeline.imaging.tiff import XMP, read_tag
from pipeline.imaging.xmp import MAX_PACKET_BYTES

EXTENSION_NAME = b"http://ns.adobe.com/xmp/extension/\0"
# The main packet names the extension that is its own by 32 hex digits; others are left over.
OWN_EXTENSION = re.compile(rb"HasExtendedXMP\s*(?:=\s*[\"']|>)\s*([0-9A-Fa-f]{32})")
EXTENSION = struct.Struct(">32sII")  # its digest, its whole length, where this part goes
# UUID of a box that holds a packet: Canon's CR3, and JPEG 2000 (ISO 16684-3, 1.1.2).
XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
MOST_CHUNKS = 4096


def packets(data: bytes) -> list[bytes]:
    """Return the XMP packets of an image file; of several, they belong together.

    Camera RAW is read too: DNG, CR2, NEF, ARW and others that are TIFF, and CR3.
    """
    kind = probe(data)
    found: Iterator[bytes] = iter(())
    if kind == "JPEG":
        found = _of_jpeg(data)
    elif kind == "PNG":
        found = iter([read_blocks(data).xmp])
    elif kind == "TIFF":
        found = iter([read_tag(data, XMP, MAX_PACKET_BYTES)])
    elif kind == "WEBP":
        found = _of_webp(data)
    elif kind in ("HEIF", "AVIF"):
        found = iter([boxes.xmp(data)])
    elif kind == "JPEG2000" or unsupported_kind(data).endswith("(Canon CR3)"):
        found = _of_uuids(data)
    return [one for one in (packet.strip(b"\0 \t\r\n") for packet in found)
            if one and len(one) <= MAX_PACKET_BYTES]  # fmt: skip


def _of_jpeg(data: bytes) -> Iterator[bytes]:
    """Yield the main packet, and the one that was split over segments, if it is whole.

    A segment holds 64 KB at most (XMP specification, part 3, 1.1.3.1).
    """
    main, parts = b"", dict[bytes, dict[int, bytes]]()
    lengths: dict[bytes, int] = {}
    for marker, payload in segments(data):
        if marker != APP1:
            continue
        if payload.startswith(XMP_NAME):
            main = main or payload.removeprefix(XMP_NAME)
        elif payload.startswith(EXTENSION_NAME):
            start = len(EXTENSION_NAME)
            if len(payload) < start + EXTENSION.size:
                continue
            digest, length, at = EXTENSION.unpack_from(payload, start)
            lengths.setdefault(digest.upper(), length)
            parts.setdefault(digest.upper(), {})[at] = payload[start + EXTENSION.size :]
    yield main
    own = OWN_EXTENSION.search(main)
    if own is not None and (digest := own[1].upper()) in parts:
        whole = _joined(parts[digest], lengths[digest])
        if whole is not None:
            yield whole


def _joined(parts: dict[int, bytes], length: int) -> bytes | None:
    """Return the parts of a packet in their order; None: something is missing."""
    if length > MAX_PACKET_BYTES:
        return None
    whole = bytearray()
    for at in sorted(parts):
        if at != len(whole):
            return None
        whole += parts[at]
    return bytes(whole) if len(whole) == length else None


def _of_webp(data: bytes) -> Iterator[bytes]:
    """Yield the packets of a WebP file (RFC 9649, 2.7.1.5)."""
    at = 12
    for _ in range(MOST_CHUNKS):
        if at + 8 > len(data):
            return
        kind, size = struct.unpack_from("<4sI", data, at)
        if kind == b"XMP ":
            yield data[at + 8 : at + 8 + size]
            return
        at += 8 + size + size % 2


def _of_uuids(data: bytes) -> Iterator[bytes]:
    for kind, content in boxes.boxes(data):
        if kind == b"uuid" and content[:16] == XMP_UUID:
            yield content[16:]
            return
