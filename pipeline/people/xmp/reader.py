"""Reads the named face regions of XMP sidecars, and nothing else of them.

They are MWG regions, which digiKam, Lightroom, Immich and others write for faces with names, and
Microsoft's, of Windows' photo gallery and Picasa.
"""

import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from pipeline.errors import ConfigError
from pipeline.people.xmp.regions import Region

TOOLKIT = "Facelake"
LARGEST_BYTES = 16 << 20
# Regions lie about ten levels deep. Python's recursion ends at a thousand, and a file of 200 KB
# can have many thousands.
DEEPEST = 100
# More faces than any photo shows; each is compared with all others.
MOST_FACES = 1_000
SPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "facelake": "urn:facelake:xmp:",
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


def q(name: str) -> str:
    """Return a name as ElementTree has it: the address of the space instead of its prefix."""
    prefix, _, local = name.partition(":")
    return f"{{{SPACES[prefix]}}}{local}"


RDF, DESCRIPTION, LI, BAG = (q(f"rdf:{name}") for name in ("RDF", "Description", "li", "Bag"))
PARSE_TYPE, ABOUT = q("rdf:parseType"), q("rdf:about")
REGIONS, REGION_LIST = q("mwg-rs:Regions"), q("mwg-rs:RegionList")
APPLIED, AREA = q("mwg-rs:AppliedToDimensions"), q("mwg-rs:Area")
NAME, TYPE = q("mwg-rs:Name"), q("mwg-rs:Type")
RECTANGLE = q("MPReg:Rectangle")
PERSONS, TOOL = q("Iptc4xmpExt:PersonInImage"), q("x:xmptk")
# Marks of what Facelake wrote, see `region_mark`: what has none is somebody else's.
WRITTEN = q("facelake:Written")


@dataclass(frozen=True)
class Sidecar:
    """What a sidecar says of faces.

    Attributes:
        root: the whole of it.
        regions: faces with a name.
        foreign: those of them that Facelake did not write, or that were changed since.
        any_foreign: whether any region is not Facelake's, those that are no faces included.
        applied: width and height of the image that they apply to; None if it does not say.
        made_by_facelake: whether the file says so; other programs may have added to it since.
        written: marks of the regions and persons that Facelake wrote.
        unnamed: how many faces have no name.
    """

    root: ET.Element
    regions: tuple[Region, ...]
    foreign: tuple[Region, ...]
    any_foreign: bool
    applied: tuple[float, float] | None
    made_by_facelake: bool
    written: frozenset[str]
    unnamed: int = 0


class _Builder(ET.TreeBuilder):
    """Builds no tree of a document that declares entities or is nested beyond measure.

    The ones can grow without end, the others cannot be walked.
    """

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> ET.Element:
        """Open an element, unless it lies too deep."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise ConfigError(f"it is nested more than {DEEPEST} levels deep, which no XMP is")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> ET.Element:
        """Close an element."""
        self._depth -= 1
        return super().end(tag)

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
    faces: list[Region | None] = []
    unnamed = 0
    for element in _found(root, REGIONS):
        fields = struct(element)
        dimensions = fields.get(APPLIED)
        size = struct(dimensions) if isinstance(dimensions, ET.Element) else {}
        w, h = (_number(size.get(q(f"stDim:{side}"))) for side in "wh")
        applied = (w, h) if w and h else applied
        faces += [face_of(item, applied) for item in items(fields)]
        if len(faces) > MOST_FACES:
            raise _too_many_faces()
        unnamed += sum(is_unnamed(item) for item in items(fields))
    written = {li.text or "" for element in _found(root, WRITTEN) for li in element.iter(LI)}
    regions = tuple(region for region in faces if region is not None)
    foreign = tuple(region for region in regions if region_mark(region) not in written)
    others = list(islice(microsoft_regions(root), MOST_FACES + 1))
    if len(others) > MOST_FACES:
        raise _too_many_faces()
    more = [one for one in others if not any(map(one.is_like, regions))]
    return Sidecar(
        root, (*regions, *more), foreign,
        any_foreign=bool(foreign) or None in faces, applied=applied,
        made_by_facelake=(root.get(TOOL) or "").startswith(TOOLKIT), written=frozenset(written),
        unnamed=unnamed,
    )  # fmt: skip


def _too_many_faces() -> ConfigError:
    return ConfigError(f"it has more than {MOST_FACES:,} regions, which no photo shows")


def region_mark(region: Region) -> str:
    """Return what tells that a region is as Facelake wrote it: a hash of its name and place."""
    return _mark(region.name, *(f"{v:.6f}" for v in (region.x, region.y, region.w, region.h)))


def person_mark(name: str) -> str:
    """Return what tells that Facelake listed a person: a hash of the name."""
    return _mark(name)


def _mark(*parts: str) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()


def _found(root: ET.Element, tag: str) -> Iterable[ET.Element]:
    rdf = root if root.tag == RDF else root.find(RDF)
    return [] if rdf is None else [e for d in rdf.findall(DESCRIPTION) for e in d.findall(tag)]


def items(fields: dict[str, ET.Element | str]) -> list[ET.Element]:
    """Return the items of the list of regions."""
    element = fields.get(REGION_LIST)
    if not isinstance(element, ET.Element):
        return []
    return [item for bag in element for item in bag.findall(LI)]


def struct(element: ET.Element) -> dict[str, ET.Element | str]:
    """Return the fields of a structure, in whichever of RDF's ways it is written."""
    fields: dict[str, ET.Element | str] = dict(element.attrib)
    for child in element:
        if child.tag == DESCRIPTION:
            fields |= struct(child)
        else:
            plain = not len(child) and not child.attrib
            fields[child.tag] = (child.text or "") if plain else child
    return fields


def microsoft_regions(root: ET.Element) -> Iterator[Region]:
    """Yield the faces of Microsoft's schema for people tagging, which Windows and Picasa wrote.

    A rectangle is left, top, width and height as shares of the stored image
    (https://learn.microsoft.com/windows/win32/wic/-wic-people-tagging).
    """
    for element in _found(root, q("MP:RegionInfo")):
        listed = struct(element).get(q("MPRI:Regions"))
        for item in listed.iter(LI) if isinstance(listed, ET.Element) else ():
            fields = struct(item)
            name = _text(fields.get(q("MPReg:PersonDisplayName"))).strip()
            sides = [_number(one.strip()) for one in _text(fields.get(RECTANGLE)).split(",")]
            if name and len(sides) == 4:
                x, y, w, h = sides
                region = Region(name, x + w / 2, y + h / 2, w, h)
                if region.is_inside():
                    yield region


def face_of(item: ET.Element, applied: tuple[float, float] | None) -> Region | None:
    """Return the region of an item; None if it is no face, or has no name or area."""
    fields = struct(item)
    name, kind = _text(fields.get(NAME)).strip(), _text(fields.get(TYPE))
    return region_of(item, applied, name) if name and kind in ("", "Face") else None


def is_unnamed(item: ET.Element) -> bool:
    """Return whether an item is a face that says not whose: another detector's, not a person's."""
    fields = struct(item)
    return _text(fields.get(TYPE)) == "Face" and not _text(fields.get(NAME)).strip()


def region_of(
    item: ET.Element, applied: tuple[float, float] | None, name: str = ""
) -> Region | None:
    """Return the region of an item, face or not; None if it has no area, or one outside."""
    area = struct(item).get(AREA)
    if not isinstance(area, ET.Element):
        return None
    sides = struct(area)
    x, y, w, h = (_number(sides.get(q(f"stArea:{side}"))) for side in "xywh")
    if sides.get(q("stArea:unit")) == "pixel" and applied is not None:
        x, w = x / applied[0], w / applied[0]
        y, h = y / applied[1], h / applied[1]
    region = Region(name, x, y, w, h)
    return region if region.is_inside() else None


def _text(value: ET.Element | str | None) -> str:
    """Return the text of a field, with or without a language of its own."""
    return (value.text or "") if isinstance(value, ET.Element) else value or ""


def _number(value: object) -> float:
    """Return a number of XMP, 0 for what is none."""
    try:
        return float(value) if isinstance(value, str) else 0.0
    except ValueError:
        return 0.0
