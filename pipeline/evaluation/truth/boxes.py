"""Boxes that people drew, from CSV, WIDER FACE's text format or COCO JSON."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.evaluation.measures.detection import Picture
from pipeline.evaluation.truth.rows import csv_rows, need_columns, read_file
from pipeline.lake.columns import matrix
from pipeline.lake.lookup import find_images
from pipeline.lake.schema import is_marked
from pipeline.lake.store import LakeStore
from pipeline.storage.folder import visible

Box = tuple[float, float, float, float]  # x1, y1, x2, y2
INVALID = 7  # column of WIDER's flag


@dataclass
class DrawnBoxes:
    """Boxes of one image, each with whether it is to be ignored."""

    boxes: list[Box]
    ignored: list[bool]

    def add(self, box: Box, ignored: bool) -> None:
        """Add a box; one without an area is left out."""
        if box[2] > box[0] and box[3] > box[1]:
            self.boxes.append(box)
            self.ignored.append(ignored)


@dataclass(frozen=True)
class LakeBoxes:
    """Images of a lake with drawn and detected boxes.

    Attributes:
        missing_images, missing_boxes: drawn on images that the lake lacks, or has several of.
        failed: images that the lake has with an error; they have no detections.
        other_images: of the lake, that the file does not speak of.
    """

    pictures: Sequence[Picture]
    missing_images: Sequence[str]
    missing_boxes: int
    failed: int
    other_images: int


def read_boxes(lake: LakeStore, file: str) -> LakeBoxes:
    """Return the boxes of `file` beside the faces of the lake.

    Raises:
        ConfigError: the file cannot be understood, or the lake has none of its images.
    """
    find = find_images(lake)
    drawn: dict[str, DrawnBoxes] = {}
    missing: list[str] = []
    lost = 0
    for name, of_image in parse_boxes(file).items():
        ids = find(name) or find(name.rpartition("/")[2])
        if len(ids) != 1:
            missing.append(name)
            lost += len(of_image.boxes)
            continue
        every = drawn.setdefault(next(iter(ids)), DrawnBoxes([], []))
        every.boxes += of_image.boxes
        every.ignored += of_image.ignored
    if not drawn:
        raise ConfigError(
            f"None of the {len(missing):,} images of {visible(file)} is in {lake.folder.url}; "
            f"compare {visible(missing[0]) if missing else 'the file'} with the lake's"
        )
    faces = lake.read("faces", ["face_id", "image_id", "box", "score"])
    # What people marked, the detector did not find.
    found = [not is_marked(face) for face in faces["face_id"].to_pylist()]
    faces = faces.filter(pa.array(found, pa.bool_()))
    boxes, scores = matrix(faces["box"]), np.asarray(faces["score"], dtype=np.float32)
    rows: dict[str, list[int]] = {image: [] for image in drawn}
    for k, image in enumerate(faces["image_id"].to_pylist()):
        if image in rows:
            rows[image].append(k)
    images = lake.read("images", ["image_id", "error"]).to_pylist()
    return LakeBoxes(
        [
            Picture(
                boxes[rows[image]],
                scores[rows[image]],
                np.array(of_image.boxes, np.float32).reshape(-1, 4),
                np.array(of_image.ignored, bool),
            )
            for image, of_image in drawn.items()
        ],
        missing,
        lost,
        sum(row["error"] is not None and row["image_id"] in drawn for row in images),
        len(images) - len(drawn),
    )


def parse_boxes(file: str) -> dict[str, DrawnBoxes]:
    """Return the boxes of each image by its name; images without any are included.

    Raises:
        ConfigError: it cannot be understood; names the place.
    """
    text = read_file(file)
    if not isinstance(text, str):
        return _table(file, text)
    lines = [line for line in text.splitlines() if line.strip()]
    if text.lstrip().startswith("{"):
        return _coco(file, text)
    if len(lines) > 1 and re.fullmatch(r"\s*\d+\s*", lines[1]):
        return _wider(file, lines)
    return _table(file, csv_rows(file, text))


def _table(file: str, rows: list[dict[str, str]]) -> dict[str, DrawnBoxes]:
    """Columns image, x1, y1, x2, y2, optionally ignore; no numbers: an image without faces."""
    if not rows:
        raise ConfigError(f"{visible(file)} has no rows; it needs the columns image,x1,y1,x2,y2")
    need_columns(file, rows, "image", "x1", "y1", "x2", "y2")
    drawn: dict[str, DrawnBoxes] = {}
    for k, row in enumerate(rows, start=2):
        of_image = drawn.setdefault(row["image"], DrawnBoxes([], []))
        if row["x1"]:
            box = _numbers(file, f"row {k}", [row[name] for name in ("x1", "y1", "x2", "y2")])
            of_image.add(box, row.get("ignore", "").lower() in {"1", "true", "yes"})
    return drawn


def _wider(file: str, lines: list[str]) -> dict[str, DrawnBoxes]:
    """A path, a count, and so many lines of x, y, width, height and attributes; or one of zeros."""
    drawn: dict[str, DrawnBoxes] = {}
    at = 0
    while at < len(lines):
        name = lines[at].strip()
        count = lines[at + 1].strip() if at + 1 < len(lines) else ""
        if not count.isdecimal() or at + 2 + int(count) > len(lines):
            raise ConfigError(
                f"{visible(file)}: after {visible(name)} come a count and so many lines of boxes, "
                f"not {visible(count) or 'the end'}; get the file again"
            )
        of_image = drawn.setdefault(name, DrawnBoxes([], []))
        for line in lines[at + 2 : at + 2 + int(count)]:
            words = line.split()
            x, y, w, h = _numbers(file, name, words[:4])
            of_image.add((x, y, x + w, y + h), len(words) > INVALID and words[INVALID] == "1")
        at += 2 + int(count)
        # an image without faces has a line of zeros
        if count == "0" and at < len(lines) and not lines[at].strip(" 0\t"):
            at += 1
    return drawn


def _coco(file: str, text: str) -> dict[str, DrawnBoxes]:
    """`images` with id and file_name; `annotations` with image_id, bbox, iscrowd or ignore."""
    problem = "it needs images with id and file_name, and annotations with image_id and bbox"
    try:
        document: dict[str, Any] = json.loads(text)
        names = {image["id"]: str(image["file_name"]) for image in document["images"]}
        drawn = {name: DrawnBoxes([], []) for name in names.values()}
        for k, mark in enumerate(document["annotations"]):
            x, y, w, h = _numbers(file, f"annotation {k}", mark["bbox"])
            ignored = bool(mark.get("iscrowd")) or bool(mark.get("ignore"))
            drawn[names[mark["image_id"]]].add((x, y, x + w, y + h), ignored)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{visible(file)} is no COCO JSON: {problem} ({error!r})") from error
    return drawn


def _numbers(file: str, where: str, words: Sequence[Any]) -> Box:
    try:
        x, y, z, w = (float(word) for word in words)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{visible(file)}, {visible(where)}: a box is four numbers, not "
            f"{visible(', '.join(map(str, words)))}"
        ) from error
    return x, y, z, w
