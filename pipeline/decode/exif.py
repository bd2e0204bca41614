"""Orientation and time of capture from EXIF (CIPA DC-008), and turning pixels upright.

Whatever an EXIF block holds, nothing here raises: a value that makes no sense is as good as none.
"""

from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.decode.tiff import Directory, Header, read_directory, read_header

ORIENTATION, DATE_TIME, EXIF_IFD = 0x0112, 0x0132, 0x8769
DATE_TIME_ORIGINAL, DATE_TIME_DIGITIZED = 0x9003, 0x9004

# Side of the squares that a picture is transposed in: rows of 64 pixels stay in the first cache
# level while their columns are read (12 megapixels: 31 ms, against 95 ms in one go).
TRANSPOSE_BLOCK = 64


class Exif(NamedTuple):
    """What is used of an EXIF block."""

    orientation: int = 1  # 1 to 8
    taken_at: datetime | None = None  # local time of the camera, without a zone


def read_exif(block: bytes) -> Exif:
    """Return orientation and time of capture from an EXIF block or a whole TIFF file."""
    block = block.removeprefix(b"Exif\0\0")
    header = read_header(block)
    if header is None:
        return Exif()
    main, _ = read_directory(block, header, header.first)
    photo: Directory = {}
    if (at := _integer(main, EXIF_IFD, header)) is not None:
        photo, _ = read_directory(block, header, at)
    orientation = _integer(main, ORIENTATION, header)
    times = (
        _time(tags, tag)
        for tags, tag in (
            (photo, DATE_TIME_ORIGINAL),
            (photo, DATE_TIME_DIGITIZED),
            (main, DATE_TIME),
        )
    )
    return Exif(
        orientation if orientation is not None and 1 <= orientation <= 8 else 1,
        next((time for time in times if time is not None), None),
    )


def _integer(tags: Directory, tag: int, header: Header) -> int | None:
    return tags[tag].integer(header.order) if tag in tags else None


def _time(tags: Directory, tag: int) -> datetime | None:
    text = tags[tag].text()[:19] if tag in tags else ""
    try:
        return datetime.strptime(text, "%Y:%m:%d %H:%M:%S")
    except ValueError:  # blank, zeros, or not a date
        return None


def upright(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Return [H, W, 3] pixels turned as EXIF `orientation` (1 to 8) says, C-contiguous."""
    if orientation in (3, 7):
        pixels = pixels[::-1, ::-1]
    elif orientation in (2, 8):
        pixels = pixels[:, ::-1]
    elif orientation in (4, 6):
        pixels = pixels[::-1]
    return _transposed(pixels) if orientation >= 5 else np.ascontiguousarray(pixels)


def _transposed(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width, channels = pixels.shape
    turned = np.empty((width, height, channels), np.uint8)
    for top in range(0, height, TRANSPOSE_BLOCK):
        rows = slice(top, top + TRANSPOSE_BLOCK)
        for channel in range(channels):
            turned[:, rows, channel] = pixels[rows, :, channel].T
    return turned
