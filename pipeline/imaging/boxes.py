"""Reads the boxes of HEIF and AVIF files (ISO/IEC 14496-12 and 23008-12): sizes and turns.

libheif turns pictures itself and does not say by how much; and the size must be known before
either library is asked for pixels. Like all code that reads strangers' bytes, it never raises.
"""

import struct
from collections.abc import Iterator

import numpy as np

from pipeline.imaging.exif import upright

Box = tuple[bytes, bytes]  # type, content

# A real file has a few dozen boxes a level; an iPhone photo of 48 tiles has some 150 items.
MAX_BOXES = 4096
# Brands of files that move, and types of items that are pictures (ISO/IEC 23008-12, AVIF 1.1).
SEQUENCES = frozenset({b"hevc", b"hevx", b"hevm", b"hevs", b"msf1", b"avis"})
XMP_TYPE = b"application/rdf+xml"
PICTURES = frozenset({b"hvc1", b"av01", b"grid", b"iovl", b"iden", b"jpeg", b"avc1", b"j2k1"})


def boxes(data: bytes) -> Iterator[Box]:
    """Yield type and content of each box, the last one as far as the data goes."""
    at = 0
    for _ in range(MAX_BOXES):
        if at + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1 and at + 16 <= len(data):
            size, start = struct.unpack_from(">Q", data, start)[0], at + 16
        elif size == 0:  # reaches to the end
            size = len(data) - at
        if size < start - at:
            return
        yield kind, data[start : at + size]
        at += size


def ends_early(data: bytes) -> bool:
    """Whether the last top-level box is longer than the data, or there is no picture at all."""
    at, kinds = 0, set()
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        kinds.add(kind)
        if size == 1 and at + 16 <= len(data):
            size = struct.unpack_from(">Q", data, at + 8)[0]
        elif size == 0:
            return b"meta" not in kinds
        if size < 8:
            return False
        at += size
    return at != len(data) or b"meta" not in kinds


def declared_pixels(data: bytes) -> int:
    """Return the largest width x height that any `ispe` property of the file declares."""
    sizes = (
        struct.unpack_from(">II", content, 4)
        for kind, content in _properties(data)
        if kind == b"ispe" and len(content) >= 12
    )
    return max((width * height for width, height in sizes), default=0)


def item_types_are_text(data: bytes) -> bool:
    """Whether item types, and the content types of `mime` items, are valid UTF-8.

    pi_heif 1.4 ends the process (a NULL from PyUnicode_FromString) where they are not, which a
    single flipped bit can bring about.
    """
    for kind, content in boxes(_items(_meta(data))):
        if kind == b"infe" and content:
            start = 10 if content[0] >= 3 else 8
            is_mime = content[start : start + 4] == b"mime"
            try:
                content[start : None if is_mime else start + 4].decode()
            except UnicodeDecodeError:
                return False
    return True


def holds_more(data: bytes) -> bool:
    """Whether there is more than one picture of 8 bits: frames, pictures, depth, a gain map.

    Thumbnails, the tiles of a grid, hidden items and transparency are no more. In doubt it is yes.
    """
    brands = _child(data, b"ftyp")
    if any(brands[at : at + 4] in SEQUENCES for at in range(0, len(brands), 4)):
        return True
    if any(kind == b"moov" for kind, _ in boxes(data)):
        return True
    pictures, properties = _pictures(data), _properties(data)
    return len(pictures) != 1 or any(_is_rich(kind, content) for kind, content in properties)


def _is_rich(kind: bytes, content: bytes) -> bool:
    """Whether a property says more than 8 bits, or an auxiliary picture other than an alpha."""
    if kind == b"pixi":
        return any(bits > 8 for bits in content[5:])
    if kind == b"hvcC":  # ISO/IEC 14496-15, 8.3.3.1
        return any(byte & 7 for byte in content[17:19])
    if kind == b"av1C":  # high_bitdepth
        return bool(content[2:3] and content[2] & 0x40)
    if kind == b"auxC":
        return not content[4:].split(b"\0")[0].endswith((b"auxid:1", b"alpha"))
    return False


def _pictures(data: bytes) -> set[int]:
    """Return the items that are pictures of their own."""
    meta = _meta(data)
    pictures = set()
    for kind, content in boxes(_items(meta)):
        if kind == b"infe" and len(content) >= 12:
            item, start = _item_of(content)
            is_hidden = bool(content[3] & 1)
            if content[start : start + 4] in PICTURES and not is_hidden:
                pictures.add(item)
    iref = _child(meta, b"iref")
    width = 4 if iref[:1] != b"\0" else 2
    for kind, content in boxes(iref[4:]):
        ids = [int.from_bytes(content[at : at + width], "big")
               for at in (0, *range(width + 2, len(content), width))]  # fmt: skip
        if kind in (b"thmb", b"auxl"):
            pictures -= set(ids[:1])
        elif kind == b"dimg":  # made of these
            pictures -= set(ids[1:])
    return pictures


def orientation(data: bytes) -> int | None:
    """Return the `irot` and `imir` of the primary picture as an EXIF orientation, 1 to 8.

    None when it has neither: then the container says nothing of a turn.
    """
    properties = _properties(data)
    grid = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    turned, says = grid, False
    for index in _associations(data):
        if not 1 <= index <= len(properties):
            continue
        kind, content = properties[index - 1]
        value = content[0] if content else 0
        says = says or kind in (b"irot", b"imir")
        if kind == b"irot":  # anticlockwise, in quarter turns
            turned = np.rot90(turned, value & 3)
        elif kind == b"imir":  # 0: top and bottom change places, 1: left and right
            turned = turned[:, ::-1] if value & 1 else turned[::-1]
    if not says:
        return None
    return next(
        (code for code in range(1, 9) if np.array_equal(upright(grid, code), turned)),
        1,
    )


def xmp(data: bytes) -> bytes:
    """Return the XMP packet of the file, or b"": an item of the type mime (ISO 23008-12, A.3)."""
    meta = _meta(data)
    for kind, content in boxes(_items(meta)):
        if kind != b"infe" or len(content) < 12:
            continue
        item, start = _item_of(content)
        named = content[start + 4 :].split(b"\0")  # its name, content type, encoding
        is_xmp = content[start : start + 4] == b"mime" and named[1:2] == [XMP_TYPE]
        if is_xmp and not any(named[2:]):
            return _content(data, meta, item)
    return b""


def _content(data: bytes, meta: bytes, wanted: int) -> bytes:
    """Return the bytes of an item, as `iloc` says where they lie (ISO 14496-12, 8.11.3)."""
    iloc = _child(meta, b"iloc")
    try:
        version, sizes = iloc[0], struct.unpack_from(">H", iloc, 4)[0]
        widths = [sizes >> shift & 15 for shift in (12, 8, 4, 0)]  # offset, length, base, index
        if version not in (1, 2):
            widths[3] = 0
        at, left = 6, MAX_BOXES
        count, at = _number(iloc, at, 4 if version == 2 else 2)
        for _ in range(min(count, MAX_BOXES)):
            item, at = _number(iloc, at, 4 if version == 2 else 2)
            method, at = _number(iloc, at, 2) if version in (1, 2) else (0, at)
            base, at = _number(iloc, at + 2, widths[2])
            extents, at = _number(iloc, at, 2)
            places, left = [], left - extents
            if left < 0:  # extents may have no bytes: without a limit they would cost time alone
                return b""
            for _ in range(extents):
                start, at = _number(iloc, at + widths[3], widths[0])
                length, at = _number(iloc, at, widths[1])
                places.append((base + start, length))
            if item == wanted:
                source = {0: data, 1: _child(meta, b"idat")}.get(method & 15, b"")
                return _pieces(source, places)
    except (struct.error, IndexError):  # ends early or holds nonsense
        pass
    return b""


def _pieces(source: bytes, places: list[tuple[int, int]]) -> bytes:
    """Return some places of the data, one behind the other; b"" where they are more than it."""
    if sum(length for _, length in places) > len(source):
        return b""
    return b"".join(source[at : at + length] for at, length in places)


def _number(data: bytes, at: int, width: int) -> tuple[int, int]:
    """Return a number of some bytes, and where it ends."""
    if at + width > len(data):
        raise IndexError(at)
    return int.from_bytes(data[at : at + width], "big"), at + width


def _items(meta: bytes) -> bytes:
    iinf = _child(meta, b"iinf")
    return iinf[8:] if iinf[:1] != b"\0" else iinf[6:]


def _item_of(infe: bytes) -> tuple[int, int]:
    """Return the number of an item, and where its type stands."""
    wide = infe[0] >= 3
    return int.from_bytes(infe[4:8] if wide else infe[4:6], "big"), 10 if wide else 8


def _child(data: bytes, kind: bytes) -> bytes:
    return next((content for name, content in boxes(data) if name == kind), b"")


def _meta(data: bytes) -> bytes:
    return _child(data, b"meta")[4:]  # a full box: version and flags first


def _properties(data: bytes) -> list[Box]:
    return list(boxes(_child(_child(_meta(data), b"iprp"), b"ipco")))


def _associations(data: bytes) -> list[int]:
    """Return the 1-based indices of the primary item's properties, in the order they apply."""
    meta = _meta(data)
    try:
        pitm = _child(meta, b"pitm")
        primary = struct.unpack_from(">I" if pitm[0] else ">H", pitm, 4)[0]
        ipma = _child(_child(meta, b"iprp"), b"ipma")
        version, wide = ipma[0], bool(ipma[3] & 1)
        count, at = struct.unpack_from(">I", ipma, 4)[0], 8
        for _ in range(min(count, MAX_BOXES)):
            item, entries = struct.unpack_from(">IB" if version else ">HB", ipma, at)
            at += 5 if version else 3
            form, mask = (f">{entries}H", 0x7FFF) if wide else (f">{entries}B", 0x7F)
            indices = struct.unpack_from(form, ipma, at)
            at += struct.calcsize(form)
            if item == primary:
                return [index & mask for index in indices]
    except (struct.error, IndexError):  # ends early or holds nonsense
        pass
    return []
