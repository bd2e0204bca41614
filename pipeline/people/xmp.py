"""XMP sidecars: reading and writing the named face regions in them, and nothing else of them.

Written are MWG regions, which digiKam, Lightroom, Immich and others read as faces with names, and
`PersonInImage`, IPTC's list of the persons shown. Keywords are left alone: programs make their own
people keywords of regions, and ours could not be told from the owner's later.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.errors import ConfigError
from pipeline.people.regions import Frame, Region, matched

TOOLKIT = "Facelake"
LARGEST_BYTES = 16 << 20
SPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    # of others, so that what is kept keeps its usual prefixes
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "crs": "http://ns.adobe.com/camera-raw-settings/1.0/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "darktable": "http://darktable.sf.net/",
    "MP": "http://ns.microsoft.com/photo/1.2/",
    "MPRI": "http://ns.microsoft.com/photo/1.2/t/RegionInfo#",
    "MPReg": "http://ns.microsoft.com/photo/1.2/t/Region#",
    "MicrosoftPhoto": "http://ns.microsoft.com/photo/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
}
for _prefix, _space in SPACES.items():
    ET.register_namespace(_prefix, _space)


def _q(name: str) -> str:
    prefix, _, local = name.partition(":")
    return f"{{{SPACES[prefix]}}}{local}"


RDF, DESCRIPTION, LI, BAG = (_q(f"rdf:{name}") for name in ("RDF", "Description", "li", "Bag"))
PARSE_TYPE, ABOUT = _q("rdf:parseType"), _q("rdf:about")
REGIONS, REGION_LIST = _q("mwg-rs:Regions"), _q("mwg-rs:RegionList")
APPLIED, AREA = _q("mwg-rs:AppliedToDimensions"), _q("mwg-rs:Area")
NAME, TYPE = _q("mwg-rs:Name"), _q("mwg-rs:Type")
PERSONS, TOOL = _q("Iptc4xmpExt:PersonInImage"), _q("x:xmptk")


@dataclass(frozen=True)
class Sidecar:
    """What a sidecar says of faces.

    Attributes:
        root: the whole of it.
        regions: faces with a name.
        applied: width and height of the image that they apply to; None if it does not say.
        ours: Facelake wrote it, and nobody has since.
    """

    root: ET.Element
    regions: tuple[Region, ...]
    applied: tuple[float, float] | None
    ours: bool


class _Builder(ET.TreeBuilder):
    """Builds no tree of a document that declares entities: they can grow without end."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Refuse a document type."""
        raise ConfigError("it has a document type, which no XMP has")


def parse(data: bytes) -> Sidecar:
    """Return what a sidecar says.

    Raises:
        ConfigError: it is no XMP.
    """
    if len(data) > LARGEST_BYTES:
        raise ConfigError(f"it has {len(data):,} bytes; sidecars have at most {LARGEST_BYTES:,}")
    try:
        # entities are refused above, nothing is fetched
        parser = ET.XMLParser(target=_Builder())  # noqa: S314
        parser.feed(data)
        root: ET.Element = parser.close()
    except (ET.ParseError, ValueError, LookupError) as error:
        raise ConfigError(f"it is no XML ({error})") from error
    if root.tag != RDF and root.find(RDF) is None:
        raise ConfigError("it is XML, but no XMP")
    applied: tuple[float, float] | None = None
    regions: list[Region] = []
    for whole in _found(root, REGIONS):
        inner = _struct(whole)
        found = inner.get(APPLIED)
        size = _struct(found) if isinstance(found, ET.Element) else {}
        w, h = (_number(size.get(_q(f"stDim:{side}"))) for side in "wh")
        applied = (w, h) if w and h else applied
        regions += filter(None, (_region(item, applied) for item in _items(inner)))
    return Sidecar(root, tuple(regions), applied, (root.get(TOOL) or "").startswith(TOOLKIT))


def packet(regions: Sequence[Region], frame: Frame, before: Sidecar | None = None) -> bytes:
    """Return a sidecar with these face regions; all else is as it was `before`.

    Regions of before stay where none of these is the same face, or that are no faces.
    """
    if before is None:
        root = ET.Element(_q("x:xmpmeta"), {TOOL: TOOLKIT})
        ET.SubElement(root, RDF)
    else:
        root = before.root
    rdf = root if root.tag == RDF else root.find(RDF)
    assert rdf is not None  # `parse` saw to it
    kept, persons = _taken_out(rdf, regions, frame, before)
    about = next((d.get(ABOUT, "") for d in rdf.findall(DESCRIPTION)), "")
    own = ET.SubElement(rdf, DESCRIPTION, {ABOUT: about})
    info = ET.SubElement(own, REGIONS, {PARSE_TYPE: "Resource"})
    width, height = frame.stored
    size = {_q("stDim:w"): str(width), _q("stDim:h"): str(height), _q("stDim:unit"): "pixel"}
    ET.SubElement(info, APPLIED, size)
    bag = ET.SubElement(ET.SubElement(info, REGION_LIST), BAG)
    bag.extend(kept)
    for one in regions:
        item = ET.SubElement(ET.SubElement(bag, LI), DESCRIPTION, {NAME: one.name, TYPE: "Face"})
        sides = (("x", one.x), ("y", one.y), ("w", one.w), ("h", one.h))
        area = {_q(f"stArea:{side}"): f"{value:.6f}" for side, value in sides}
        ET.SubElement(item, AREA, {**area, _q("stArea:unit"): "normalized"})
    names = dict.fromkeys([*persons, *(one.name for one in regions)])
    bag = ET.SubElement(ET.SubElement(own, PERSONS), BAG)
    for name in names:
        ET.SubElement(bag, LI).text = name
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode")
    head = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    return f'{head}\n{body}\n<?xpacket end="w"?>\n'.encode()


def _taken_out(
    rdf: ET.Element, regions: Sequence[Region], frame: Frame, before: Sidecar | None
) -> tuple[list[ET.Element], list[str]]:
    """Take regions and persons out, and return those to be kept."""
    kept: list[ET.Element] = []
    persons: list[str] = []
    meant = frame.seen_by(before.applied) if before is not None else None
    for description in rdf.findall(DESCRIPTION):
        for whole in description.findall(REGIONS):
            for item in _items(_struct(whole)):
                region = _region(item, before.applied if before else None)
                if region is None:
                    kept.append(item)
                elif meant is not None:
                    box = meant.box(region)
                    if not matched([box], [frame.box(one) for one in regions]):
                        kept.append(_restated(item, frame.region(region.name, box)))
            description.remove(whole)
        for whole in description.findall(PERSONS):
            persons += [item.text or "" for item in whole.iter(LI)]
            description.remove(whole)
    return kept, [] if before is not None and before.ours else persons


def _restated(item: ET.Element, region: Region | None) -> ET.Element:
    """Return a region with its area as shares of the stored image."""
    area = next((value for key, value in _struct(item).items() if key == AREA), None)
    if region is not None and isinstance(area, ET.Element):
        area.clear()
        sides = (("x", region.x), ("y", region.y), ("w", region.w), ("h", region.h))
        area.attrib.update({_q(f"stArea:{side}"): f"{value:.6f}" for side, value in sides})
        area.set(_q("stArea:unit"), "normalized")
    return item


def _found(root: ET.Element, tag: str) -> Iterable[ET.Element]:
    rdf = root if root.tag == RDF else root.find(RDF)
    return [] if rdf is None else [e for d in rdf.findall(DESCRIPTION) for e in d.findall(tag)]


def _items(inner: dict[str, ET.Element | str]) -> list[ET.Element]:
    """Return the items of the list of regions."""
    whole = inner.get(REGION_LIST)
    if not isinstance(whole, ET.Element):
        return []
    return [item for bag in whole for item in bag.findall(LI)]


def _struct(element: ET.Element) -> dict[str, ET.Element | str]:
    """Return the fields of a structure, in whichever of RDF's ways it is written."""
    fields: dict[str, ET.Element | str] = dict(element.attrib)
    for child in element:
        if child.tag == DESCRIPTION:
            fields |= _struct(child)
        else:
            plain = not len(child) and not child.attrib
            fields[child.tag] = (child.text or "") if plain else child
    return fields


def _region(item: ET.Element, applied: tuple[float, float] | None) -> Region | None:
    """Return the region of an item; None if it is no face, or has no name or area."""
    fields = _struct(item)
    name, kind, area = _text(fields.get(NAME)), _text(fields.get(TYPE)), fields.get(AREA)
    if not name.strip() or not isinstance(area, ET.Element):
        return None
    if kind not in ("", "Face"):
        return None
    sides = _struct(area)
    x, y, w, h = (_number(sides.get(_q(f"stArea:{side}"))) for side in "xywh")
    if sides.get(_q("stArea:unit")) == "pixel" and applied is not None:
        x, w = x / applied[0], w / applied[0]
        y, h = y / applied[1], h / applied[1]
    if not (0 <= x <= 1 and 0 <= y <= 1 and 0 < w <= 1 and 0 < h <= 1):
        return None
    return Region(name.strip(), x, y, w, h)


def _text(value: ET.Element | str | None) -> str:
    """Return the text of a field, with or without a language of its own."""
    return (value.text or "") if isinstance(value, ET.Element) else value or ""


def _number(value: object) -> float:
    """Return a number of XMP, 0 for what is none."""
    try:
        return float(value) if isinstance(value, str) else 0.0
    except ValueError:
        return 0.0
