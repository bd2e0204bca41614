"""`facelake evaluate`: how well a lake's tables agree with labels."""

import argparse
import json
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from pipeline.clustering.measures import RATES, evaluate
from pipeline.errors import ConfigError
from pipeline.labels import read_labels
from pipeline.lake import Lake
from pipeline.people import People
from pipeline.storage import parse_options, visible
from pipeline.troubles import REACH_TIMEOUT_S, within

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


def add_parser(commands: Any) -> None:
    """Add the command and what can be evaluated."""
    summary = "measure results against labels"
    parser = commands.add_parser("evaluate", help=summary, description=summary)
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="SUBJECT")
    clustering = subjects.add_parser(
        "clustering",
        help="compare the people of a lake with true identities",
        description="Compare the people that `facelake cluster` found with true identities. Faces "
        "without a label are left out; a face that was put with nobody counts as alone. "
        "Intervals are 95 % bootstrap intervals over identities.",
    )
    clustering.add_argument("lake", metavar="LAKE", help="path or URL of the lake")
    clustering.add_argument(
        "--labels",
        required=True,
        metavar="FILE",
        help="CSV or Parquet with the columns face_id,label or image,label; an image is told by "
        "its image_id, its uri, or the last part of it, with or without extension",
    )
    clustering.add_argument(
        "--face",
        choices=("largest", "central"),
        default="largest",
        help="which face of an image its label belongs to; default: %(default)s",
    )
    clustering.add_argument(
        "--groups", metavar="COLUMN", help="of FILE: rates for the people of each value, too"
    )
    clustering.add_argument(
        "--bootstrap",
        type=int,
        default=1000,
        metavar="N",
        help="samples of the intervals, 0 for none; default: %(default)s",
    )
    clustering.add_argument("--json", action="store_true", help="print JSON")
    clustering.add_argument(
        "--storage-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="for the storage back end; may be repeated",
    )
    clustering.set_defaults(func=run_clustering)


def run_clustering(options: argparse.Namespace) -> int:
    """Measure a clustering and print the measures."""
    if options.bootstrap < 0:
        raise ConfigError(
            f"--bootstrap {options.bootstrap} is no number of samples; give 0 or more"
        )
    lake = Lake(options.lake, parse_options(options.storage_option))
    within(REACH_TIMEOUT_S, lake.folder.reach, "reach", lake.folder.url)
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
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)
    return 0


def show(result: dict[str, Any]) -> None:
    """Print the measures and what they were measured on."""
    console = Console()
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("measure", no_wrap=True)
    table.add_column("value", justify="right")
    table.add_column("95 % interval", no_wrap=True)
    table.add_column("meaning")
    intervals = result.get("intervals", {})
    for name, meaning in MEANINGS.items():
        bounds = intervals.get(name)
        interval = f"{bounds[0]:.4f} to {bounds[1]:.4f}" if bounds else ""
        table.add_row(name.replace("_", " "), f"{result[name]:.4f}", interval, meaning)
    console.print(table)
    lines = [
        f"{result['faces']:,} faces of {result['identities']:,} identities in "
        f"{result['clusters']:,} clusters; {result['unclustered']:,} put with nobody"
    ]
    for key, what in (
        ("labels_unmatched", "labels matched no face"),
        ("labels_ambiguous", "labels matched several images of one name and were left out"),
        ("labels_not_clustered", "labelled faces are not clustered yet"),
        ("faces_unlabelled", "faces have no label"),
    ):
        if result[key] or key in ("labels_unmatched", "faces_unlabelled"):
            lines.append(f"{result[key]:,} {what}")
    for line in lines:
        print(line)
    if "groups" in result:
        _show_groups(console, result["groups"])


def _show_groups(console: Console, groups: dict[str, dict[str, float]]) -> None:
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("group", overflow="fold")
    table.add_column("identities", justify="right")
    for name in RATES:
        table.add_column(name.replace("_", " "), justify="right")
    for group, rates in groups.items():
        values = [f"{rates[name]:.4f}" for name in RATES]
        table.add_row(visible(group), f"{rates['identities']:,}", *values)
    console.print(table, markup=False)
