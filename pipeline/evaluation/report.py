"""What an evaluation gives: measures for programs; tables, notes and plots for people."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.evaluation.plots import Plot
from pipeline.lake.store import LakeStore

Cell = str | float | None  # a float is a rate or score, an int counts


@dataclass(frozen=True)
class Table:
    """A table to print; without rows it is left out."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Report:
    """Everything that was measured.

    Attributes:
        result: all of it in plain values, as JSON has it: measures by name, `intervals` by the
            same names; None is what cannot be told.
        meanings: what the main measures are, in order.
        notes: lines that people should read.
        tables: what else is worth printing.
        plots: draws the plots, by the name of the file.
    """

    result: Mapping[str, Any]
    meanings: Mapping[str, str]
    notes: Sequence[str]
    tables: Sequence[Table]
    plots: Callable[[], Mapping[str, Plot]] = field(repr=False)


def result_of(lake: LakeStore, subject: str, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was measured as plain values, headed by what it was measured of."""
    models = lake.existing_models()
    about = {
        "subject": subject,
        "lake": lake.folder.url,
        "detector": models.detector,
        "embedder": models.embedder,
    }
    return {name: plain(value) for name, value in (about | dict(measured)).items()}


def plain(value: Any) -> Any:
    """Return a value as JSON has it: what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def counted(count: int, what: str, always: bool = False) -> list[str]:
    """Return a note of how many there are; none where there are none."""
    return [f"{count:,} {what}"] if count or always else []
