"""Uses what is there of a file whose end is lost, and says how many rows are not.

What is lost is found by decoding twice: with nothing in its place, and with noise. Rows that come
out the same do not depend on what is lost.
"""

import re
import struct
from collections.abc import Callable

import numpy as np

from pipeline.arrays import Pixels
from pipeline.errors import ErrorCode, ImageError
from pipeline.imaging.png import packed_rows
from pipeline.imaging.tiff import cut_to_what_is_there

Decode = Callable[[bytes], Pixels]

# With more of a picture's rows lost than this share, it would pass for a photo of fewer people.
MOST_LOST = 0.25
# A progressive JPEG sharpens the whole picture step by step: rows of which only the last steps are
# lost differ by less than this many levels of 255 on average, those that lack a first step by more.
VISIBLE = 6.0
# Of a noisy JPEG every fourth column is kept: its blocks of 8 pixels differ as a whole.
COLUMNS = 4
NOISE_BYTES = 1 << 16
GREY = 128

RIFF_BYTES, WEBP_ALPHA = 12, 0x10
# WebP takes the zeros of a copy that was broken off for a picture; few end in so many themselves.
ZEROS = bytes(16)
MARKER = re.compile(rb"\xff[^\x00\xff]")
SOI, EOI = b"\xff\xd8", b"\xff\xd9"
STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})


def checked(lost: int, height: int) -> int:
    """Return the number of lost rows.

    Raises:
        ImageError: TRUNCATED, too many are.
    """
    if lost > MOST_LOST * height:
        raise ImageError(
            ErrorCode.TRUNCATED,
            f"only {height - lost:,} of {height:,} rows of the picture are there",
        )
    return lost


def rescue_jpeg(data: bytes, decode: Decode) -> tuple[Pixels, int]:
    """Return the picture of a JPEG whose data stop, and how many rows are lost.

    Raises:
        ImageError: TRUNCATED, too many are.
        Exception: whatever `decode` raises.
    """
    there, is_progressive = _first_picture(data)
    noisy = decode(there + _noise() + EOI)[:, ::COLUMNS].copy()
    pixels = decode(there + EOI)
    lost = _lost_rows(pixels, noisy, VISIBLE if is_progressive else 0, COLUMNS)
    return pixels, checked(lost, len(pixels))


def _first_picture(data: bytes) -> tuple[bytes, bool]:
    """Return the first picture up to its end mark or the end, and whether it is progressive."""
    at, progressive = len(SOI), False
    while (match := MARKER.search(data, at)) is not None:
        marker, at = data[match.start() + 1], match.end()
        if marker == EOI[1]:
            return data[: match.start()], progressive
        if marker in STANDALONE or at + 2 > len(data):
            continue
        progressive = progressive or marker in PROGRESSIVE
        at += struct.unpack_from(">H", data, at)[0]
    # a copy that was broken off, or a bad sector, leaves zeros
    return data.rstrip(b"\0").rstrip(b"\xff"), progressive


def _noise() -> bytes:
    # without 0xff, which begins a marker
    return np.random.default_rng(0).integers(1, 255, NOISE_BYTES, dtype=np.uint8).tobytes()


def _lost_rows(pixels: Pixels, other: Pixels, tolerance: float = 0, columns: int = 1) -> int:
    """Return how many rows there are from the first on that differs by more on average.

    Of `other` only every so many `columns` are there.
    """
    rows = zip(pixels[:, ::columns], other, strict=True)
    differ = np.array([np.abs(a.astype(np.int16) - b).mean() > tolerance for a, b in rows])
    return len(pixels) - int(differ.argmax()) if differ.any() else 0


def rescue(
    name: str, data: bytes, max_pixels: int, decode: Decode
) -> tuple[bytes, int, int] | None:
    """Return a file that decodes to what is there of another one, its rows, and those of the whole.

    None where that is not known for the format.

    Raises:
        ImageError: TRUNCATED, too many rows are lost.
        Exception: whatever `decode` raises.
    """
    if name == "PNG":
        found = packed_rows(data, max_pixels)
    elif name == "TIFF":
        found = cut_to_what_is_there(data)
    elif name == "WEBP":
        found = _padded_webp(data, decode)
    else:
        return None
    if found is not None:
        _, rows, height = found
        checked(height - rows, height)
    return found


def is_broken_off(data: bytes, decode: Decode) -> bool:
    """Whether a WebP ends in the zeros of a copy that stopped.

    A plain foot of a picture ends in zeros as well. Of those each counts: without the last there is
    no picture, while of a copy that stopped, most stand behind what the picture needs.
    """
    if not data.endswith(ZEROS):
        return False
    kept, kind, content, size = _picture_of(data)
    if not kind or not content.endswith(ZEROS):
        return bool(kind)
    try:
        decode(_riff(kept + _chunk(kind, content[: -len(ZEROS)])))
    except (OSError, ValueError):
        return len(content) < size
    return True


def _padded_webp(data: bytes, decode: Decode) -> tuple[bytes, int, int] | None:
    """Fill the picture's chunk of a WebP up to its length; what follows it is lost."""
    kept, kind, content, size = _picture_of(data.rstrip(b"\0"))
    missing = size - len(content)
    if not kind or missing > len(content):
        return None
    # noise is read faster than a picture, and an end before the last row is refused
    fill = 16 * missing + NOISE_BYTES
    padded = _riff(kept + _chunk(kind, content + bytes(fill)))
    noise = (_noise() * (fill // NOISE_BYTES + 1))[:fill]
    noisy = decode(_riff(kept + _chunk(kind, content + noise)))
    pixels = decode(padded)
    return padded, len(pixels) - _lost_rows(pixels, noisy), len(pixels)


def _picture_of(data: bytes) -> tuple[bytes, bytes, bytes, int]:
    """Return of a WebP (RFC 9649) the chunks that its picture needs, and that of the picture.

    The latter as kind, content as far as it is there, and size; the kind is empty where there is
    none, as in an animation.
    """
    at, kept = RIFF_BYTES, b""
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        content = data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
        if kind == b"VP8X":  # of the flags, that of transparency alone
            content = bytes([content[0] & WEBP_ALPHA]) + content[1:]
        elif kind in (b"VP8 ", b"VP8L"):
            return kept, kind, content, size
        elif kind != b"ALPH":
            continue
        kept += _chunk(kind, content)
    return kept, b"", b"", 0


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _riff(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def with_grey(pixels: Pixels, rows: int, height: int) -> Pixels:
    """Return a picture of `height` rows whose first `rows` are those of `pixels`, the rest grey."""
    whole = np.full((height, *pixels.shape[1:]), GREY, np.uint8)
    whole[:rows] = pixels[:rows]
    return whole
