"""Reads the orientation and the dates of an XMP packet (ISO 16684-1), and nothing else of it.

The packet is a stranger's XML: it is read as a stream, entities are refused, only properties of the
picture itself count (not those of what it was made from), and what comes before a fault is kept.
"""

from contextlib import suppress
from xml.parsers import expat

RDF_SPACE = "http://www.w3.org/1999/02/22-rdf-syntax-ns# "
RDF, DESCRIPTION = RDF_SPACE + "RDF", RDF_SPACE + "Description"
# The properties that are looked for, as expat names them, and their usual names.
SPACES = {
    "http://ns.adobe.com/tiff/1.0/": ("tiff", ("Orientation",)),
    "http://ns.adobe.com/exif/1.0/": ("exif", ("DateTimeOriginal", "DateTimeDigitized")),
    "http://ns.adobe.com/photoshop/1.0/": ("photoshop", ("DateCreated",)),
    "http://ns.adobe.com/xap/1.0/": ("xmp", ("CreateDate", "ModifyDate")),
}
NAMES = {
    f"{space} {name}": f"{prefix}:{name}"
    for space, (prefix, names) in SPACES.items()
    for name in names
}
# A packet fits 64 KB in a JPEG; elsewhere photo editors write histories of megabytes.
MAX_PACKET_BYTES = 16 << 20
MAX_TEXT_CHARACTERS = 100


class _RefusedError(Exception):
    """The packet holds what no honest one does."""


class _Reader:
    """Collects properties of the outermost `rdf:Description` elements."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self._path: list[str] = []
        self._rdf = 0  # depth of rdf:RDF, 0 outside
        self._open = ""  # the property whose text is being read
        self._text = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        depth = len(self._path)
        if not self._rdf and name == RDF:
            self._rdf = depth
        elif self._rdf and depth == self._rdf + 1 and name == DESCRIPTION:
            for key, value in attributes.items():
                if key in NAMES:
                    self._keep(NAMES[key], value)
        elif self._rdf and depth == self._rdf + 2 and self._path[-2] == DESCRIPTION:
            self._open, self._text = NAMES.get(name, ""), ""

    def end(self, _: str) -> None:
        if self._open and len(self._path) == self._rdf + 2:
            self._keep(self._open, self._text)
            self._open = ""
        self._path.pop()
        if len(self._path) < self._rdf:
            self._rdf = 0

    def text(self, part: str) -> None:
        if self._open and len(self._text) < MAX_TEXT_CHARACTERS:
            self._text += part

    def refuse(self, *_: object) -> None:
        raise _RefusedError

    def _keep(self, name: str, value: str) -> None:
        if value.strip():
            self.found.setdefault(name, value.strip()[:MAX_TEXT_CHARACTERS])


def read_xmp(packet: bytes) -> dict[str, str]:
    """Return values of `NAMES` by usual name (`tiff:Orientation`), as they stand in the packet."""
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.refuse
    # LookupError: an encoding that Python does not know
    with suppress(_RefusedError, expat.ExpatError, ValueError, LookupError):
        parser.Parse(packet[:MAX_PACKET_BYTES].strip(b"\0 \t\r\n"), True)
    return reader.found


def orientation_of(properties: dict[str, str]) -> int | None:
    """Return the EXIF orientation, 1 to 8, that XMP properties tell of; None when they do not."""
    text = properties.get("tiff:Orientation", "")
    return int(text) if len(text) == 1 and text in "12345678" else None
