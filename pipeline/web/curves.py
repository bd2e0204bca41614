"""Curves: points of several series in one picture, which templates draw as SVG and as a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pipeline.arrays import Floats64
from pipeline.web.pages import plural

# The field that points lie in, in units of the SVG, and how much is around it.
WIDTH, HEIGHT = 320.0, 190.0
LEFT, TOP, RIGHT, BOTTOM = 46.0, 10.0, 14.0, 44.0
TICKS = 5
LISTED = 20


@dataclass(frozen=True)
class Axis:
    """An axis: what the text at it says, its ends, and whether it is one of logarithms."""

    label: str
    low: float
    high: float
    log: bool = False

    def place(self, values: Floats64) -> Floats64:
        """Return where values lie, from 0 to 1; what is beyond an end lies at it."""
        inside = np.clip(values, self.low, self.high)
        low, high = self.low, self.high
        if self.log:
            inside, low, high = np.log10(inside), math.log10(low), math.log10(high)
        return np.asarray((inside - low) / (high - low))

    def ticks(self) -> list[tuple[float, str]]:
        """Return where ticks lie, from 0 to 1, and their texts."""
        if self.log:
            ends = (math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high)))
            values = 10.0 ** np.arange(ends[0], ends[1] + 1, dtype=np.float64)
        else:
            rough = (self.high - self.low) / TICKS
            unit = 10.0 ** math.floor(math.log10(rough))
            step = unit * next(factor for factor in (1, 2, 5, 10) if factor * unit >= 0.999 * rough)
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            values = np.arange(first, last + 1, dtype=np.float64) * step
        return [(float(at), figure(value)) for at, value in
                zip(self.place(values), values, strict=True)]  # fmt: skip


@dataclass(frozen=True)
class Series:
    """Points [N] by what the legend says.

    Attributes:
        kind: line; dots, which are joined; mark, a few points alone; guide, a faint line to compare
            with, which is no data.
        faces: how many each point stands for, which makes it larger; empty: it is not known.
    """

    name: str
    x: Floats64
    y: Floats64
    kind: Literal["line", "dots", "mark", "guide"] = "line"
    faces: Sequence[int] = ()

    def rows(self) -> list[tuple[str, str]]:
        """Return some of the points as texts, evenly chosen, the last one among them."""
        some = np.unique(np.linspace(0, len(self.x) - 1, min(len(self.x), LISTED)).astype(int))
        notes = [f" ({plural(number, 'face')})" for number in self.faces] or [""] * len(self.x)
        return [(figure(self.x[k]), f"{figure(self.y[k])}{notes[k]}") for k in some.tolist()]

    def radii(self) -> list[float]:
        """Return how large the points are."""
        if not self.faces:
            return [5.0 if self.kind == "mark" else 3.0] * len(self.x)
        return [round(2.5 + 4 * math.sqrt(number / max(self.faces)), 1) for number in self.faces]


@dataclass(frozen=True)
class Curves:
    """A picture of curves.

    Attributes:
        title: what it shows.
        x, y: the axes.
        series: in the order of the legend.
        text: what is to be seen, in words, for those who do not see it.
    """

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    text: str
    field: tuple[float, float, float, float] = field(default=(LEFT, TOP, WIDTH, HEIGHT))

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the whole."""
        return LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM

    def points(self, one: Series) -> list[tuple[str, str]]:
        """Return where the points of a series lie, as texts."""
        x = LEFT + WIDTH * self.x.place(one.x)
        y = TOP + HEIGHT * (1 - self.y.place(one.y))
        return [(f"{a:.1f}", f"{b:.1f}") for a, b in zip(x, y, strict=True)]

    def x_ticks(self) -> list[tuple[float, str]]:
        """Return place and text of the ticks below."""
        return [(round(LEFT + WIDTH * at, 1), text) for at, text in self.x.ticks()]

    def y_ticks(self) -> list[tuple[float, str]]:
        """Return place and text of the ticks on the left."""
        return [(round(TOP + HEIGHT * (1 - at), 1), text) for at, text in self.y.ticks()]


def figure(value: float) -> str:
    """Return a number as short as it may be: four figures."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
