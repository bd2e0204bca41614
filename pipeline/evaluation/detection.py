"""Evaluates detection: were the faces found that people have drawn?"""

from collections.abc import Mapping
from math import inf
from typing import Any

from pipeline.errors import ConfigError
from pipeline.evaluation.measures.detection import detection, match
from pipeline.evaluation.plots import Lines
from pipeline.evaluation.report import Cell, Report, Table, counted, result_of
from pipeline.evaluation.settings import DetectionConfig
from pipeline.evaluation.truth.boxes import LakeBoxes, read_boxes
from pipeline.lake.store import LakeStore
from pipeline.storage.folder import visible

MEANINGS = {
    "average_precision": "area under precision made monotone, at every score",
    "precision": "of the faces in the lake, those that somebody has drawn",
    "recall": "of the boxes, those whose face is in the lake",
}
NAMED = 5  # images that are told by name


def evaluate_detection(lake: LakeStore, file: str, config: DetectionConfig) -> Report:
    """Compare the faces of a lake with the boxes that people drew into a file.

    Raises:
        ConfigError: the boxes cannot be used.
    """
    truth = read_boxes(lake, file)
    matches = match(truth.pictures, config.iou)
    if not len(matches.found):
        raise ConfigError(
            f"No box of {visible(file)} counts in the {len(truth.pictures):,} images that "
            "the lake has; recall needs one or more"
        )
    measured = detection(matches, len(truth.pictures), config.bootstrap)
    result = result_of(
        lake,
        "detection",
        {
            **measured.measures,
            "intervals": measured.intervals,
            "iou": config.iou,
            "interpolation": "all points",
            "images": len(truth.pictures),
            "boxes": len(matches.found),
            "boxes_ignored": int(sum(picture.ignored.sum() for picture in truth.pictures)),
            "faces": len(matches.score),
            "faces_on_ignored": sum(len(p.scores) for p in truth.pictures) - len(matches.score),
            "least_score": matches.score.min() if len(matches.score) else None,
            "recall_by_height": [
                {"from": low, "below": high, "boxes": boxes, "recall": recall}
                for low, high, boxes, recall in measured.bands
            ],
            "images_not_in_lake": len(truth.missing_images),
            "boxes_not_in_lake": truth.missing_boxes,
            "images_failed": truth.failed,
            "images_not_in_file": truth.other_images,
            "precision_recall": {
                "score": measured.curve.scores,
                "precision": measured.curve.precision,
                "recall": measured.curve.recall,
            },
        },
    )
    bands: list[list[Cell]] = [
        [f"{low:g} and more" if high == inf else f"{low:g} to below {high:g}", boxes, recall]
        for low, high, boxes, recall in measured.bands
    ]
    curve = {"faces": (measured.curve.recall, measured.curve.precision)}
    return Report(
        result,
        MEANINGS,
        _notes(result, truth),
        [Table("recall by height of the box", ("pixels", "boxes", "recall"), bands)],
        lambda: {"precision-recall": Lines("Detection", "recall", "precision", curve)},
    )


def _notes(result: Mapping[str, Any], truth: LakeBoxes) -> list[str]:
    named = ", ".join(visible(name) for name in truth.missing_images[:NAMED])
    more = " ..." if len(truth.missing_images) > NAMED else ""
    return [
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
