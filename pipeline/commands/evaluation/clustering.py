"""`facelake evaluate clustering`: do the people of a lake agree with true identities?"""

import argparse
from typing import Any

from pipeline.commands.evaluation.output import (
    Report,
    add_common,
    counted,
    deliver,
    number,
    open_lake,
)
from pipeline.errors import ConfigError
from pipeline.evaluation.measures.clustering import RATES, evaluate
from pipeline.evaluation.plots import Bars, Plot
from pipeline.evaluation.truth.labels import read_labels
from pipeline.people import People
from pipeline.storage.folder import visible

MEANINGS = {
    "pairwise_precision": "of pairs put together, those of one person",
    "pairwise_recall": "of pairs of one person, those put together",
    "pairwise_f": "harmonic mean of both",
    "bcubed_precision": "of a face's cluster, the share that is its person",
    "bcubed_recall": "of a face's person, the share in its cluster",
    "bcubed_f": "harmonic mean of both",
    "nmi": "normalised mutual information",
    "purity": "faces of the largest person of their cluster",
}


def add_parser(subjects: Any) -> None:
    """Add the subject."""
    parser = subjects.add_parser(
        "clustering",
        help="compare the people of a lake with true identities",
        description="Compare the people that `facelake cluster` found with true identities. Faces "
        "without a label are left out; a face that was put with nobody counts as alone. "
        "Intervals are 95 % bootstrap intervals over identities.",
    )
    add_common(parser, "people")
    add_labels(parser)
    parser.add_argument(
        "--groups", metavar="COLUMN", help="of FILE: rates for the people of each value, too"
    )
    parser.set_defaults(func=run)


def add_labels(parser: argparse.ArgumentParser) -> None:
    """Add what tells the labels."""
    parser.add_argument(
        "--labels",
        required=True,
        metavar="FILE",
        help="CSV or Parquet with the columns face_id,label or image,label; an image is told by "
        "its image_id, its uri, or the last part of it, with or without extension",
    )
    parser.add_argument(
        "--face",
        choices=("largest", "central"),
        default="largest",
        help="which face of an image its label belongs to; default: %(default)s",
    )


def run(options: argparse.Namespace) -> int:
    """Measure a clustering and give the measures."""
    lake = open_lake(options)
    clusters = People(lake).clusters(["face_id", "person_id"])
    person = dict(zip(*clusters.to_pydict().values(), strict=True))
    found = read_labels(lake, options.labels, options.face, options.groups)
    faces = sorted(found.labels.keys() & person.keys())
    if not faces:
        raise ConfigError(
            f"The {len(found.labels)} labelled faces are not clustered yet; run facelake cluster "
            f"{lake.folder.url}"
        )
    result = evaluate(
        [found.labels[face] for face in faces],
        [person[face] for face in faces],
        [found.groups[face] for face in faces] if found.groups is not None else None,
        options.bootstrap,
    )
    result |= {
        "labels_unmatched": found.unmatched,
        "labels_ambiguous": found.ambiguous,
        "labels_not_clustered": len(found.labels) - len(faces),
        "faces_unlabelled": len(person) - len(faces),
    }
    return deliver(_report(result), lake, options)


def _report(result: dict[str, Any]) -> Report:
    notes = [
        f"{result['faces']:,} faces of {result['identities']:,} identities in "
        f"{result['clusters']:,} clusters; {result['unclustered']:,} put with nobody",
        *counted(result["labels_unmatched"], "labels matched no face", always=True),
        *counted(
            result["labels_ambiguous"],
            "labels matched several images of one name and were left out",
        ),
        *counted(result["labels_not_clustered"], "labelled faces are not clustered yet"),
        *counted(result["faces_unlabelled"], "faces have no label", always=True),
    ]
    rows = [
        [visible(group), f"{rates['identities']:,}", *(number(rates[name]) for name in RATES)]
        for group, rates in result.get("groups", {}).items()
    ]
    headings = ["group", "identities", *(name.replace("_", " ") for name in RATES)]

    def plots() -> dict[str, Plot]:
        values = {name.replace("_", " "): result[name] for name in MEANINGS}
        intervals = {
            name.replace("_", " "): bounds for name, bounds in result.get("intervals", {}).items()
        }
        return {"clustering": Bars("Clustering, 95 % intervals over people", values, intervals)}

    return Report("clustering", result, MEANINGS, notes, [("", headings, rows)], plots)
