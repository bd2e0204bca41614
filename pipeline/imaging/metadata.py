"""Says what a file's metadata say of its picture, whichever of them says it.

EXIF, XMP and the turns of a container may each be there or not, and may not agree.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from pipeline.imaging.dates import Moment, read_moment
from pipeline.imaging.exif import read_exif
from pipeline.imaging.iptc import read_iptc
from pipeline.imaging.xmp import orientation_of, read_xmp

# Where dates stand, the best first: when the picture was taken, when it was made a file, and when
# it was changed last, each in the order of the Metadata Working Group's guidelines (2.0, 5.5).
DATES = (
    "EXIF DateTimeOriginal",
    "XMP exif:DateTimeOriginal",
    "IPTC DateCreated",
    "XMP photoshop:DateCreated",
    "EXIF DateTimeDigitized",
    "XMP exif:DateTimeDigitized",
    "IPTC DigitalCreationDate",
    "XMP xmp:CreateDate",
    "PNG Creation Time",
    "EXIF GPSDateStamp",
    "EXIF DateTime",
    "XMP xmp:ModifyDate",
    "PNG tIME",
)
DATE_ONLY = ", date only"


@dataclass(slots=True)
class Blocks:
    """The metadata of a file as they lie in it; empty where there are none.

    Attributes:
        exif: an EXIF block, or a whole TIFF file.
        xmp: an XMP packet.
        iptc: IPTC-IIM, bare or in Photoshop's resources.
        dates: those of the format itself, by name.
        turn: orientation, 1 to 8, that the container itself names; it rules.
    """

    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    dates: dict[str, Moment] = field(default_factory=dict)
    turn: int | None = None


class Facts(NamedTuple):
    """What is known of a picture besides its pixels; the fields are columns of `images`."""

    orientation: int
    taken_at: datetime | None
    taken_from: str | None
    taken_offset_min: int | None
    camera: str | None


def read_metadata(blocks: Blocks) -> Facts:
    """Return the facts, the orientation from the first that names one: container, EXIF, XMP."""
    exif, xmp = read_exif(blocks.exif), read_xmp(blocks.xmp)
    orientation = blocks.turn or exif.orientation or orientation_of(xmp) or 1
    dates = {**exif.dates, **read_iptc(blocks.iptc), **blocks.dates}
    for name, text in xmp.items():
        moment = read_moment(text) if name != "tiff:Orientation" else None
        if moment:
            dates[f"XMP {name}"] = moment
    best = next((name for name in DATES if name in dates), None)
    if best is None:
        return Facts(orientation, None, None, None, exif.camera)
    moment = dates[best]
    said = best + DATE_ONLY * moment.date_only
    return Facts(orientation, moment.time, said, moment.offset_min, exif.camera)
