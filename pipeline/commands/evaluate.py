"""`facelake evaluate`: how well a lake's tables agree with what people say is true."""

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.commands import options as opt
from pipeline.commands.evaluate_tables import show
from pipeline.commands.output import tell
from pipeline.evaluation import settings
from pipeline.evaluation.plots import need_matplotlib, render
from pipeline.evaluation.report import Report
from pipeline.library import Lake
from pipeline.storage.folder import split_file, visible

TO_TERMINAL = "-"
# What may be true, by the option that names its file.
TRUTH = {
    "labels": "CSV or Parquet with the columns face_id,label or image,label; an image is told by "
    "its image_id, its uri, or the last part of it, with or without extension",
    "pairs": "pairs.txt of Labeled Faces in the Wild, or CSV or Parquet with the columns a,b,same "
    "and optionally fold and group; a and b are face ids, or photos by any of their names",
    "boxes": "CSV or Parquet with the columns image,x1,y1,x2,y2 and optionally ignore; WIDER "
    "FACE's text; or COCO JSON",
}


@dataclass(frozen=True)
class Subject:
    """What can be evaluated: by which method, with which file of `TRUTH`, and the help."""

    evaluate: Callable[..., Report]
    config: type
    truth: str
    summary: str
    description: str


SUBJECTS = {
    "clustering": Subject(
        Lake.evaluate_clustering,
        settings.ClusteringConfig,
        "labels",
        "compare the people of a lake with true identities",
        "Compare the people that `facelake cluster` found with true identities. Faces without a "
        "label are left out; a face that was put with nobody counts as alone. Intervals are 95 % "
        "bootstrap intervals over identities.",
    ),
    "verification": Subject(
        Lake.evaluate_verification,
        settings.VerificationConfig,
        "pairs",
        "rate pairs of faces: accuracy by folds, ROC, TAR at FAR",
        "Rate pairs of faces that are of one person or of two, by the protocol of Labeled Faces in "
        "the Wild: the threshold that is best on the other folds is applied to each. A pair with a "
        "photo in which no face was found is wrong, and accepted at no threshold. Intervals are "
        "95 % bootstrap intervals over people.",
    ),
    "identification": Subject(
        Lake.evaluate_identification,
        settings.IdentificationConfig,
        "labels",
        "search a gallery for known and unknown people: FNIR at FPIR, CMC",
        "Search a gallery of half of each person's labelled photos for the other half, and for "
        "people who are not in it: those with one photo. A search is missed where the right person "
        "is not first, or below the threshold (FNIR); one for somebody unknown errs where anybody "
        "reaches it (FPIR). Intervals are 95 % bootstrap intervals over people.",
    ),
    "detection": Subject(
        Lake.evaluate_detection,
        settings.DetectionConfig,
        "boxes",
        "compare faces with boxes that people drew: average precision, recall by size",
        "Compare the faces of a lake with boxes that people drew, as WIDER FACE does: each face "
        "goes to the box that it overlaps most; a box is found once. Ignored boxes count neither "
        "way. Images of the lake that the file does not speak of are left out. Intervals are 95 % "
        "bootstrap intervals over images.",
    ),
    "calibrate": Subject(
        Lake.calibrate,
        settings.CalibrationConfig,
        "pairs",
        "turn similarity into the probability of one person",
        "Fit the probability that two faces are one person to labelled pairs, by logistic "
        "regression or isotonic, whichever has the lower log loss on folds that it has not seen. "
        "The prior is the share of pairs of one person in the file. A pair with a photo in which "
        "no face was found is left out.",
    ),
}


def add_parser(commands: Any) -> None:
    """Add the command and what can be evaluated."""
    summary = "measure results against labels"
    parser = commands.add_parser("evaluate", help=summary, description=summary)
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="SUBJECT")
    for name, subject in SUBJECTS.items():
        one = subjects.add_parser(name, help=subject.summary, description=subject.description)
        opt.add_lake(one)
        one.add_argument(
            f"--{subject.truth}", required=True, metavar="FILE", help=TRUTH[subject.truth]
        )
        opt.add_config_options(one, subject.config)
        if name == "verification":
            one.add_argument(
                "--embedder", help="with --flip, for a lake of your own ONNX model: its path"
            )
        one.add_argument(
            "--json", nargs="?", const=TO_TERMINAL, metavar="FILE",
            help="write JSON to the file as well; without a name print it instead of the table",
        )  # fmt: skip
        one.add_argument(
            "--plots", metavar="DIR", help="draw PNG and SVG into the folder; needs matplotlib"
        )
        opt.add_storage_options(one)
        one.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Measure, print and write."""
    if options.plots is not None:
        need_matplotlib()
    subject = SUBJECTS[options.subject]
    values = opt.values_of(subject.config, options)
    file = getattr(options, subject.truth)
    report = subject.evaluate(opt.open_lake(options), file, **values)
    text = json.dumps(report.result, indent=2)
    if options.json == TO_TERMINAL:
        tell(text)
    else:
        show(report)
    written = []
    if options.json not in (None, TO_TERMINAL):
        folder, name = split_file(options.json)
        folder.publish(name, text.encode() + b"\n")
        written.append(options.json)
    if options.plots is not None:
        written += write_plots(report, options.plots)
    if written and options.json != TO_TERMINAL:
        tell(f"written: {', '.join(map(visible, written))}")
    return 0


def write_plots(report: Report, target: str) -> list[str]:
    """Draw the plots into a folder, and return the names of the files."""
    folder, _ = split_file(os.path.join(target, "plot"))
    written = []
    for name, plot in report.plots().items():
        for kind, data in render(plot).items():
            folder.publish(f"{name}.{kind}", data)
            written.append(os.path.join(target, f"{name}.{kind}"))
    return written
