"""Labels from a file: who is truly who, matched to the faces of a lake."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from pipeline.errors import ConfigError
from pipeline.evaluation.truth.rows import read_rows
from pipeline.lake.lookup import Which, chosen_faces, face_ids, find_images
from pipeline.lake.store import LakeStore
from pipeline.storage.folder import visible

# From any name of a face or image to faces; None stands for an image without any.
FindFace = Callable[[str], AbstractSet[str | None]]


@dataclass(frozen=True)
class Labelled:
    """Labels of faces.

    Attributes:
        labels: true identity by face id.
        groups: an attribute by face id; None when none was given.
        unmatched: labels for which the lake has no face.
        ambiguous: labels whose image may be one of several.
    """

    labels: Mapping[str, str]
    groups: Mapping[str, str] | None
    unmatched: int
    ambiguous: int


def read_labels(
    lake: LakeStore, file: str, which: Which = "largest", groups: str | None = None
) -> Labelled:
    """Return the labels of `file`, CSV or Parquet, for faces of the lake.

    The file has a column `label`, and `face_id` or `image`. An image is told by its image_id, its
    uri, its name in its archive, or the last part of these, with or without extension; its label
    belongs to the face that `which` chooses. Rows without a label are passed over.

    Raises:
        ConfigError: a column is missing, a face has two labels, or no label matches.
    """
    rows = read_rows(file)
    by = "face_id" if "face_id" in rows[0] else "image"
    wanted = {by, "label", *([groups] if groups else [])}
    if missing := wanted - rows[0].keys():
        names = "face_id or image" if by in missing else ", ".join(sorted(missing))
        raise ConfigError(
            f"{visible(file)} has no column {names}; its columns are {', '.join(rows[0])}"
        )
    rows = [row for row in rows if row["label"] and row[by]]
    find = _faces(lake) if by == "face_id" else _images(lake, which)
    labels: dict[str, str] = {}
    attributes: dict[str, str] = {}
    unmatched = ambiguous = 0
    for row in rows:
        matches = find(row[by])
        face = next(iter(matches), None)
        if len(matches) > 1 or face is None:
            ambiguous += len(matches) > 1
            unmatched += len(matches) <= 1
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
            f"{lake.folder.url}, for example {visible(rows[0][by]) if rows else 'none has one'!r}; "
            f"compare its column {by} with the lake's {'faces' if by == 'face_id' else 'uris'}"
        )
    return Labelled(labels, attributes if groups else None, unmatched, ambiguous)


def _faces(lake: LakeStore) -> FindFace:
    known_ids = face_ids(lake)
    return lambda face: known_ids & {face}


def _images(lake: LakeStore, which: Which) -> FindFace:
    """Return what finds the chosen face of an image; of several where the image is ambiguous."""
    chosen, find = chosen_faces(lake, which), find_images(lake)
    return lambda text: {chosen.get(image) for image in find(text)}
