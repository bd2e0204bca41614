"""What runs left behind about themselves: when, how long, how fast, by which models."""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.lake.store import LakeStore
from pipeline.models.cards.card import ModelCard, known_cards

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
class Past:
    """One run as the page lists it; texts are empty where the run did not say.

    Attributes:
        stages: rows of texts by the name of the stage, columns as in `STAGE`.
        phases: name and seconds.
        told: further lines.
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
    told: Sequence[str]


def runs(lake: LakeStore) -> tuple[list[Past], int]:
    """Return the last runs, the latest first, and how many there are; unreadable ones go."""
    folder = lake.folder.child("runs")
    names = sorted((n for n in folder.files() if n.endswith(".json")), key=_when, reverse=True)
    found = []
    for name in names[:RUNS]:
        try:
            found.append(_past(json.loads(folder.read(name)), name))
        except (ValueError, AttributeError, TypeError):
            logger.warning("%s/%s cannot be read and was passed over", folder.url, name)
    return found, len(names)


def _when(name: str) -> tuple[str, str]:
    """Return when a run began, which its name tells after what kind of run it is."""
    found = STARTED.search(name)
    return (found[0] if found else "", name)


def _past(about: Mapping[str, Any], name: str) -> Past:
    figures = about.get("performance") or {}
    stages = [
        (str(stage), [_figure(one.get(key), kind) for key, _, kind in STAGE])
        for stage, one in (figures.get("stages") or {}).items()
    ]
    told = []
    if figures.get("bottleneck"):
        busy = _figure(figures.get("cores_busy"), "%")
        told.append(f"held up by {figures['bottleneck']}; cores busy {busy or 'not known'}")
    seconds, images = about.get("seconds"), about.get("images")
    rate = images / seconds if _number(images) and _number(seconds) and seconds else None
    told += [str(text) for text in [*_list(about, "damaged"), *_list(about, "notices")]]
    passed_over = about.get("passed_over") or {}
    told += [f"passed over: {count} {why}" for why, count in passed_over.items()]
    return Past(
        run_id=str(about.get("run_id", name.removesuffix(".json"))),
        command=str(about.get("command", "index")),
        status=str(about.get("status", "")),
        seconds=_figure(seconds, "."),
        images=_figure(images),
        faces=_figure(about.get("faces")),
        rate=_figure(rate, "."),
        stages=stages,
        phases=[(str(k), _figure(v, ".")) for k, v in (figures.get("phases") or {}).items()],
        told=told,
    )


def cards(lake: LakeStore) -> list[tuple[str, ModelCard | None]]:
    """Return the models of a lake with their cards, None for those that Facelake does not know."""
    models = lake.models()
    names = [models.detector, models.embedder] if models else []
    return [(name, known_cards().get(name.split("@")[0])) for name in names]


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
