"""`facelake evaluate detection`: were the faces found that people have drawn?"""

import argparse
from typing import Any

from pipeline.commands.evaluation.output import Report, add_common, counted, deliver, open_lake
from pipeline.errors import ConfigError
from pipeline.evaluation.measures.detection import IOU, Detection, detection, match
from pipeline.evaluation.plots import Lines, Plot
from pipeline.evaluation.truth.boxes import read_boxes
from pipeline.storage.folder import visible

MEANINGS = {
    "average_precision": "area under precision made monotone, at every score",
    "precision": "of the faces in the lake, those that somebody has drawn",
    "recall": "of the boxes, those whose face is in the lake",
}
NAMED = 5  # images that are told by name


def add_parser(subjects: Any) -> None:
    """Add the subject."""
    parser = subjects.add_parser(
        "detection",
        help="compare faces with boxes that people drew: average precision, recall by size",
        description="Compare the faces of a lake with boxes that people drew, as WIDER FACE does: "
        "each face goes to the box that it overlaps most; a box is found once. Ignored boxes count "
        "neither way. Images of the lake that the file does not speak of are left out. Intervals "
        "are 95 % bootstrap intervals over images.",
    )
    add_common(parser, "images")
    parser.add_argument(
        "--boxes",
        required=True,
        metavar="FILE",
        help="CSV or Parquet with the columns image,x1,y1,x2,y2 and optionally ignore; WIDER "
        "FACE's text; or COCO JSON",
    )
    parser.add_argument(
        "--iou",
        type=float,
        default=IOU,
        metavar="X",
        help="least overlap, intersection over union; default: %(default)s",
    )
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Measure and give the measures."""
    if not 0 < options.iou <= 1:
        raise ConfigError(f"--iou is {options.iou}; give a number above 0, at most 1")
    lake = open_lake(options)
    found = read_boxes(lake, options.boxes)
    matches = match(found.pictures, options.iou)
    if not len(matches.found):
        raise ConfigError(
            f"No box of {visible(options.boxes)} counts in the {len(found.pictures):,} images that "
            "the lake has; recall needs one or more"
        )
    told = detection(matches, len(found.pictures), options.bootstrap)
    result: dict[str, Any] = {
        **told.measures,
        "intervals": told.intervals,
        "iou": options.iou,
        "interpolation": "all points",
        "images": len(found.pictures),
        "boxes": len(matches.found),
        "boxes_ignored": int(sum(picture.ignored.sum() for picture in found.pictures)),
        "faces": len(matches.score),
        "faces_on_ignored": sum(len(p.scores) for p in found.pictures) - len(matches.score),
        "least_score": float(matches.score.min()) if len(matches.score) else None,
        "recall_by_height": [
            {"from": low, "below": high, "boxes": boxes, "recall": recall}
            for low, high, boxes, recall in told.bands
        ],
        "images_not_in_lake": len(found.missing_images),
        "boxes_not_in_lake": found.missing_boxes,
        "images_failed": found.failed,
        "images_not_in_file": found.other_images,
        "precision_recall": {
            "score": told.curve.scores,
            "precision": told.curve.precision,
            "recall": told.curve.recall,
        },
    }
    return deliver(_report(result, found.missing_images, told), lake, options)


def _report(result: dict[str, Any], missing: Any, told: Detection) -> Report:
    named = ", ".join(visible(name) for name in missing[:NAMED])
    more = " ..." if len(missing) > NAMED else ""
    notes = [
        f"{result['images']:,} images, {result['boxes']:,} boxes, {result['faces']:,} faces; "
        f"overlap {result['iou']:g}; average precision by all-point interpolation",
        *counted(
            result["boxes_ignored"],
            f"boxes are ignored, and {result['faces_on_ignored']:,} faces on them",
        ),
        *counted(
            result["images_not_in_lake"],
            f"images of the file, with {result['boxes_not_in_lake']:,} boxes, are not in the lake, "
            f"or not by one name, and were left out: {named}{more}",
        ),
        *counted(result["images_failed"], "images could not be read: their boxes are missed"),
        *counted(result["images_not_in_file"], "images of the lake are not in the file"),
    ]
    rows = [
        [_band(low, high), f"{boxes:,}", f"{recall:.4f}"] for low, high, boxes, recall in told.bands
    ]
    tables = [("recall by height of the box", ("pixels", "boxes", "recall"), rows)]

    def plots() -> dict[str, Plot]:
        curve = {"faces": (told.curve.recall, told.curve.precision)}
        return {"precision-recall": Lines("Detection", "recall", "precision", curve)}

    return Report("detection", result, MEANINGS, notes, tables, plots)


def _band(low: float, high: float) -> str:
    return f"{low:g} and more" if high == float("inf") else f"{low:g} to below {high:g}"
