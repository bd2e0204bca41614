"""What was trained and how good it is, in words and figures."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pipeline.training.settings import TrainConfig
from pipeline.web.pages import count, plural

HEADS = {
    "logistic": "multinomial logistic regression",
    "svm": "linear support vector machine, one person against the rest",
    "centroid": "the mean of each person",
    "knn": "the nearest faces of each person",
}
# Where it ran, not what came of it; these may tell how a disk is arranged.
PLACES = ("crops", "tensorboard")
CLOSED = {
    "accuracy": "Share of the faces of known people that get the right name. A threshold plays no "
    "part: the model must name somebody.",
    "macro_precision": "When the model says a name, how often it is right. Mean over the people.",
    "macro_recall": "Of a person's faces, how many get that name. Mean over the people.",
    "macro_f1": "Precision and recall in one number (harmonic mean). Mean over the people.",
}
OPEN = {
    "detected": "Share of the faces of known people that are accepted, and under the right name. "
    "The others are told to be nobody, or somebody else.",
    "taken_for_another": "Share of the faces of known people that are accepted under a wrong name.",
    "false_alarms": "Share of the faces of strangers that are taken for somebody.",
}

NOTHING = "\u2013"

Row = tuple[str, str, str, str]


def percent(share: float | None, digits: int = 2) -> str:
    """Return a share in percent; a dash where there is none."""
    return NOTHING if share is None else f"{100 * share:.{digits}f} %"


def between(low: float | None, high: float | None, digits: int = 2) -> str:
    """Return an interval in percent; a dash where there is none."""
    if low is None or high is None:
        return NOTHING
    return f"{100 * low:.{digits}f} to {100 * high:.{digits}f} %"


def facts(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was trained: terms, and what they are."""
    network = card.get("network")
    rows = [
        ("Head", f"{card['head']}: {HEADS.get(card['head'], 'of this version')}"),
        ("Network", _network(network) if network else "none was trained; the head learnt vectors "
         "that the lake had"),
        ("Embedder", f"{card['embedder']}, {card['dimension']:,} numbers a face"),
        ("Detector", card["detector"]),
        ("People", f"{card['classes']:,}"),
        ("Labels", card["labels"]),
        ("Faces", ", ".join(f"{number:,} {part}" for part, number in card["parts"].items())),
        ("Nobody below", f"probability {card['acceptance']['threshold']:.3f}"),
        ("Made", card["created"]),
        ("Versions", ", ".join(f"{name} {version}" for name, version in _versions(card))),
        ("Hash of the data", card["data_sha256"]),
    ]  # fmt: skip
    return [(term, str(value)) for term, value in rows]


def _network(network: Mapping[str, Any]) -> str:
    begun = f"begun with {_last(network['init'])}" if network["init"] else "drawn at random"
    taught = f", taught by {_last(network['teacher'])}" if network["teacher"] else ""
    epochs = plural(len(network["epochs"]), "epoch")
    return f"{network['name']}, {begun}{taught}; {epochs}, the best was {network['best_epoch']}"


def _versions(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    own = {**card["versions"], **(card.get("network") or {}).get("versions", {})}
    return [(name, str(version)) for name, version in own.items() if version]


def settings(card: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the options that differ from the defaults: name, value, default."""
    taken, usual = _flat(card["config"]), _flat(asdict(TrainConfig()))
    return [
        (f"--{name.replace('_', '-')}", _value(value), _value(usual.get(name)))
        for name, value in taken.items()
        if value != usual.get(name) and name not in PLACES
    ]


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in config.items() if name != "network"}
    return own | dict(config.get("network") or {})


def _value(value: Any) -> str:
    return "none" if value is None else _last(value)


def _last(value: Any) -> str:
    """Return a text, of a path what stands last: where it lies is nobody's business."""
    return str(value).rstrip("/").rpartition("/")[2]


def numbers(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the figures that stand on top."""
    closed, opened = card["measures"]["closed_set"], card["measures"]["open_set"]
    return [
        ("people learnt", count(card["classes"])),
        ("faces tested", count(closed["faces"])),
        ("named rightly", percent(closed["accuracy"])),
        ("F1, mean over people", percent(closed["macro_f1"])),
        ("detected at the threshold", percent(opened["detected"])),
        ("strangers taken for somebody", percent(opened["false_alarms"])),
    ]


def measures(card: Mapping[str, Any]) -> list[tuple[str, list[Row]]]:
    """Return measures of known people, and with strangers: name, value, interval, meaning."""
    named = (("Known people, no threshold", "closed_set", CLOSED),
             ("At the threshold, strangers among them", "open_set", OPEN))  # fmt: skip
    return [
        (title, [_measure(card["measures"][subject], *one) for one in meanings.items()])
        for title, subject, meanings in named
    ]


def _measure(measured: Mapping[str, Any], name: str, meaning: str) -> Row:
    ends = measured["intervals"].get(name) or (None, None)
    shown = name.replace("_", " ").replace("f1", "F1")
    return shown, percent(measured[name]), between(*ends), meaning


def in_words(card: Mapping[str, Any]) -> list[str]:
    """Return what the measures say, as sentences."""
    closed, opened = card["measures"]["closed_set"], card["measures"]["open_set"]
    right = round(closed["accuracy"] * closed["faces"])
    lines = [
        f"Of {plural(closed['faces'], 'face')} of {plural(closed['people'], 'person', 'people')} "
        f"that the model had not seen, {right:,} got the right name."
    ]
    if opened["false_alarms"] is None:
        lines.append("How often strangers are taken for somebody was not measured.")
    else:
        passed = round(opened["false_alarms"] * opened["stranger_faces"])
        lines.append(
            f"Of {plural(opened['stranger_faces'], 'face')} of strangers, {passed:,} "
            f"{'was' if passed == 1 else 'were'} taken for somebody."
        )
    return lines
