"""`facelake evaluate calibrate`: from similarity to the probability of one person."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.arrays import Bools, Floats64
from pipeline.commands.evaluation.output import Report, add_common, deliver, number, open_lake
from pipeline.commands.evaluation.pairs import Loaded, add_pairs, load_pairs
from pipeline.errors import ConfigError
from pipeline.evaluation.measures.bootstrap import intervals, pair_weights
from pipeline.evaluation.measures.calibrate import Fitted, calibrate, reliability, scores_of
from pipeline.evaluation.measures.verification import pair_scores
from pipeline.evaluation.plots import Lines, Plot
from pipeline.lake.store import LakeStore
from pipeline.models.cards.calibration import METHODS
from pipeline.models.cards.text import calibration_text, with_calibration
from pipeline.storage.folder import split_file, visible

MEANINGS = {
    "log_loss": "mean of -log of the probability given to what is true",
    "brier": "mean squared difference between probability and truth",
    "ece": "expected calibration error: mean gap between probability and share, 10 bins",
}


def add_parser(subjects: Any) -> None:
    """Add the subject."""
    parser = subjects.add_parser(
        "calibrate",
        help="turn similarity into the probability of one person",
        description="Fit the probability that two faces are one person to labelled pairs, by "
        "logistic regression or isotonic, whichever has the lower log loss on folds that it has "
        "not seen. The prior is the share of pairs of one person in the file. A pair with a photo "
        "in which no face was found is left out.",
    )
    add_common(parser, "people")
    add_pairs(parser)
    parser.add_argument(
        "--method",
        choices=METHODS,
        help="default: the one with the lower log loss on held-out folds",
    )
    parser.add_argument(
        "--labelled-set", metavar="TEXT", help="what the pairs are; default: the file's name"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="card (.toml) whose table [calibration] is replaced, or a new file with nothing else; "
        "for facelake verify --calibration",
    )
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Fit, measure, write and give the measures."""
    lake = open_lake(options)
    loaded = load_pairs(lake, options)
    pairs = loaded.pairs
    scores = pair_scores(loaded.vectors, pairs)[0]
    known = np.isfinite(scores)
    similarity, same, fold = scores[known], pairs.same[known], pairs.fold[known]
    fitted = calibrate(similarity, same, fold, options.method)
    models = lake.models()
    fitted = replace(
        fitted,
        calibration=replace(
            fitted.calibration,
            labelled_set=options.labelled_set or split_file(options.pairs)[1],
            embedder=models.embedder if models else "",
        ),
    )
    p = fitted.probabilities
    first, second = pairs.person_first[known], pairs.person_second[known]

    def resampled(people: Floats64) -> dict[str, float]:
        weights = pair_weights(people, first, second, same)
        return scores_of(p, same, weights) if weights.sum() else {}

    result: dict[str, Any] = {
        **fitted.held_out[fitted.calibration.method],
        "intervals": intervals(resampled, pairs.people, options.bootstrap),
        "calibration": fitted.calibration.fields(),
        "held_out": fitted.held_out,
        "reliability": reliability(p, same),
        **loaded.facts(),
    }
    code = deliver(_report(result, loaded, fitted, similarity, same), lake, options)
    if options.output is not None:
        _write(options.output, fitted, lake)
    return code


def _write(file: str, fitted: Fitted, lake: LakeStore) -> None:
    folder, name = split_file(file)
    text = ""
    if folder.exists(name):
        try:
            text = folder.read(name).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{visible(file)} is no card: it is not UTF-8 text") from error
    try:
        made = with_calibration(text, fitted.calibration)
    except ConfigError as error:
        raise ConfigError(f"{visible(file)}: {error}") from error
    folder.publish(name, made.encode())


def _report(
    result: dict[str, Any], loaded: Loaded, fitted: Fitted, similarity: Floats64, same: Bools
) -> Report:
    made = fitted.calibration
    methods: Sequence[Sequence[str]] = [
        [name, *(number(told[key]) for key in MEANINGS), "taken" if name == made.method else ""]
        for name, told in fitted.held_out.items()
    ]
    bins: Sequence[Sequence[str]] = [
        [
            f"{row['from']:g} to {row['to']:g}",
            f"{row['pairs']:,}",
            number(row["probability"]),
            number(row["share"]),
        ]
        for row in result["reliability"]
    ]
    tables: list[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = [
        ("on held-out folds", ("method", "log loss", "Brier", "ECE", ""), methods),
        ("reliability on held-out folds", ("probability", "pairs", "mean", "one person"), bins),
    ]
    notes = [
        *loaded.notes("they are left out"),
        f"prior {made.prior:.4g}: the share of pairs of one person; verify --prior takes another",
        *calibration_text(made).splitlines(),
    ]

    def plots() -> dict[str, Plot]:
        rows = result["reliability"]
        shown = np.array([row["probability"] for row in rows])
        true = np.array([row["share"] for row in rows])
        at = np.linspace(similarity.min(), similarity.max(), 400)
        curve = {made.method: (at, made.probabilities(at))}
        return {
            "reliability": Lines(
                "Reliability, held-out folds",
                "probability",
                "share of one person",
                {made.method: (shown, true)},
                diagonal=True,
            ),
            "probability": Lines("Calibration", "cosine", "probability of one person", curve),
        }

    return Report("calibration", result, MEANINGS, notes, tables, plots)
