"""The first page: what was indexed, in numbers and charts."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipeline.models.cards.card import ModelCard
from pipeline.web.pages import count, size
from pipeline.web.report.charts import histogram
from pipeline.web.report.copies import Copies
from pipeline.web.report.faces import Faces
from pipeline.web.report.images import Failure, Indexed
from pipeline.web.report.names import short_name
from pipeline.web.report.people import Shown
from pipeline.web.report.tiles import Tile

COVERS = 12


def overview(
    indexed: Indexed,
    faces: Faces,
    shown: Shown | None,
    copies: Copies | None,
    tiles: Sequence[Tile],
    cards: Sequence[tuple[str, ModelCard | None]],
    lake: str,
) -> dict[str, Any]:
    """Return what the template of the first page needs."""
    hints = []
    if shown is None:
        hints.append(("Group faces into people", f"facelake cluster {lake}"))
    if copies is None:
        hints.append(("Look for duplicates", f"facelake dedupe {lake}"))
    measures = faces.measures
    charts = [
        *indexed.charts,
        histogram("Faces by detector score", "faces", measures["score"]),
        histogram("Faces by size, pixels", "faces", measures["size_px"], log=True),
        histogram("Faces by quality", "faces", measures["quality"]),
        histogram("Faces by sharpness", "faces", measures["sharpness"], log=True),
    ]
    return {
        "indexed": _short(indexed),
        "numbers": _numbers(indexed, measures["score"].size, shown, copies),
        "tiles": tiles,
        "tiles_title": "The people seen most" if shown else "Some of the faces",
        "more": shown is not None,
        "hints": hints,
        "charts": [chart for chart in charts if chart],
        "cards": cards,
    }


def _numbers(
    indexed: Indexed, faces: int, shown: Shown | None, copies: Copies | None
) -> list[tuple[str, str]]:
    numbers = [
        ("photos", count(indexed.images)),
        ("with a face", count(indexed.with_face)),
        ("faces", count(faces)),
        ("size of the photos", size(indexed.bytes)),
        ("could not be used", count(indexed.failed)),
        ("with a date", count(indexed.dated)),
    ]
    if indexed.dated:
        numbers += [("first date", indexed.first), ("last date", indexed.last)]
    if shown:
        numbers.append(("people seen twice or more, or named", count(shown.persons_in_all)))
        numbers.append(("people seen once", count(shown.once_in_all)))
    if copies:
        numbers.append(("groups of duplicates", count(copies.groups_in_all)))
    return numbers


def _short(indexed: Indexed) -> Indexed:
    """Return the same with short names in the examples of errors."""
    failures = [
        Failure(one.code, one.count,
                [(short_name(uri, indexed.folder), text) for uri, text in one.examples])
        for one in indexed.failures
    ]  # fmt: skip
    return replace(indexed, failures=failures)
