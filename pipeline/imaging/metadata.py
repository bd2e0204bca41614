"""Says what a file's metadata say of its picture, whichever of them says it.

EXIF, XMP and the turns of a container may each be there or not, and may not agree.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from pipeline.imaging.exif import read_exif
from pipeline.imaging.xmp import orientation_of, read_xmp


@dataclass(slots=True)
class Blocks:
    """The metadata of a file as they lie in it; empty where there are none.

    Attributes:
        exif: an EXIF block, or a whole TIFF file.
        xmp: an XMP packet.
        turn: orientation, 1 to 8, that the container itself names; it rules.
    """

    exif: bytes = b""
    xmp: bytes = b""
    turn: int | None = None


class Facts(NamedTuple):
    """What is known of a picture besides its pixels; the fields are columns of `images`."""

    orientation: int
    taken_at: datetime | None
    camera: str | None


def read_metadata(blocks: Blocks) -> Facts:
    """Return the facts, the orientation from the first that names one: container, EXIF, XMP."""
    exif, xmp = read_exif(blocks.exif), read_xmp(blocks.xmp)
    orientation = blocks.turn or exif.orientation or orientation_of(xmp) or 1
    return Facts(orientation, exif.taken_at, exif.camera)
