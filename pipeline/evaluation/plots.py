"""Plots of what was measured, drawn with matplotlib where it is installed (extra `plots`)."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.arrays import Floats64
from pipeline.errors import needs_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by colour-blind eyes


@dataclass(frozen=True)
class Lines:
    """Curves in one plot: x and y by what the legend says.

    Attributes:
        log_x, log_y: whether the axis is one of logarithms.
        diagonal: whether y = x is drawn for comparison.
    """

    title: str
    x: str
    y: str
    curves: Mapping[str, tuple[Floats64, Floats64]]
    log_x: bool = False
    log_y: bool = False
    diagonal: bool = False


@dataclass(frozen=True)
class Histogram:
    """Distributions in one plot, by what the legend says, and thresholds as lines."""

    title: str
    x: str
    values: Mapping[str, Floats64]
    marks: Mapping[str, float]


@dataclass(frozen=True)
class Bars:
    """A value with an interval, or without, for each name."""

    title: str
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]


Plot = Lines | Histogram | Bars


def need_matplotlib() -> None:
    """Raise ConfigError unless matplotlib is there."""
    with needs_extra("plots", "Plots need", "or run without --plots"):
        import matplotlib  # noqa: F401  only whether it is there


def render(plot: Plot) -> dict[str, bytes]:
    """Return the plot as files by format; the same plot gives the same bytes.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    need_matplotlib()
    from matplotlib import rc_context

    files = {}
    # ids in SVG are random, and texts become outlines, unless these settings say otherwise
    with rc_context({"svg.hashsalt": "facelake", "svg.fonttype": "none", "font.size": 9}):
        figure = _figure(plot)
        for kind in FORMATS:
            out = io.BytesIO()
            metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {"Software": None}
            figure.savefig(out, format=kind, dpi=150, metadata=metadata)
            files[kind] = out.getvalue()
    return files


def _figure(plot: Plot) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.set_title(plot.title)
    axes.grid(visible=True, alpha=0.3)
    if isinstance(plot, Lines):
        _lines(axes, plot)
    elif isinstance(plot, Histogram):
        _histogram(axes, plot)
    else:
        _bars(axes, plot)
    return figure


def _lines(axes: Any, plot: Lines) -> None:
    # a logarithmic axis has no place for zero; without any error there is nothing else
    both = [((x > 0) | (not plot.log_x)) & ((y > 0) | (not plot.log_y))
            for x, y in plot.curves.values()]  # fmt: skip
    some = any(shown.any() for shown in both)
    log_x, log_y = plot.log_x and some, plot.log_y and some
    for (name, (x, y)), colour in zip(plot.curves.items(), _colours(plot.curves), strict=True):
        shown = ((x > 0) | (not log_x)) & ((y > 0) | (not log_y))
        marker = "." if len(x) <= 30 else None
        axes.plot(x[shown], y[shown], label=name, color=colour, marker=marker)
    if plot.diagonal:
        axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="as good as it claims")
    axes.set(
        xlabel=plot.x,
        ylabel=plot.y,
        xscale="log" if log_x else "linear",
        yscale="log" if log_y else "linear",
    )
    # "best" takes seconds for long curves, and matplotlib warns of it
    rising = any(len(y) and y[-1] > y[0] for _, y in plot.curves.values())
    axes.legend(loc="lower right" if rising else "upper right")


def _histogram(axes: Any, plot: Histogram) -> None:
    finite = {name: v[np.isfinite(v)] for name, v in plot.values.items()}
    every = np.concatenate([np.zeros(0), *finite.values()])
    edges = np.linspace(every.min(), every.max() + 1e-9, 61) if len(every) else [0.0, 1.0]
    for (name, values), colour in zip(finite.items(), _colours(finite), strict=True):
        axes.hist(values, edges, alpha=0.6, label=f"{name} ({len(values):,})", color=colour)
    for name, at in plot.marks.items():
        axes.axvline(at, color="black", linestyle="--", linewidth=1, label=f"{name} {at:.3f}")
    axes.set(xlabel=plot.x, ylabel="number")
    axes.legend(loc="upper right")


def _bars(axes: Any, plot: Bars) -> None:
    names = list(plot.values)
    heights = [plot.values[name] for name in names]
    axes.barh(names, heights, color=COLOURS[0], alpha=0.7)
    for k, name in enumerate(names):
        if name in plot.intervals:
            axes.plot(plot.intervals[name], [k, k], color="black", marker="|")
    axes.invert_yaxis()
    axes.set(xlim=(0, 1))


def _colours(names: Mapping[str, object]) -> Sequence[str]:
    return [COLOURS[k % len(COLOURS)] for k in range(len(names))]
