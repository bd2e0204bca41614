"""The first page: what was indexed, in numbers and charts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.web.charts import histogram
from pipeline.web.pages import count, size
from pipeline.web.report.copies import Copies
from pipeline.web.report.faces import Faces
from pipeline.web.report.images import Failure, Indexed
from pipeline.web.report.names import short_name
from pipeline.web.report.people import ShownPeople
from pipeline.web.report.tiles import Tile

COVERS = 12


@dataclass(frozen=True)
class Overview:
    """What the first page is made of.

    Attributes:
        shown: the people; None before clustering.
        copies: the duplicates; None before `facelake dedupe` ran.
        tiles: pictures of people, or of faces.
    """

    indexed: Indexed
    faces: Faces
    shown: ShownPeople | None
    copies: Copies | None
    tiles: Sequence[Tile]

    def values(self, lake: str) -> dict[str, Any]:
        """Return what the template needs."""
        hints = []
        if self.shown is None:
            hints.append(("Group faces into people", f"facelake cluster {lake}"))
        if self.copies is None:
            hints.append(("Look for duplicates", f"facelake dedupe {lake}"))
        measures = self.faces.measures
        charts = [
            *self.indexed.charts,
            histogram("Faces by detector score", "faces", measures["score"]),
            histogram("Faces by size, pixels", "faces", measures["size_px"], log=True),
            histogram("Faces by quality", "faces", measures["quality"]),
            histogram("Faces by sharpness", "faces", measures["sharpness"], log=True),
        ]
        return {
            "indexed": _short(self.indexed),
            "numbers": self.numbers(),
            "tiles": self.tiles,
            "tiles_title": "The people seen most" if self.shown else "Some of the faces",
            "more": self.shown is not None,
            "hints": hints,
            "charts": [chart for chart in charts if chart],
        }

    def numbers(self) -> list[tuple[str, str]]:
        """Return what is counted, in words and figures."""
        indexed = self.indexed
        numbers = [
            ("photos", count(indexed.images)),
            ("with a face", count(indexed.with_face)),
            ("faces", count(self.faces.measures["score"].size)),
            ("size of the photos", size(indexed.bytes)),
            ("could not be used", count(indexed.failed)),
            ("with a date", count(indexed.dated)),
        ]
        if indexed.dated:
            numbers += [("first date", indexed.first), ("last date", indexed.last)]
        if self.shown:
            people = count(self.shown.persons_in_all)
            numbers.append(("people seen twice or more, or named", people))
            numbers.append(("people seen once", count(self.shown.once_in_all)))
        if self.copies:
            numbers.append(("groups of duplicates", count(self.copies.groups_in_all)))
        return numbers


def _short(indexed: Indexed) -> Indexed:
    """Return the same with short names in the examples of errors."""
    failures = [
        Failure(one.code, one.count,
                [(short_name(uri, indexed.folder), text) for uri, text in one.examples])
        for one in indexed.failures
    ]  # fmt: skip
    return replace(indexed, failures=failures)
