"""The curves of a model's page."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.arrays import Floats64
from pipeline.training.train import TEST
from pipeline.web.curves import Axis, Curves, Series, figure
from pipeline.web.pages import plural

POINTS = 300
FIGURES = {"accuracy": "accuracy of pairs", "auc": "area under the ROC curve",
           "teacher_cosine": "cosine to the teacher",
           "teacher_correlation": "agreement with the teacher"}  # fmt: skip


def reliability(rows: Sequence[Mapping[str, Any]]) -> Curves | None:
    """Return how often names are right by how probable the model says they are."""
    if not rows:
        return None
    said, right = (np.array([100 * row[name] for row in rows]) for name in ("probability", "share"))
    ends = np.array([0.0, 100.0])
    return Curves(
        "Is the probability true?",
        Axis("probability that the model gives, %", 0, 100),
        Axis("names that are right, %", 0, 100),
        [
            Series("as good as it claims", ends, ends, "guide"),
            Series(
                "measured, in bins; more faces, larger dots",
                said,
                right,
                "dots",
                [row["pairs"] for row in rows],
            ),
        ],
        f"Share of right names in {len(rows)} bins of probability; on the diagonal the "
        "probability is true",
    )


def open_set(told: pa.Table, card: Mapping[str, Any]) -> Curves | None:
    """Return the known faces that are detected by the strangers that pass; None without them."""
    known = np.asarray(told["part"]) == TEST
    probability, right = np.asarray(told["probability"]), np.asarray(told["right"])
    strangers = np.sort(probability[~known])
    found = np.sort(probability[known & right])
    if not len(strangers) or not known.any():
        return None
    # as many strangers pass as have this probability or more; none above the highest
    own = card["acceptance"]["threshold"]
    at = np.unique([*strangers, np.nextafter(strangers[-1], np.inf), own])
    alarms = 100 * (1 - np.searchsorted(strangers, at) / len(strangers))
    detected = 100 * (1 - np.searchsorted(found, at) / max(1, len(found)))
    detected *= len(found) / known.sum()
    measured = card["measures"]["open_set"]
    mark = (100 * measured["false_alarms"], 100 * measured["detected"])
    least = 10.0 ** np.floor(np.log10(100 / len(strangers)))
    low = min(90.0, 10 * np.floor(min(detected.min(), mark[1]) / 10))
    some = _some(len(at))
    return Curves(
        "Known people found, and strangers taken for somebody",
        Axis("strangers taken for somebody, % (left edge: none)", min(least, 10.0), 100, log=True),
        Axis("known people detected, %", low, 100),
        [
            Series("any threshold", alarms[some][::-1], detected[some][::-1]),
            Series("the model's threshold", np.array([mark[0]]), np.array([mark[1]]), "mark"),
        ],
        f"At the model's threshold {figure(mark[1])} % of known faces are detected and "
        f"{figure(mark[0])} % of strangers are taken for somebody",
    )


def loss(history: pa.Table | None) -> Curves | None:
    """Return the loss by step, means of neighbouring steps where there are many."""
    if history is None or not len(history):
        return None
    steps, values = (np.asarray(history[name], np.float64) for name in ("step", "loss"))
    finite = np.isfinite(values)
    steps, values = _thinned(steps[finite]), _thinned(values[finite])
    if len(steps) < 2:
        return None
    high = float(values.max())
    each = -(-len(history) // POINTS)
    return Curves(
        "Loss by step",
        Axis("step", float(steps[0]), float(steps[-1])),
        Axis("loss", min(0.0, float(values.min())), high if high > 0 else 1.0),
        [Series(f"mean of {each} steps" if each > 1 else "each step", steps, values)],
        f"Loss of {plural(len(history), 'step')}: {figure(values[0])} at first, "
        f"{figure(values[-1])} in the end",
    )


def epochs(network: Mapping[str, Any] | None) -> Curves | None:
    """Return the figures of held-out people by epoch, the best one marked."""
    rows = network["epochs"] if network else []
    names = [name for name in FIGURES if rows and all(name in row for row in rows)]
    if not network or not names or len(rows) < 2:
        return None
    at = np.array([float(row["epoch"]) for row in rows])
    values = {name: np.array([100.0 * row[name] for row in rows]) for name in names}
    best = next((k for k, row in enumerate(rows) if row["epoch"] == network["best_epoch"]), None)
    series = [Series(FIGURES[name], at, values[name], "dots") for name in names]
    if best is not None:
        point = np.array([values[name][best] for name in names])
        series.append(Series("the best epoch", np.full(len(names), at[best]), point, "mark"))
    low = min(90.0, 10 * np.floor(min(map(np.min, values.values())) / 10))
    return Curves(
        "People held out, by epoch",
        Axis("epoch", float(at[0]), float(at[-1])),
        Axis("figure, %", low, 100),
        series,
        f"Figures of {plural(len(rows), 'epoch')}; the best is {network['best_epoch']}",
    )


def _some(length: int) -> Any:
    return np.unique(np.linspace(0, length - 1, min(length, POINTS)).astype(int))


def _thinned(values: Floats64) -> Floats64:
    """Return means of neighbours, `POINTS` of them at most."""
    parts = np.array_split(values, min(len(values), POINTS)) if len(values) else []
    return np.array([part.mean() for part in parts])
