"""`facelake evaluate verification`: are two faces one person?"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.commands.evaluation.output import (
    Report,
    add_common,
    deliver,
    number,
    open_lake,
)
from pipeline.commands.evaluation.pairs import Loaded, add_pairs, load_pairs
from pipeline.evaluation.measures.verification import (
    FARS,
    Verification,
    by_group,
    pair_scores,
    tar_name,
    threshold_table,
    verification,
)
from pipeline.evaluation.plots import Histogram, Lines, Plot
from pipeline.evaluation.truth.groups import read_groups
from pipeline.lake.store import LakeStore
from pipeline.models.cards.card import known_cards
from pipeline.storage.folder import visible

MEANINGS = {
    "accuracy": "mean of folds, each at the best threshold of the others",
    "accuracy_standard_error": "of that mean",
    "auc": "area under the ROC curve",
    "eer": "where FAR and FRR are equal",
}


def add_parser(subjects: Any) -> None:
    """Add the subject."""
    parser = subjects.add_parser(
        "verification",
        help="rate pairs of faces: accuracy by folds, ROC, TAR at FAR",
        description="Rate pairs of faces that are of one person or of two, by the protocol of "
        "Labeled Faces in the Wild: the threshold that is best on the other folds is applied to "
        "each. A pair with a photo in which no face was found is wrong, and accepted at no "
        "threshold. Intervals are 95 % bootstrap intervals over people.",
    )
    add_common(parser, "people")
    add_pairs(parser)
    parser.add_argument(
        "--groups",
        metavar="FILE",
        help="CSV or Parquet with face_id or image, and columns that tell groups: rates for pairs "
        "inside each, at the threshold of all",
    )
    parser.add_argument(
        "--metric",
        choices=("cosine", "euclidean"),
        default="cosine",
        help="cosine, or distance of unit vectors; thresholds are told in it; default: %(default)s",
    )
    parser.add_argument(
        "--subtract-mean",
        action="store_true",
        help="subtract the mean vector of the other folds from each",
    )
    parser.add_argument(
        "--flip",
        action="store_true",
        help="add the vector of the mirrored face, made from its thumbnail",
    )
    parser.add_argument(
        "--embedder", help="with --flip, for a lake of your own ONNX model: its path"
    )
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Measure and give the measures."""
    lake = open_lake(options)
    loaded = load_pairs(lake, options)
    pairs = loaded.pairs
    scores = pair_scores(loaded.vectors, pairs, options.metric, options.subtract_mean)
    found = verification(scores, pairs, options.bootstrap)
    sign = 1 if options.metric == "cosine" else -1
    named = {name.replace("_", " "): t for name, t in found.thresholds.items()}
    if options.metric == "cosine" and (mine := _card_threshold(lake)) is not None:
        named["card: verify"] = mine
    table = threshold_table(found.scores, pairs.same, named)
    groups = _groups(lake, options, loaded, found)
    result: dict[str, Any] = {
        **found.measures,
        "accuracy_standard_error": found.folds.error,
        "accuracy_standard_deviation": found.folds.accuracies.std(),
        "fold_accuracies": found.folds.accuracies,
        "fold_thresholds": sign * found.folds.thresholds,
        "intervals": found.intervals,
        "unresolved": {f"{far:g}": problem for far, problem in found.resolved.items()},
        "thresholds": {name: sign * t for name, t in found.thresholds.items()},
        **loaded.facts(),
        "metric": options.metric,
        "flip": options.flip,
        "subtract_mean": options.subtract_mean,
        "threshold_table": [row | {"threshold": sign * row["threshold"]} for row in table],
        "groups": groups,
        "roc": _roc(found),
    }
    return deliver(_report(result, loaded, found, options.metric), lake, options)


def _card_threshold(lake: LakeStore) -> float | None:
    models = lake.models()
    card = known_cards().get(models.embedder.split("@")[0]) if models else None
    return card.thresholds.get("verify") if card else None


def _groups(
    lake: LakeStore, options: argparse.Namespace, loaded: Loaded, found: Verification
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return rates by column and value; a pair is in the group of both its faces."""
    columns: dict[str, Sequence[str | None]] = {}
    if loaded.found.group is not None:
        columns["group"] = loaded.found.group
    if options.groups:
        sides = list(zip(loaded.found.first, loaded.found.second, strict=True))
        for name, values in read_groups(lake, options.groups, loaded.found.which).items():
            columns[name] = [_shared(values, a, b) for a, b in sides]
    return {
        name: by_group(found.scores, loaded.pairs.same, values, found.folds.threshold)
        for name, values in columns.items()
    }


def _shared(values: Mapping[str, str], a: str | None, b: str | None) -> str | None:
    one, other = values.get(a or ""), values.get(b or "")
    return one if one == other else None


def _roc(found: Verification) -> dict[str, Any]:
    curve = found.curve.lean()
    return {"far": curve.far, "tar": curve.tar, "threshold": curve.thresholds}


def _report(result: dict[str, Any], loaded: Loaded, found: Verification, metric: str) -> Report:
    meanings = MEANINGS | {tar_name(far): f"TAR where FAR is at most {far:g}" for far in FARS}
    notes = [f"FAR {far:g} {problem}" for far, problem in found.resolved.items()]
    thresholds = [
        [
            number(row["threshold"]),
            *(number(row[name]) for name in ("far", "frr", "accuracy")),
            row["name"],
        ]
        for row in result["threshold_table"]
    ]
    tables: list[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = [
        ("thresholds", (f"{metric}", "FAR", "FRR", "accuracy", "where"), thresholds)
    ]
    headings = ("pairs", "same", "accuracy", "far", "frr", "auc", "eer")
    for column, groups in result["groups"].items():
        rows = [
            [visible(value), *(_cell(rates[name]) for name in headings)]
            for value, rates in groups.items()
        ]
        tables.append((f"by {visible(column)}, one threshold", (visible(column), *headings), rows))

    def plots() -> dict[str, Plot]:
        curve, same = found.curve.lean(), loaded.pairs.same
        roc = Lines("ROC", "FAR", "TAR", {"all pairs": (curve.far, curve.tar)}, log_x=True)
        det = {"all pairs": (curve.far, 1 - curve.tar)}
        shown = found.scores if metric == "cosine" else -found.scores
        sign = 1 if metric == "cosine" else -1
        kinds = {"one person": shown[same], "two people": shown[~same]}
        marks = {"threshold": sign * found.folds.threshold}
        return {
            "roc": roc,
            "det": Lines("DET", "FAR", "FRR", det, log_x=True, log_y=True),
            "scores": Histogram("Scores", metric, kinds, marks),
        }

    return Report(
        "verification",
        result,
        meanings,
        [*loaded.notes("they count as wrong"), *notes],
        tables,
        plots,
    )


def _cell(value: float | None) -> str:
    return f"{value:,}" if isinstance(value, int) else number(value)
