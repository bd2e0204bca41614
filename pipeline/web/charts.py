"""Small charts: counts by value or by date, which templates draw as SVG and as a table."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Ints

MOST_BARS = 80
BINS = 30


@dataclass(frozen=True)
class Bar:
    """A bar: place from the left, label, count, and height in percent of the highest bar."""

    at: int
    label: str
    count: int
    height: float


@dataclass(frozen=True)
class Chart:
    """Bars of one series.

    Attributes:
        title: what is counted.
        noun: of one thing counted, in the plural.
        bars: from left to right.
        axis: texts below, from left to right.
    """

    title: str
    noun: str
    bars: Sequence[Bar]
    axis: Sequence[str]

    @property
    def total(self) -> int:
        """How much there is in all."""
        return sum(bar.count for bar in self.bars)

    @property
    def text(self) -> str:
        """What the chart shows, in words."""
        most = max(self.bars, key=lambda bar: bar.count)
        return (
            f"{self.title}: {self.total:,} {self.noun}, {self.axis[0]} to {self.axis[-1]}; "
            f"most, {most.count:,}, at {most.label}"
        )


def histogram(
    title: str, noun: str, values: npt.NDArray[np.floating], log: bool = False
) -> Chart | None:
    """Return counts of values in equal steps, of logarithms if `log`; None without values.

    Values that are not known, and with `log` those of zero, are left out.
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    finite = finite[finite > 0] if log else finite
    if not len(finite):
        return None
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        edges = np.array([low, high])
        counts = np.array([len(finite)])
    else:
        edges = (np.geomspace if log else np.linspace)(low, high, BINS + 1)
        edges[0], edges[-1] = low, high  # geomspace is off by a rounding
        counts, _ = np.histogram(finite, edges)
    texts = [_figure(edge) for edge in edges]
    labels = [f"{a} to {b}" if a != b else a for a, b in itertools.pairwise(texts)]
    middle = [texts[len(texts) // 2]] if len(counts) > 1 else []
    axis = list(dict.fromkeys([texts[0], *middle, texts[-1]]))
    return _chart(title, noun, labels, counts, axis)


def timeline(title: str, noun: str, moments: npt.NDArray[np.datetime64]) -> Chart | None:
    """Return counts by day, month or year, whichever gives a readable number of bars."""
    dates = moments[~np.isnat(moments)]
    if not len(dates):
        return None
    days = int((dates.max() - dates.min()) / np.timedelta64(1, "D"))
    unit = "D" if days <= 60 else "M" if days <= 3 * 365 else "Y"
    at = dates.astype(f"datetime64[{unit}]").astype(np.int64)
    first, last = int(at.min()), int(at.max())
    if last - first < MOST_BARS:
        counts = np.bincount(at - first, minlength=last - first + 1)
        steps = np.arange(first, last + 1)
    else:  # clocks that were never set give years far apart: leave out empty ones
        steps, counts = np.unique(at, return_counts=True)
        latest = slice(-MOST_BARS, None)
        steps, counts = steps[latest], counts[latest]
    labels = [str(step) for step in steps.astype(f"datetime64[{unit}]")]
    return _chart(title, noun, labels, counts, list(dict.fromkeys([labels[0], labels[-1]])))


def _chart(title: str, noun: str, labels: Sequence[str], counts: Ints, axis: list[str]) -> Chart:
    most = max(1, int(counts.max()))
    bars = [
        # a bar that is not zero is always visible
        Bar(at, label, int(count), max(1.5, 100 * int(count) / most) if count else 0.0)
        for at, (label, count) in enumerate(zip(labels, counts, strict=True))
    ]
    return Chart(title, noun, bars, axis)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
