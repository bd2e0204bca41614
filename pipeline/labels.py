"""Labels from a file: who is truly who, matched to the faces of a lake."""

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.columns import matrix
from pipeline.errors import ConfigError
from pipeline.lake import Lake
from pipeline.storage import Folder, split_file, visible

Which = Literal["largest", "central"]
# From a face or image, however it is told, to faces; None stands for an image without any.
Find = Callable[[str], AbstractSet[str | None]]


@dataclass(frozen=True)
class Labelled:
    """Labels of faces.

    Attributes:
        labels: true identity by face id.
        groups: an attribute by face id; None when none was asked for.
        unmatched: labels for which the lake has no face.
        ambiguous: labels whose image may be one of several.
    """

    labels: Mapping[str, str]
    groups: Mapping[str, str] | None
    unmatched: int
    ambiguous: int


def read_labels(
    lake: Lake, file: str, which: Which = "largest", groups: str | None = None
) -> Labelled:
    """Return the labels of `file`, CSV or Parquet, for faces of the lake.

    The file has a column `label`, and `face_id` or `image`. An image is told by its image_id, its
    uri, its name in its archive, or the last part of these, with or without extension; its label
    belongs to the face that `which` chooses. Rows without a label are passed over.

    Raises:
        ConfigError: a column is missing, a face has two labels, or no label matches.
    """
    rows = _rows(file)
    by = "face_id" if "face_id" in rows[0] else "image"
    wanted = {by, "label", *([groups] if groups else [])}
    if missing := wanted - rows[0].keys():
        told = "face_id or image" if by in missing else ", ".join(sorted(missing))
        raise ConfigError(
            f"{visible(file)} has no column {told}; its columns are {', '.join(rows[0])}"
        )
    rows = [row for row in rows if row["label"] and row[by]]
    find = _faces(lake) if by == "face_id" else _images(lake, which)
    labels: dict[str, str] = {}
    attributes: dict[str, str] = {}
    unmatched = ambiguous = 0
    for row in rows:
        found = find(row[by])
        face = next(iter(found), None)
        if len(found) > 1 or face is None:
            ambiguous += len(found) > 1
            unmatched += len(found) <= 1
            continue
        if labels.setdefault(face, row["label"]) != row["label"]:
            raise ConfigError(
                f"{visible(file)} labels face {face} ({visible(row[by])}) twice, as "
                f"{visible(labels[face])} and as {visible(row['label'])}; keep one"
            )
        attributes[face] = row[groups] or "(none)" if groups else ""
    if not labels:
        raise ConfigError(
            f"None of the {len(rows)} labels of {visible(file)} belongs to a face of "
            f"{lake.folder.url}; compare its column {by} with the lake's faces"
        )
    return Labelled(labels, attributes if groups else None, unmatched, ambiguous)


def _rows(file: str) -> list[dict[str, str]]:
    """Return the rows of a CSV or Parquet file as text."""
    folder, name = split_file(file)
    data = folder.read(name)
    if data[:4] == b"PAR1":
        rows = _parquet_rows(folder, name, data)
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"{visible(file)} is neither Parquet nor UTF-8 text; save it as UTF-8 CSV"
            ) from error
        reader = csv.DictReader(io.StringIO(text), restval="", restkey="")
        try:
            rows = [{key: str(value) for key, value in row.items() if key} for row in reader]
        except csv.Error as error:
            raise ConfigError(f"{visible(file)} is no CSV ({error}); check its quotes") from error
    if not rows:
        raise ConfigError(f"{visible(file)} has no rows; it needs a header, and a label a line")
    return rows


def _parquet_rows(folder: Folder, name: str, data: bytes) -> list[dict[str, str]]:
    try:
        rows = pq.read_table(io.BytesIO(data)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{folder.url}/{name} is damaged ({error}); make it again") from error
    return [
        {key: "" if value is None else str(value) for key, value in row.items()} for row in rows
    ]


def _faces(lake: Lake) -> Find:
    known = set(lake.read("faces", ["face_id"])["face_id"].to_pylist())
    return lambda face: known & {face}


def _images(lake: Lake, which: Which) -> Find:
    """Return what finds the chosen face of an image; of several where the image is ambiguous."""
    chosen = _chosen(lake, which)
    levels: list[dict[str, set[str | None]]] = [defaultdict(set) for _ in range(5)]
    for image in lake.read("images", ["image_id", "uri"]).to_pylist():
        face = chosen.get(image["image_id"])
        for level, key in zip(levels, _keys(image["image_id"], image["uri"]), strict=True):
            level[key].add(face)

    def find(text: str) -> AbstractSet[str | None]:
        return next((level[text] for level in levels if text in level), frozenset())

    return find


def _keys(image_id: str, uri: str) -> tuple[str, str, str, str, str]:
    """Return what an image may be called, the most certain first."""
    member = uri.rpartition("#")[2]
    last = member.rpartition("/")[2]
    stem, dot, _ = last.rpartition(".")
    return image_id, uri, member, last, stem if dot and stem else last


def _chosen(lake: Lake, which: Which) -> dict[str, str]:
    """Return the face of each image that its label belongs to."""
    faces = lake.read("faces", ["face_id", "image_id", "size_px", "box"])
    ids = faces["image_id"].to_pylist()
    if which == "largest":
        rank = -np.asarray(faces["size_px"], dtype=np.float64)
    else:
        images = lake.read("images", ["image_id", "width", "height"]).to_pylist()
        middle = {
            row["image_id"]: ((row["width"] or 0) / 2, (row["height"] or 0) / 2) for row in images
        }
        box = matrix(faces["box"])
        centres = (box[:, :2] + box[:, 2:]) / 2
        rank = np.linalg.norm(centres - np.array([middle[i] for i in ids]).reshape(-1, 2), axis=1)
    names: list[Any] = faces["face_id"].to_pylist()
    order = sorted(range(len(ids)), key=lambda at: (rank[at], names[at]))
    chosen: dict[str, str] = {}
    for at in order:
        chosen.setdefault(ids[at], names[at])
    return chosen
