"""Writes named face regions into XMP sidecars, and leaves all else in them as it was.

It writes MWG regions, which digiKam, Lightroom, Immich and others read as faces with names, and
`PersonInImage`, IPTC's list of the persons shown. It leaves keywords alone: programs make keywords
of regions themselves, and ours could not be told from the owner's later.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence

from pipeline.errors import ConfigError
from pipeline.people.xmp.reader import (
    ABOUT,
    APPLIED,
    AREA,
    BAG,
    DESCRIPTION,
    LI,
    NAME,
    PARSE_TYPE,
    PERSONS,
    RDF,
    REGION_LIST,
    REGIONS,
    TOOL,
    TOOLKIT,
    TYPE,
    WRITTEN,
    Sidecar,
    face_of,
    items,
    person_mark,
    q,
    region_mark,
    region_of,
    struct,
)
from pipeline.people.xmp.regions import Frame, Region, matched


def objection(
    existing: Sidecar, regions: Sequence[Region], frame: Frame, replace: bool
) -> str | None:
    """Return why a sidecar is left as it is, said of several; None: these regions may go in.

    Args:
        existing: the sidecar.
        regions: what is to go in.
        frame: the image that they are of.
        replace: whether faces of others may be replaced.
    """
    if not existing.made_by_facelake and not replace:
        return "sidecars of other programs, left as they are: use --replace"
    existing_frame = frame.seen_by(existing.applied)
    if existing_frame is None:
        reason = "sidecars with regions of a photo of another shape, left as they are"
        return reason if existing.any_foreign else None
    boxes = [frame.box(region) for region in regions]
    for region in existing.foreign if not replace else ():
        matches = matched([existing_frame.box(region)], boxes)
        if matches and regions[matches[0]].name != region.name:
            return (
                "sidecars in which a face got another name since, left as they are: use --replace"
            )
    return None


def packet(regions: Sequence[Region], frame: Frame, existing: Sidecar | None = None) -> bytes:
    """Return a sidecar with these face regions; all else is as it was in the `existing` one.

    Existing regions stay where Facelake did not write them and none of these is the same face.

    Raises:
        ConfigError: existing regions apply to a photo of another shape; see `objection`.
    """
    if existing is None:
        root = ET.Element(q("x:xmpmeta"), {TOOL: TOOLKIT})
        ET.SubElement(root, RDF)
    else:
        root = existing.root
    rdf = root if root.tag == RDF else root.find(RDF)
    assert rdf is not None  # `parse` saw to it
    about = next((d.get(ABOUT, "") for d in rdf.findall(DESCRIPTION)), "")
    kept, persons = _take_out(rdf, regions, frame, existing) if existing is not None else ([], [])
    description = ET.SubElement(rdf, DESCRIPTION, {ABOUT: about})
    info = ET.SubElement(description, REGIONS, {PARSE_TYPE: "Resource"})
    width, height = frame.stored
    size = {q("stDim:w"): str(width), q("stDim:h"): str(height), q("stDim:unit"): "pixel"}
    ET.SubElement(info, APPLIED, size)
    bag = ET.SubElement(ET.SubElement(info, REGION_LIST), BAG)
    bag.extend(kept)
    for region in regions:
        item = ET.SubElement(ET.SubElement(bag, LI), DESCRIPTION, {NAME: region.name, TYPE: "Face"})
        ET.SubElement(item, AREA, _area(region))
    names = dict.fromkeys(region.name for region in regions)
    _list(description, PERSONS, dict.fromkeys([*persons, *names]))
    person_marks = [person_mark(name) for name in names if name not in persons]
    _list(description, WRITTEN, [*map(region_mark, regions), *person_marks])
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode")
    head = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    return f'{head}\n{body}\n<?xpacket end="w"?>\n'.encode()


def _list(parent: ET.Element, tag: str, texts: Iterable[str]) -> None:
    bag = ET.SubElement(ET.SubElement(parent, tag), BAG)
    for text in texts:
        ET.SubElement(bag, LI).text = text


def _area(region: Region) -> dict[str, str]:
    sides = (("x", region.x), ("y", region.y), ("w", region.w), ("h", region.h))
    shares = {q(f"stArea:{side}"): f"{value:.6f}" for side, value in sides}
    return {**shares, q("stArea:unit"): "normalized"}


def _take_out(
    rdf: ET.Element, regions: Sequence[Region], frame: Frame, existing: Sidecar
) -> tuple[list[ET.Element], list[str]]:
    """Take regions, persons and marks out, and return regions and persons to be kept."""
    existing_frame = frame.seen_by(existing.applied)
    if existing_frame is None and existing.any_foreign:
        raise ConfigError("its regions apply to a photo of another shape")
    boxes = [frame.box(region) for region in regions]
    kept: list[ET.Element] = []
    persons: list[str] = []
    for description in rdf.findall(DESCRIPTION):
        for element in description.findall(REGIONS):
            for item in items(struct(element)):
                face = face_of(item, existing.applied)
                if face is not None and region_mark(face) in existing.written:
                    continue
                assert existing_frame is not None  # else this one would be another's
                region = region_of(item, existing.applied)
                box = None if region is None else existing_frame.box(region)
                if face is None or box is None or not matched([box], boxes):
                    kept.append(_restated(item, None if box is None else frame.region("", box)))
            description.remove(element)
        for element in description.findall(PERSONS):
            persons += [item.text or "" for item in element.iter(LI)]
            description.remove(element)
        for element in description.findall(WRITTEN):
            description.remove(element)
        if not len(description) and set(description.attrib) <= {ABOUT}:
            rdf.remove(description)  # else one more would be left at each renewal
    return kept, [name for name in persons if person_mark(name) not in existing.written]


def _restated(item: ET.Element, region: Region | None) -> ET.Element:
    """Return a region with its area as shares of the stored image; None: as it was."""
    area = struct(item).get(AREA)
    if region is not None and isinstance(area, ET.Element):
        area.clear()
        area.attrib.update(_area(region))
    return item
