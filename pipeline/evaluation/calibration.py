"""Calibrates: how probable is one person at a similarity?"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.arrays import Floats64
from pipeline.errors import ConfigError
from pipeline.evaluation.measures.bootstrap import intervals, pair_weights
from pipeline.evaluation.measures.calibrate import calibrate, reliability, scores_of
from pipeline.evaluation.measures.verification import pair_scores
from pipeline.evaluation.pairs import load_pairs
from pipeline.evaluation.plots import Lines, Plot
from pipeline.evaluation.report import Report, Table, result_of
from pipeline.evaluation.settings import CalibrationConfig
from pipeline.lake.store import LakeStore
from pipeline.models.cards.calibration import Calibration
from pipeline.models.cards.text import calibration_text, with_calibration
from pipeline.storage.folder import split_file, visible

MEANINGS = {
    "log_loss": "mean of -log of the probability given to what is true",
    "brier": "mean squared difference between probability and truth",
    "ece": "expected calibration error: mean gap between probability and share, 10 bins",
}


def evaluate_calibration(lake: LakeStore, file: str, config: CalibrationConfig) -> Report:
    """Fit probability to the similarity of the pairs of a file, and write it into a card if asked.

    Raises:
        ConfigError: the pairs cannot be used, or the card cannot be changed.
    """
    loaded = load_pairs(lake, file, config)
    pairs = loaded.pairs
    scores = pair_scores(loaded.vectors, pairs)[0]
    scored = np.isfinite(scores)
    similarity, same, fold = scores[scored], pairs.same[scored], pairs.fold[scored]
    fitted = calibrate(similarity, same, fold, config.method)
    calibration = replace(
        fitted.calibration,
        labelled_set=config.labelled_set or split_file(file)[1],
        embedder=lake.existing_models().embedder,
    )
    p = fitted.probabilities
    first, second = pairs.person_first[scored], pairs.person_second[scored]

    def resampled(people: Floats64) -> dict[str, float]:
        weights = pair_weights(people, first, second, same)
        return scores_of(p, same, weights) if weights.sum() else {}

    result = result_of(
        lake,
        "calibration",
        {
            **fitted.held_out[calibration.method],
            "intervals": intervals(resampled, pairs.people, config.bootstrap),
            "calibration": calibration.fields(),
            "held_out": fitted.held_out,
            "reliability": reliability(p, same),
            **loaded.facts(),
        },
    )
    notes = [
        *loaded.notes("they are left out"),
        f"prior {calibration.prior:.4g}: the share of pairs of one person; verify --prior takes "
        "another",
        *calibration_text(calibration).splitlines(),
    ]
    if config.output is not None:
        _write(config.output, calibration)
    return Report(
        result, MEANINGS, notes, _tables(result), lambda: _plots(result, calibration, similarity)
    )


def _write(file: str, calibration: Calibration) -> None:
    folder, name = split_file(file)
    try:
        card = folder.read(name).decode("utf-8") if folder.exists(name) else ""
        text = with_calibration(card, calibration)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{visible(file)} is no card: it is not UTF-8 text") from error
    except ConfigError as error:
        raise ConfigError(f"{visible(file)}: {error}") from error
    folder.publish(name, text.encode())


def _tables(result: Mapping[str, Any]) -> list[Table]:
    taken = result["calibration"]["method"]
    methods = [
        [name, *(measured[key] for key in MEANINGS), "taken" if name == taken else ""]
        for name, measured in result["held_out"].items()
    ]
    bins = [
        [f"{row['from']:g} to {row['to']:g}", row["pairs"], row["probability"], row["share"]]
        for row in result["reliability"]
    ]
    return [
        Table("on held-out folds", ("method", "log loss", "Brier", "ECE", ""), methods),
        Table(
            "reliability on held-out folds", ("probability", "pairs", "mean", "one person"), bins
        ),
    ]


def _plots(
    result: Mapping[str, Any], calibration: Calibration, similarity: Floats64
) -> dict[str, Plot]:
    rows, method = result["reliability"], calibration.method
    shown = np.array([row["probability"] for row in rows])
    true = np.array([row["share"] for row in rows])
    at = np.linspace(similarity.min(), similarity.max(), 400)
    curve = {method: (at, calibration.probabilities(at))}
    return {
        "reliability": Lines(
            "Reliability, held-out folds",
            "probability",
            "share of one person",
            {method: (shown, true)},
            diagonal=True,
        ),
        "probability": Lines("Calibration", "cosine", "probability of one person", curve),
    }
