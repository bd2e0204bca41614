"""Image files around an XMP packet, made by hand: every container that packets are found in."""

import hashlib
import struct
import zlib
from itertools import pairwise

XMP_NAME = b"http://ns.adobe.com/xap/1.0/\0"
EXTENSION_NAME = b"http://ns.adobe.com/xmp/extension/\0"
XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
MOST_IN_SEGMENT = 65_000


def segment(marker, payload):
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def jpeg(packet, *more):
    return b"\xff\xd8" + segment(0xE1, XMP_NAME + packet) + b"".join(more) + b"\xff\xd9"


def extended_jpeg(main, extension, digest=None, piece=MOST_IN_SEGMENT, backwards=False):
    """Return a JPEG whose main packet, with one %s, names an extension, split over segments."""
    own = hashlib.md5(extension).hexdigest().upper().encode()
    parts = [
        segment(
            0xE1,
            EXTENSION_NAME
            + struct.pack(">32sII", digest or own, len(extension), at)
            + extension[at : at + piece],
        )
        for at in range(0, len(extension), piece)
    ]
    return jpeg(main % own, *(reversed(parts) if backwards else parts))


def chunk(kind, content):
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(packet, packed=False):
    text = b"XML:com.adobe.xmp\0" + (b"\1\0" if packed else b"\0\0") + b"\0\0"
    text += zlib.compress(packet) if packed else packet
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"iTXt", text) + chunk(b"IEND", b"")
    )


def tiff(packet, order="<", big=False, tags=()):
    """Return a TIFF, or a camera RAW with other `tags`, (number, value) of the type LONG."""
    mark = b"II" if order == "<" else b"MM"
    entries = [*((tag, 4, 1, value) for tag, value in tags), (700, 1, len(packet), None)]
    entries.sort()
    if big:
        first, head = 16, mark + struct.pack(f"{order}HHHQ", 43, 8, 0, 16)
        count, form, word = struct.pack(f"{order}Q", len(entries)), "HHQQ", 20
        after = first + 8 + word * len(entries) + 8
    else:
        first, head = 8, mark + struct.pack(f"{order}HI", 42, 8)
        count, form, word = struct.pack(f"{order}H", len(entries)), "HHII", 12
        after = first + 2 + word * len(entries) + 4
    room = 8 if big else 4
    inside = len(packet) <= room
    body = b""
    for tag, kind, items, value in entries:
        entry = struct.pack(f"{order}{form}", tag, kind, items, after if value is None else value)
        if value is None and inside:
            entry = entry[:-room] + packet.ljust(room, b"\0")
        body += entry
    return head + count + body + bytes(8 if big else 4) + packet


def webp(packet, before=b"abc"):
    def riff(kind, content):
        return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)

    body = b"WEBP" + riff(b"VP8X", bytes(10)) + riff(b"JUNK", before) + riff(b"XMP ", packet)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def box(kind, content):
    return struct.pack(">I4s", len(content) + 8, kind) + content


def heif(packet, brand=b"heic", version=1, method=0, pieces=1):
    """Return a HEIF or AVIF file whose second item is the packet, in some extents."""
    wide = version == 2
    infe = b"".join(
        box(b"infe", b"\2\0\0\0" + struct.pack(">HH4s", item, 0, kind) + rest)
        for item, kind, rest in (
            (1, b"hvc1", b"\0"), (2, b"mime", b"\0application/rdf+xml\0"),
        )
    )  # fmt: skip
    iinf = box(b"iinf", b"\0\0\0\0" + struct.pack(">H", 2) + infe)
    cuts = [len(packet) * k // pieces for k in range(pieces + 1)]

    def meta(base):
        extents = b"".join(struct.pack(">II", base + a, b - a) for a, b in pairwise(cuts))
        entry = struct.pack(">I" if wide else ">H", 2)
        entry += struct.pack(">H", method) if version else b""
        entry += struct.pack(">HH", 0, pieces) + extents
        head = struct.pack(">BBBBBB", version, 0, 0, 0, 0x44, 0)
        iloc = box(b"iloc", head + struct.pack(">I" if wide else ">H", 1) + entry)
        idat = box(b"idat", packet) if method else b""
        return box(b"meta", b"\0\0\0\0" + iinf + iloc + idat)

    ftyp = box(b"ftyp", brand + bytes(4) + b"mif1" + brand)
    start = len(ftyp) + len(meta(0)) + 8
    return ftyp + meta(0 if method else start) + (b"" if method else box(b"mdat", packet))


def cr3(packet):
    return box(b"ftyp", b"crx " + bytes(4) + b"crx isom") + box(b"moov", b"") + box(
        b"uuid", XMP_UUID + packet
    )  # fmt: skip


def jpeg2000(packet):
    head = b"\0\0\0\x0cjP  \r\n\x87\n"
    return head + box(b"ftyp", b"jp2 " + bytes(4) + b"jp2 ") + box(b"uuid", XMP_UUID + packet)


CONTAINERS = {
    "jpeg": jpeg,
    "png": png,
    "png, packed": lambda p: png(p, packed=True),
    "tiff": tiff,
    "tiff, big-endian": lambda p: tiff(p, ">"),
    "BigTIFF": lambda p: tiff(p, big=True),
    "dng": lambda p: tiff(p, tags=[(0xC612, 0x04010000)]),
    "nef": lambda p: tiff(p, ">", tags=[(0x0106, 32803)]),
    "webp": webp,
    "webp, even": lambda p: webp(p, b"ab"),
    "heic": heif,
    "heic, iloc 0": lambda p: heif(p, version=0),
    "heic, iloc 2": lambda p: heif(p, version=2),
    "heic, in idat": lambda p: heif(p, method=1),
    "heic, in pieces": lambda p: heif(p, pieces=3),
    "avif": lambda p: heif(p, b"avif"),
    "cr3": cr3,
    "jpeg 2000": jpeg2000,
}
