"""Evaluates verification: are two faces one person?"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.measures.verification import (
    FARS,
    Verification,
    by_group,
    pair_scores,
    tar_name,
    threshold_table,
    verification,
)
from pipeline.evaluation.pairs import LoadedPairs, load_pairs
from pipeline.evaluation.plots import Histogram, Lines, Plot
from pipeline.evaluation.report import Report, Table, result_of
from pipeline.evaluation.settings import VerificationConfig
from pipeline.evaluation.truth.groups import read_groups
from pipeline.lake.store import LakeStore
from pipeline.models.cards.card import card_of
from pipeline.models.embedder import Embedder

MEANINGS = {
    "accuracy": "mean of folds, each at the best threshold of the others",
    "accuracy_standard_error": "of that mean",
    "auc": "area under the ROC curve",
    "eer": "where FAR and FRR are equal",
    **{tar_name(far): f"TAR where FAR is at most {far:g}" for far in FARS},
}
GROUP_COLUMNS = ("pairs", "same", "accuracy", "far", "frr", "auc", "eer")


def evaluate_verification(
    lake: LakeStore, file: str, config: VerificationConfig, embedder: Embedder | None = None
) -> Report:
    """Rate the pairs of a file, of one person or of two, by the protocol of LFW.

    Args:
        lake: has the faces.
        file: of pairs.
        config: how they are rated.
        embedder: the lake's own, for `config.flip`: adds vectors of mirrored faces.

    Raises:
        ConfigError: the pairs or groups cannot be used.
    """
    loaded = load_pairs(lake, file, config, embedder)
    scores = pair_scores(loaded.vectors, loaded.pairs, config.metric, config.subtract_mean)
    measured = verification(scores, loaded.pairs, config.bootstrap)
    sign = 1 if config.metric == "cosine" else -1
    curve = measured.curve.lean()
    result = result_of(
        lake,
        "verification",
        {
            **measured.measures,
            "accuracy_standard_error": measured.folds.error,
            "accuracy_standard_deviation": measured.folds.accuracies.std(),
            "fold_accuracies": measured.folds.accuracies,
            "fold_thresholds": sign * measured.folds.thresholds,
            "intervals": measured.intervals,
            "unresolved": {f"{far:g}": problem for far, problem in measured.resolved.items()},
            "thresholds": {name: sign * t for name, t in measured.thresholds.items()},
            **loaded.facts(),
            "metric": config.metric,
            "flip": embedder is not None,
            "subtract_mean": config.subtract_mean,
            "threshold_table": _thresholds(lake, loaded, measured, config.metric),
            "groups": _groups(lake, config.groups, loaded, measured),
            "roc": {"far": curve.far, "tar": curve.tar, "threshold": curve.thresholds},
        },
    )
    notes = [
        *loaded.notes("they count as wrong"),
        *(f"FAR {far:g} {problem}" for far, problem in measured.resolved.items()),
    ]
    return Report(
        result, MEANINGS, notes, _tables(result), lambda: _plots(loaded, measured, config.metric)
    )


def _thresholds(
    lake: LakeStore, loaded: LoadedPairs, measured: Verification, metric: str
) -> list[dict[str, Any]]:
    """Return rates at even steps, at the thresholds of the measures, and at the card's."""
    named = {name.replace("_", " "): t for name, t in measured.thresholds.items()}
    card = card_of(lake.existing_models().embedder)
    if metric == "cosine" and card and "verify" in card.thresholds:
        named["card: verify"] = card.thresholds["verify"]
    rows = threshold_table(measured.scores, loaded.pairs.same, named)
    sign = 1 if metric == "cosine" else -1
    return [row | {"threshold": sign * row["threshold"]} for row in rows]


def _groups(
    lake: LakeStore, file: str | None, loaded: LoadedPairs, measured: Verification
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return rates by column and value; a pair is in the group of both its faces."""
    columns: dict[str, Sequence[str | None]] = {}
    matched = loaded.lake_pairs
    if matched.group is not None:
        columns["group"] = matched.group
    if file:
        sides = list(zip(matched.first, matched.second, strict=True))
        for name, values in read_groups(lake, file, matched.which).items():
            columns[name] = [_shared(values, a, b) for a, b in sides]
    return {
        name: by_group(measured.scores, loaded.pairs.same, values, measured.folds.threshold)
        for name, values in columns.items()
    }


def _shared(values: Mapping[str, str], a: str | None, b: str | None) -> str | None:
    one, other = values.get(a or ""), values.get(b or "")
    return one if one == other else None


def _tables(result: Mapping[str, Any]) -> list[Table]:
    columns = ("threshold", "far", "frr", "accuracy", "name")
    rows = [[row[name] for name in columns] for row in result["threshold_table"]]
    tables = [Table("thresholds", (result["metric"], "FAR", "FRR", "accuracy", "where"), rows)]
    for column, groups in result["groups"].items():
        rows = [
            [value, *(rates[name] for name in GROUP_COLUMNS)] for value, rates in groups.items()
        ]
        tables.append(Table(f"by {column}, one threshold", (column, *GROUP_COLUMNS), rows))
    return tables


def _plots(loaded: LoadedPairs, measured: Verification, metric: str) -> dict[str, Plot]:
    curve, same = measured.curve.lean(), loaded.pairs.same
    sign = 1 if metric == "cosine" else -1
    shown = sign * measured.scores
    kinds = {"one person": shown[same], "two people": shown[~same]}
    marks = {"threshold": sign * measured.folds.threshold}
    roc, det = {"all pairs": (curve.far, curve.tar)}, {"all pairs": (curve.far, 1 - curve.tar)}
    return {
        "roc": Lines("ROC", "FAR", "TAR", roc, log_x=True),
        "det": Lines("DET", "FAR", "FRR", det, log_x=True, log_y=True),
        "scores": Histogram("Scores", metric, kinds, marks),
    }
