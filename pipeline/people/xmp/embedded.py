"""Names that other programs wrote into the photos themselves."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ConfigError
from pipeline.imaging.packets import packets
from pipeline.people.marks.marker import Marker
from pipeline.people.store import People
from pipeline.people.view import view
from pipeline.people.xmp.reader import parse
from pipeline.people.xmp.regions import Region
from pipeline.people.xmp.taking import PHOTO, Found, ImportResult, Taking, take_over

# Formats that can hold a packet, as `images` names them.
FORMATS = frozenset({"JPEG", "MPO", "PNG", "TIFF", "WEBP", "HEIF", "AVIF", "JPEG2000"})
TOLD_EVERY = 100


@dataclass(frozen=True)
class Embedded:
    """What the packets of a photo say of faces.

    Attributes:
        regions: faces with a name.
        applied: width and height of the image that they apply to; None: it does not say.
        unnamed: how many faces have no name.
        damaged: whether there is a packet that is no XMP.
    """

    regions: tuple[Region, ...] = ()
    applied: tuple[float, float] | None = None
    unnamed: int = 0
    damaged: bool = False


def embedded_in(data: bytes) -> Embedded:
    """Return what the packets of an image file say of faces; whatever the bytes are."""
    return _said(packets(data))


def _said(found_packets: Iterable[bytes]) -> Embedded:
    regions: list[Region] = []
    applied: tuple[float, float] | None = None
    unnamed, damaged = 0, False
    for packet in found_packets:
        try:
            found = parse(packet)
        except ConfigError:
            damaged = True
            continue
        regions += [one for one in found.regions if not any(map(one.is_like, regions))]
        applied = applied or found.applied
        unnamed += found.unnamed
    return Embedded(tuple(regions), applied, unnamed, damaged)


def import_embedded(people: People, marker: Marker, taking: Taking) -> ImportResult:
    """Name the faces that lie in named regions of the lake's own photos, which are read again.

    Where the lake has no face, the region becomes one. Regions without a name are what another
    program saw, not what somebody said: they are counted.

    Args:
        people: who gets the names.
        marker: marks faces; its originals are read.
        taking: how; its `marker` is this one.

    Raises:
        ConfigError: nobody has clustered this lake yet.
        LakeBusyError: another run is at work.
    """
    view(people)  # before every photo is read for nothing
    table = people.lake.read("images", [*PHOTO, "shard", "format", "error"])
    rows = [row for row in table.to_pylist()
            if row["error"] is None and row["width"] and row["format"] in FORMATS]  # fmt: skip
    found, result = Found({row["image_id"]: row for row in rows}), ImportResult()

    # The tree of a packet may take twenty times its size: one at a time, whatever strangers send.
    parsing = threading.Lock()

    def read(_: Mapping[str, Any], data: bytes) -> Embedded:
        inside = packets(data)
        with parsing:
            return _said(inside)

    step = "reading names in photos"
    for done, (row, embedded, _) in enumerate(marker.originals.try_bytes(rows, read), start=1):
        if done % TOLD_EVERY == 0 or done == len(rows):
            taking.tell(step, done, len(rows))
        if embedded is None:
            result.skipped["photos that are not there any more, or have changed"] += 1
            continue
        result.skipped["photos whose metadata is no XMP"] += embedded.damaged
        result.skipped["regions without a name"] += embedded.unnamed
        if embedded.regions:
            result.sidecars += 1
            if not found.add(row["image_id"], embedded.regions, embedded.applied):
                result.skipped["photos whose regions are of another shape"] += 1
    take_over(people, found, result, taking)
    return result
