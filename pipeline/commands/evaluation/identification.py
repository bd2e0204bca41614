"""`facelake evaluate identification`: who of a gallery is this, or nobody of it?"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.commands.evaluation.clustering import add_labels
from pipeline.commands.evaluation.output import Report, add_common, counted, deliver, open_lake
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
from pipeline.evaluation.truth.labels import read_labels
from pipeline.lake.lookup import vectors_of


def add_parser(subjects: Any) -> None:
    """Add the subject."""
    parser = subjects.add_parser(
        "identification",
        help="search a gallery for known and unknown people: FNIR at FPIR, CMC",
        description="Search a gallery of half of each person's labelled photos for the other half, "
        "and for people who are not in it: those with one photo. A search is missed where the "
        "right person is not first, or below the threshold (FNIR); one for somebody unknown errs "
        "where anybody reaches it (FPIR). Intervals are 95 % bootstrap intervals over people.",
    )
    add_common(parser, "people")
    add_labels(parser)
    parser.add_argument(
        "--template",
        choices=("mean", "best"),
        default="mean",
        help="a person scores as the mean of their vectors, or as the best of them; default: "
        "%(default)s",
    )
    parser.add_argument(
        "--unknown-share",
        type=float,
        default=1.0,
        metavar="X",
        help="of the people with one photo, the share that is searched for; default: %(default)s",
    )
    parser.add_argument(
        "--hold-out",
        type=float,
        default=0.0,
        metavar="X",
        help="of the people with several photos, the share that is left out of the gallery and "
        "searched for as unknown; default: %(default)s",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of what is drawn; default: %(default)s"
    )
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Measure and give the measures."""
    lake = open_lake(options)
    labels = read_labels(lake, options.labels, options.face)
    faces = sorted(labels.labels)
    _, person = np.unique([labels.labels[face] for face in faces], return_inverse=True)
    parts = split(person, options.unknown_share, options.hold_out, options.seed)
    probes = np.concatenate([parts.known, parts.unknown])
    vectors = vectors_of(lake, faces)
    searches = search(vectors, person, parts.gallery, probes, options.template)
    found = identification(searches, person[probes], options.bootstrap)
    # NaN: no threshold without people who are unknown
    empty = {fnir_name(fpir): float("nan") for fpir in FPIRS} if found.curve is None else {}
    result: dict[str, Any] = {
        **found.measures,
        **empty,
        "intervals": found.intervals,
        "unresolved": {f"{fpir:g}": problem for fpir, problem in found.resolved.items()},
        "thresholds": found.thresholds,
        "cmc": found.cmc,
        "template": options.template,
        "seed": options.seed,
        "gallery_people": len(np.unique(person[parts.gallery])),
        "gallery_photos": len(parts.gallery),
        "probes_known": len(parts.known),
        "probes_unknown": len(parts.unknown),
        "labels_unmatched": labels.unmatched,
        "labels_ambiguous": labels.ambiguous,
    }
    if found.curve is not None:
        curve = found.curve.lean()
        result["det"] = {
            "fpir": curve.far, "fnir": 1 - curve.tar, "threshold": curve.thresholds,
        }  # fmt: skip
    return deliver(_report(result, found, searches), lake, options)


def _report(result: dict[str, Any], found: Identification, searches: Searches) -> Report:
    meanings = {"rank_1": "closed set: the right person is first"} | {
        fnir_name(fpir): f"FNIR where FPIR is at most {fpir:g}" for fpir in FPIRS
    }
    nobody = ["Nobody unknown was searched for, so FNIR cannot be told; see --hold-out"]
    notes = [
        f"gallery: {result['gallery_photos']:,} photos of {result['gallery_people']:,} people; "
        f"searches: {result['probes_known']:,} for them, {result['probes_unknown']:,} for others; "
        f"template: {result['template']}",
        *(nobody if found.curve is None else []),
        *(f"FPIR {fpir:g} {problem}" for fpir, problem in found.resolved.items()),
        *counted(result["labels_unmatched"], "labels matched no face and were left out"),
        *counted(
            result["labels_ambiguous"],
            "labels matched several images of one name and were left out",
        ),
    ]
    thresholds: Sequence[Sequence[str]] = [
        [name.replace("_", " "), f"{value:.4f}"] for name, value in found.thresholds.items()
    ]
    ranks = [[str(k), f"{found.cmc[k - 1]:.4f}"] for k in (1, 2, 5, 10, 20)]

    def plots() -> dict[str, Plot]:
        known = searches.rank > 0
        cmc = (np.arange(1, len(found.cmc) + 1, dtype=np.float64), found.cmc)
        kinds = {"in the gallery": searches.top[known], "unknown": searches.top[~known]}
        drawn: dict[str, Plot] = {
            "cmc": Lines("CMC", "rank", "share of searches", {"people of the gallery": cmc}),
            "scores": Histogram("Best score of a search", "cosine", kinds, found.thresholds),
        }
        if found.curve is not None:
            lean = found.curve.lean()
            told = np.isfinite(lean.thresholds)  # misses at rank 1 are there at no threshold
            det = {result["template"]: (lean.far[told], 1 - lean.tar[told])}
            drawn["det"] = Lines("Identification", "FPIR", "FNIR", det, log_x=True, log_y=True)
        return drawn

    tables = [("thresholds", ("at", "cosine"), thresholds), ("CMC", ("rank", "share"), ranks)]
    return Report("identification", result, meanings, notes, tables, plots)
