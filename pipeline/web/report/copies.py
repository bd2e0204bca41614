"""The groups of duplicates to show, the kept picture first."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.dedupe.duplicates import Duplicates
from pipeline.web.report.images import photos_of

# Pictures shown of one group; the others are only counted.
PER_GROUP = 12
WORDS = {
    "exact": ("identical file", "identical files"),
    "pixels": ("file with the same pixels", "files with the same pixels"),
    "near": ("near copy", "near copies"),
    "mirrored": ("mirrored copy", "mirrored copies"),
    "rotated": ("turned copy", "turned copies"),
    "crop": ("part of the picture", "parts of pictures"),
    "similar": ("similar photo", "similar photos"),
    "burst": ("shot of a burst", "further shots of bursts"),
}


@dataclass(frozen=True)
class Group:
    """Pictures that are copies of one.

    Attributes:
        members: rows of `duplicates` with the photo's columns, the kept one first.
        left_out: how many more there are.
        bytes: of those that are not kept.
    """

    members: Sequence[Mapping[str, Any]]
    left_out: int
    bytes: int


@dataclass(frozen=True)
class Copies:
    """The duplicates of a lake.

    Attributes:
        groups: to show; those that would free the most bytes come first.
        groups_in_all, bytes: of all groups.
        kinds: number of pictures of each kind of copy, the most frequent first.
    """

    groups: Sequence[Group]
    groups_in_all: int
    bytes: int
    kinds: Sequence[tuple[str, int]]


def copies(duplicates: Duplicates, most: int) -> Copies | None:
    """Return at most so many groups; None when nobody has looked for duplicates yet."""
    if duplicates.generations.current() is None:
        return None
    rows = duplicates.table(["image_id", "group_id", "kind", "distance", "keep", "reason"])
    photos = {
        row["image_id"]: row
        for row in photos_of(duplicates.lake, rows["image_id"].combine_chunks()).to_pylist()
    } if len(rows) else {}  # fmt: skip
    by_group: dict[str, list[dict[str, Any]]] = {}
    for row in rows.to_pylist():
        if row["image_id"] in photos:  # photos may be gone since
            by_group.setdefault(row["group_id"], []).append(photos[row["image_id"]] | row)
    groups = [_group(members) for members in by_group.values() if len(members) > 1]
    groups.sort(key=lambda group: (-group.bytes, group.members[0]["uri"]))
    kinds = Counter(rows["kind"].to_pylist())
    del kinds["kept"]
    return Copies(groups[:most], len(groups), sum(group.bytes for group in groups),
                  kinds.most_common())  # fmt: skip


def _group(members: list[dict[str, Any]]) -> Group:
    members.sort(key=lambda row: (not row["keep"], row["distance"] or 0, row["uri"]))
    gain = sum(row["bytes"] or 0 for row in members if not row["keep"])
    return Group(members[:PER_GROUP], max(0, len(members) - PER_GROUP), gain)
