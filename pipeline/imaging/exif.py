"""Reads orientation, time and camera from EXIF (CIPA DC-008), and turns pixels upright.

Whatever an EXIF block holds, nothing here raises: a value that makes no sense is as good as none.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.imaging.record import MAX_CAMERA_CHARACTERS
from pipeline.imaging.tiff import MAKE, Directory, Header, read_directory, read_header

ORIENTATION, DATE_TIME, EXIF_IFD = 0x0112, 0x0132, 0x8769
DATE_TIME_ORIGINAL, DATE_TIME_DIGITIZED, MODEL = 0x9003, 0x9004, 0x0110
# Each time has its fraction of a second in a tag of its own.
SUB_SECONDS = {DATE_TIME: 0x9290, DATE_TIME_ORIGINAL: 0x9291, DATE_TIME_DIGITIZED: 0x9292}

# Side of the squares that a picture is transposed in: rows of 64 pixels stay in the first cache
# level while their columns are read (12 megapixels: 31 ms, against 95 ms in one go).
TRANSPOSE_BLOCK = 64


class Exif(NamedTuple):
    """What is used of an EXIF block."""

    orientation: int | None = None  # 1 to 8
    taken_at: datetime | None = None  # local time of the camera, without a zone
    camera: str | None = None  # make and model


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
        _time(tags, tag, photo)
        for tags, tag in (
            (photo, DATE_TIME_ORIGINAL),
            (photo, DATE_TIME_DIGITIZED),
            (main, DATE_TIME),
        )
    )
    return Exif(
        orientation if orientation is not None and 1 <= orientation <= 8 else None,
        next((time for time in times if time is not None), None),
        _camera(main),
    )


def _integer(tags: Directory, tag: int, header: Header) -> int | None:
    return tags[tag].integer(header.order) if tag in tags else None


def _time(tags: Directory, tag: int, photo: Directory) -> datetime | None:
    text = tags[tag].text()[:19] if tag in tags else ""
    try:
        time = datetime.strptime(text, "%Y:%m:%d %H:%M:%S")
    except ValueError:  # blank, zeros, or not a date
        return None
    part = photo[SUB_SECONDS[tag]].text() if SUB_SECONDS[tag] in photo else ""
    # "5" is half a second, "05" a twentieth
    digits = part[:3].ljust(3, "0") if part.isascii() and part.isdigit() else "0"
    return time + timedelta(milliseconds=int(digits))


def _camera(main: Directory) -> str | None:
    make, model = (main[tag].text() if tag in main else "" for tag in (MAKE, MODEL))
    # many makers write their name in front of the model as well
    text = model if model.lower().startswith(make.lower()) else f"{make} {model}"
    kept = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(kept.split())[:MAX_CAMERA_CHARACTERS].strip() or None


# EXIF orientations from this one on swap width and height.
TURNED = 5


def upright(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Return [H, W, 3] pixels turned as EXIF `orientation` (1 to 8) says, C-contiguous."""
    if orientation in (3, 7):
        pixels = pixels[::-1, ::-1]
    elif orientation in (2, 8):
        pixels = pixels[:, ::-1]
    elif orientation in (4, 6):
        pixels = pixels[::-1]
    return _transposed(pixels) if orientation >= TURNED else np.ascontiguousarray(pixels)


def _transposed(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width, channels = pixels.shape
    turned = np.empty((width, height, channels), np.uint8)
    for top in range(0, height, TRANSPOSE_BLOCK):
        rows = slice(top, top + TRANSPOSE_BLOCK)
        for channel in range(channels):
            turned[:, rows, channel] = pixels[rows, :, channel].T
    return turned
