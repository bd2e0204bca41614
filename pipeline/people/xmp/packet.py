"""XMP sidecars: writing named face regions into them, and leaving all else as it was.

Written are MWG regions, which digiKam, Lightroom, Immich and others read as faces with names, and
`PersonInImage`, IPTC's list of the persons shown. Keywords are left alone: programs make their own
people keywords of regions, and ours could not be told from the owner's later.
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
    before: Sidecar, regions: Sequence[Region], frame: Frame, replace: bool
) -> str | None:
    """Return why a sidecar is left as it is, said of several; None: these regions may go in.

    Args:
        before: the sidecar.
        regions: what is to go in.
        frame: the image that they are of.
        replace: whether faces of others may be replaced.
    """
    if not before.ours and not replace:
        return "sidecars of other programs, left as they are: use --replace"
    meant = frame.seen_by(before.applied)
    if meant is None:
        what = "sidecars with regions of a photo of another shape, left as they are"
        return what if before.others else None
    boxes = [frame.box(one) for one in regions]
    for one in before.strange if not replace else ():
        same = matched([meant.box(one)], boxes)
        if same and regions[same[0]].name != one.name:
            return (
                "sidecars in which a face got another name since, left as they are: use --replace"
            )
    return None


def packet(regions: Sequence[Region], frame: Frame, before: Sidecar | None = None) -> bytes:
    """Return a sidecar with these face regions; all else is as it was `before`.

    Regions of before stay where Facelake did not write them and none of these is the same face.

    Raises:
        ConfigError: regions of before apply to a photo of another shape; see `objection`.
    """
    if before is None:
        root = ET.Element(q("x:xmpmeta"), {TOOL: TOOLKIT})
        ET.SubElement(root, RDF)
    else:
        root = before.root
    rdf = root if root.tag == RDF else root.find(RDF)
    assert rdf is not None  # `parse` saw to it
    about = next((d.get(ABOUT, "") for d in rdf.findall(DESCRIPTION)), "")
    kept, persons = _taken_out(rdf, regions, frame, before) if before is not None else ([], [])
    own = ET.SubElement(rdf, DESCRIPTION, {ABOUT: about})
    info = ET.SubElement(own, REGIONS, {PARSE_TYPE: "Resource"})
    width, height = frame.stored
    size = {q("stDim:w"): str(width), q("stDim:h"): str(height), q("stDim:unit"): "pixel"}
    ET.SubElement(info, APPLIED, size)
    bag = ET.SubElement(ET.SubElement(info, REGION_LIST), BAG)
    bag.extend(kept)
    for one in regions:
        item = ET.SubElement(ET.SubElement(bag, LI), DESCRIPTION, {NAME: one.name, TYPE: "Face"})
        ET.SubElement(item, AREA, _area(one))
    names = dict.fromkeys(one.name for one in regions)
    _list(own, PERSONS, dict.fromkeys([*persons, *names]))
    mine = [person_mark(name) for name in names if name not in persons]
    _list(own, WRITTEN, [*map(region_mark, regions), *mine])
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


def _taken_out(
    rdf: ET.Element, regions: Sequence[Region], frame: Frame, before: Sidecar
) -> tuple[list[ET.Element], list[str]]:
    """Take regions, persons and marks out, and return regions and persons to be kept."""
    meant = frame.seen_by(before.applied)
    if meant is None and before.others:
        raise ConfigError("its regions apply to a photo of another shape")
    boxes = [frame.box(one) for one in regions]
    kept: list[ET.Element] = []
    persons: list[str] = []
    for description in rdf.findall(DESCRIPTION):
        for whole in description.findall(REGIONS):
            for item in items(struct(whole)):
                face = face_of(item, before.applied)
                if face is not None and region_mark(face) in before.written:
                    continue
                assert meant is not None  # else this one would be another's
                region = region_of(item, before.applied)
                box = None if region is None else meant.box(region)
                if face is None or box is None or not matched([box], boxes):
                    kept.append(_restated(item, None if box is None else frame.region("", box)))
            description.remove(whole)
        for whole in description.findall(PERSONS):
            persons += [item.text or "" for item in whole.iter(LI)]
            description.remove(whole)
        for whole in description.findall(WRITTEN):
            description.remove(whole)
        if not len(description) and set(description.attrib) <= {ABOUT}:
            rdf.remove(description)  # else one more would be left at each renewal
    return kept, [name for name in persons if person_mark(name) not in before.written]


def _restated(item: ET.Element, region: Region | None) -> ET.Element:
    """Return a region with its area as shares of the stored image; None: as it was."""
    area = struct(item).get(AREA)
    if region is not None and isinstance(area, ET.Element):
        area.clear()
        area.attrib.update(_area(region))
    return item
