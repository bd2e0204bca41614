"""Evaluates identification: who of a gallery is this, or nobody of it?"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.evaluation.measures.identification import (
    FPIRS,
    Identification,
    Searches,
    fnir_name,
    identification,
    search,
    split,
)
from pipeline.evaluation.plots import Histogram, Lines, Plot
from pipeline.evaluation.report import Cell, Report, Table, counted, result_of
from pipeline.evaluation.settings import IdentificationConfig
from pipeline.evaluation.truth.labels import read_labels
from pipeline.lake.lookup import vectors_of
from pipeline.lake.store import LakeStore

MEANINGS = {"rank_1": "closed set: the right person is first"} | {
    fnir_name(fpir): f"FNIR where FPIR is at most {fpir:g}" for fpir in FPIRS
}


def evaluate_identification(lake: LakeStore, file: str, config: IdentificationConfig) -> Report:
    """Search a gallery of half of each person's photos, by a file of labels, for the others.

    Raises:
        ConfigError: the labels cannot be used, or nobody has two photos.
    """
    truth = read_labels(lake, file, config.face)
    faces = sorted(truth.labels)
    _, person = np.unique([truth.labels[face] for face in faces], return_inverse=True)
    parts = split(person, config.unknown_share, config.hold_out, config.seed)
    probes = np.concatenate([parts.known, parts.unknown])
    searches = search(vectors_of(lake, faces), person, parts.gallery, probes, config.template)
    measured = identification(searches, person[probes], config.bootstrap)
    # None: no threshold without people who are unknown
    everything: dict[str, Any] = {
        **dict.fromkeys(MEANINGS),
        **measured.measures,
        "intervals": measured.intervals,
        "unresolved": {f"{fpir:g}": problem for fpir, problem in measured.resolved.items()},
        "thresholds": measured.thresholds,
        "cmc": measured.cmc,
        "template": config.template,
        "seed": config.seed,
        "gallery_people": len(np.unique(person[parts.gallery])),
        "gallery_photos": len(parts.gallery),
        "probes_known": len(parts.known),
        "probes_unknown": len(parts.unknown),
        "labels_unmatched": truth.unmatched,
        "labels_ambiguous": truth.ambiguous,
    }
    if measured.curve is not None:
        curve = measured.curve.lean()
        everything["det"] = {
            "fpir": curve.far, "fnir": 1 - curve.tar, "threshold": curve.thresholds,
        }  # fmt: skip
    result = result_of(lake, "identification", everything)
    thresholds: list[list[Cell]] = [
        [name.replace("_", " "), t] for name, t in measured.thresholds.items()
    ]
    ranks = [[k, result["cmc"][k - 1]] for k in (1, 2, 5, 10, 20)]
    tables = [
        Table("thresholds", ("at", "cosine"), thresholds),
        Table("CMC", ("rank", "share"), ranks),
    ]
    notes = _notes(result, measured)
    return Report(
        result, MEANINGS, notes, tables, lambda: _plots(measured, searches, config.template)
    )


def _notes(result: Mapping[str, Any], measured: Identification) -> list[str]:
    nobody = ["Nobody unknown was searched for, so FNIR cannot be told; see --hold-out"]
    return [
        f"gallery: {result['gallery_photos']:,} photos of {result['gallery_people']:,} people; "
        f"searches: {result['probes_known']:,} for them, {result['probes_unknown']:,} for others; "
        f"template: {result['template']}",
        *(nobody if measured.curve is None else []),
        *(f"FPIR {fpir:g} {problem}" for fpir, problem in measured.resolved.items()),
        *counted(result["labels_unmatched"], "labels matched no face and were left out"),
        *counted(
            result["labels_ambiguous"],
            "labels matched several images of one name and were left out",
        ),
    ]


def _plots(measured: Identification, searches: Searches, template: str) -> dict[str, Plot]:
    known = searches.rank > 0
    cmc = (np.arange(1, len(measured.cmc) + 1, dtype=np.float64), measured.cmc)
    kinds = {"in the gallery": searches.top[known], "unknown": searches.top[~known]}
    plots: dict[str, Plot] = {
        "cmc": Lines("CMC", "rank", "share of searches", {"people of the gallery": cmc}),
        "scores": Histogram("Best score of a search", "cosine", kinds, measured.thresholds),
    }
    if measured.curve is not None:
        lean = measured.curve.lean()
        finite = np.isfinite(lean.thresholds)  # misses at rank 1 are there at no threshold
        det = {template: (lean.far[finite], 1 - lean.tar[finite])}
        plots["det"] = Lines("Identification", "FPIR", "FNIR", det, log_x=True, log_y=True)
    return plots
