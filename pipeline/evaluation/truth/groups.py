"""Attributes of faces from a file: region, age, camera ..., whatever its columns are."""

from collections.abc import Mapping

from pipeline.errors import ConfigError
from pipeline.evaluation.truth.rows import read_rows
from pipeline.lake.lookup import Which, chosen_faces, face_ids, find_images
from pipeline.lake.store import LakeStore
from pipeline.storage.folder import visible


def read_groups(lake: LakeStore, file: str, which: Which) -> Mapping[str, Mapping[str, str]]:
    """Return value by face id for each column of a CSV or Parquet file but face_id or image.

    Raises:
        ConfigError: it has no such columns, or none of its rows is in the lake.
    """
    rows = read_rows(file)
    by = "face_id" if "face_id" in rows[0] else "image"
    columns = [name for name in rows[0] if name != by]
    if by not in rows[0] or not columns:
        raise ConfigError(
            f"{visible(file)} has the columns {', '.join(rows[0])}; needed are face_id or image, "
            "and one or more that tell a group"
        )
    known_ids, chosen, find = face_ids(lake), chosen_faces(lake, which), find_images(lake)
    groups: dict[str, dict[str, str]] = {name: {} for name in columns}
    for row in rows:
        matches = known_ids & {row[by]} if by == "face_id" else find(row[by])
        face = next(iter(matches)) if len(matches) == 1 else None
        face = face if by == "face_id" or face is None else chosen.get(face)
        for name in columns:
            if face is not None and row[name]:
                groups[name][face] = row[name]
    if not any(groups.values()):
        raise ConfigError(
            f"None of the {len(rows):,} rows of {visible(file)} belongs to a face of "
            f"{lake.folder.url}; compare its column {by} with the lake's"
        )
    return groups
