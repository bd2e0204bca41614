"""Evaluates clustering: do the people of a lake agree with true identities?"""

from collections.abc import Mapping
from typing import Any

from pipeline.errors import ConfigError
from pipeline.evaluation.measures.clustering import RATES, evaluate
from pipeline.evaluation.plots import Bars, Plot
from pipeline.evaluation.report import Report, Table, counted, result_of
from pipeline.evaluation.settings import ClusteringConfig
from pipeline.evaluation.truth.labels import read_labels
from pipeline.lake.store import LakeStore
from pipeline.people import People

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


def evaluate_clustering(lake: LakeStore, file: str, config: ClusteringConfig) -> Report:
    """Compare the people of a lake with the true identities that a file of labels tells.

    Raises:
        ConfigError: there are no people yet, or the labels cannot be used.
    """
    clusters = People(lake).clusters(["face_id", "person_id"])
    person = dict(zip(*clusters.to_pydict().values(), strict=True))
    truth = read_labels(lake, file, config.face, config.groups)
    faces = sorted(truth.labels.keys() & person.keys())
    if not faces:
        raise ConfigError(
            f"The {len(truth.labels)} labelled faces are not clustered yet; run facelake cluster "
            f"{lake.folder.url}"
        )
    measured = evaluate(
        [truth.labels[face] for face in faces],
        [person[face] for face in faces],
        [truth.groups[face] for face in faces] if truth.groups is not None else None,
        config.bootstrap,
    )
    unused = {
        "labels_unmatched": truth.unmatched,
        "labels_ambiguous": truth.ambiguous,
        "labels_not_clustered": len(truth.labels) - len(faces),
        "faces_unlabelled": len(person) - len(faces),
    }
    result = result_of(lake, "clustering", measured | unused)
    rows = [
        [group, rates["identities"], *(rates[name] for name in RATES)]
        for group, rates in result.get("groups", {}).items()
    ]
    headings = ["group", "identities", *(name.replace("_", " ") for name in RATES)]
    groups = Table("", headings, rows)
    return Report(result, MEANINGS, _notes(result), [groups], lambda: _plots(result))


def _notes(result: Mapping[str, Any]) -> list[str]:
    return [
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


def _plots(result: Mapping[str, Any]) -> dict[str, Plot]:
    values = {name.replace("_", " "): result[name] for name in MEANINGS}
    intervals = {
        name.replace("_", " "): bounds for name, bounds in result.get("intervals", {}).items()
    }
    return {"clustering": Bars("Clustering, 95 % intervals over people", values, intervals)}
