"""Plots and figures that `facelake evaluate` wrote into a folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.storage.folder import Folder

SIGNS = {".png": (b"\x89PNG\r\n", "image/png"), ".svg": (b"<", "image/svg+xml")}
LARGEST = 2_000_000
FILES = 40


@dataclass(frozen=True)
class Measured:
    """Plots and figures of evaluations.

    Attributes:
        plots: name, media type and bytes.
        results: name, and measures as (name, value, interval).
    """

    plots: Sequence[tuple[str, str, bytes]]
    results: Sequence[tuple[str, Sequence[tuple[str, str, str]]]]


def measured(folder: Folder) -> Measured | None:
    """Return the plots and JSON results of a folder; None if there are none."""
    files = {name: size for name, size in sorted(folder.files().items()) if size <= LARGEST}
    plots, results = [], []
    for name in list(files)[:FILES]:
        stem, dot, kind = name.rpartition(".")
        # Plots are written as PNG and SVG; an SVG is shown only if there is no PNG.
        if f".{kind}" in SIGNS and not (kind == "svg" and f"{stem}.png" in files):
            sign, media = SIGNS[f".{kind}"]
            data = folder.read(name)
            if data.lstrip().startswith(sign):
                plots.append((stem, media, data))
        elif dot and kind == "json":
            rows = _rows(folder.read(name))
            if rows:
                results.append((stem, rows))
    return Measured(plots, results) if plots or results else None


def _rows(data: bytes) -> list[tuple[str, str, str]]:
    try:
        result = json.loads(data)
    except ValueError:
        return []
    if not isinstance(result, Mapping):
        return []
    intervals = result.get("intervals")
    return [
        (str(name), _text(value), _interval(intervals, name))
        for name, value in result.items()
        # the path of the lake is private
        if isinstance(value, int | float | str) and name != "lake"
    ]


def _interval(intervals: Any, name: str) -> str:
    ends = intervals.get(name) if isinstance(intervals, Mapping) else None
    if isinstance(ends, list) and all(isinstance(one, int | float) for one in ends):
        return " to ".join(_text(one) for one in ends)
    return ""


def _text(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value}"
