"""Past runs from their manifests: when, how long, how fast; and the models of the lake."""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.lake.store import LakeStore
from pipeline.models.cards.card import ModelCard, card_of

logger = logging.getLogger(__name__)

RUNS = 50
STARTED = re.compile("[0-9]{8}T[0-9]{6}")
STAGE = (
    ("workers", "workers", ""),
    ("images", "photos", ""),
    ("seconds", "seconds", ""),
    ("cpu_seconds", "CPU seconds", ""),
    ("busy", "busy", "%"),
    ("images_per_worker_second", "photos/s a worker", "."),
)


@dataclass(frozen=True)
class RunSummary:
    """One run as the page lists it; texts are empty where its manifest says nothing.

    Attributes:
        stages: rows of texts by the name of the stage, columns as in `STAGE`.
        phases: name and seconds.
        notes: further lines.
    """

    run_id: str
    command: str
    status: str
    seconds: str
    images: str
    faces: str
    rate: str
    stages: Sequence[tuple[str, Sequence[str]]]
    phases: Sequence[tuple[str, str]]
    notes: Sequence[str]


def runs(lake: LakeStore) -> tuple[list[RunSummary], int]:
    """Return the last readable runs, the latest first, and the number of all runs."""
    folder = lake.folder.child("runs")
    names = sorted((n for n in folder.files() if n.endswith(".json")), key=_when, reverse=True)
    summaries = []
    for name in names[:RUNS]:
        try:
            summaries.append(_summary(json.loads(folder.read(name)), name))
        except (ValueError, AttributeError, TypeError):
            logger.warning("%s/%s cannot be read and was passed over", folder.url, name)
    return summaries, len(names)


def _when(name: str) -> tuple[str, str]:
    """Return the time in the name of a manifest, which may follow the kind of the run."""
    match = STARTED.search(name)
    return (match[0] if match else "", name)


def _summary(about: Mapping[str, Any], name: str) -> RunSummary:
    figures = about.get("performance") or {}
    stages = [
        (str(stage), [_figure(one.get(key), kind) for key, _, kind in STAGE])
        for stage, one in (figures.get("stages") or {}).items()
    ]
    notes = []
    if figures.get("bottleneck"):
        busy = _figure(figures.get("cores_busy"), "%")
        notes.append(f"held up by {figures['bottleneck']}; cores busy {busy or 'not known'}")
    seconds, images = about.get("seconds"), about.get("images")
    rate = images / seconds if _number(images) and _number(seconds) and seconds else None
    notes += [str(text) for text in [*_list(about, "damaged"), *_list(about, "notices")]]
    passed_over = about.get("passed_over") or {}
    notes += [f"passed over: {count} {why}" for why, count in passed_over.items()]
    return RunSummary(
        run_id=str(about.get("run_id", name.removesuffix(".json"))),
        command=str(about.get("command", "index")),
        status=str(about.get("status", "")),
        seconds=_figure(seconds, "."),
        images=_figure(images),
        faces=_figure(about.get("faces")),
        rate=_figure(rate, "."),
        stages=stages,
        phases=[(str(k), _figure(v, ".")) for k, v in (figures.get("phases") or {}).items()],
        notes=notes,
    )


def cards(lake: LakeStore) -> list[tuple[str, ModelCard | None]]:
    """Return the models of a lake with their cards, None for those that Facelake does not know."""
    models = lake.models()
    names = [models.detector, models.embedder] if models else []
    return [(name, card_of(name)) for name in names]


def _list(about: Mapping[str, Any], key: str) -> list[Any]:
    value = about.get(key)
    return value if isinstance(value, list) else []


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _figure(value: Any, kind: str = "") -> str:
    """Return a number as people read it; "%": a share, ".": with one decimal."""
    if not _number(value):
        return ""
    if kind == "%":
        return f"{value:.0%}"
    return f"{value:,.1f}" if kind == "." or isinstance(value, float) else f"{value:,}"
