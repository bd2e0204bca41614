"""What a lake holds, counted."""

from collections import Counter
from typing import Any

import pyarrow.compute as pc

from pipeline.dedupe.duplicates import Duplicates
from pipeline.lake.store import LakeStore
from pipeline.people.store import People
from pipeline.storage.errors import storage_errors

COLUMNS = ("bytes", "width", "height", "format", "taken_at", "faces", "error")


def stats(lake: LakeStore) -> dict[str, Any]:
    """Count photos, faces, people and copies, and the room they take.

    Returns:
        models, photos, people and copies by what is known of them, and files and bytes by folder.
        People and copies are None before `cluster` and `dedupe`.

    Raises:
        ConfigError: there is no lake.
        StorageError: a part cannot be read.
    """
    models = lake.existing_models()
    people, copies = People(lake).current(), Duplicates(lake).current()
    return {
        "lake": lake.folder.url,
        "detector": models.detector,
        "embedder": models.embedder,
        "photos": photos(lake),
        "gone": sum(len(lake.gone().read_part("images", part, ["image_id"]))
                    for part in lake.gone().parts()),
        "people": people and {
            name: people[name]
            for name in ("people", "people_of_one_face", "faces", "tiers", "suggestions")
        } | {"corrections": len(People(lake).constraints())},
        "copies": copies and {"kinds": copies["kinds"], "bytes": copies["bytes_of_copies"]},
        "folders": folders(lake),
    }  # fmt: skip


def photos(lake: LakeStore) -> dict[str, Any]:
    """Count the photos of a lake, one part at a time."""
    totals: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    formats: Counter[str] = Counter()
    dates: list[Any] = []
    parts = lake.parts()
    for part in parts:
        rows = lake.read_part("images", part, COLUMNS)
        taken = pc.min_max(rows["taken_at"]).as_py()
        dates += [date for date in taken.values() if date is not None]
        errors.update(_counted(rows["error"]))
        formats.update(_counted(rows["format"]))
        pixels = pc.multiply(rows["width"].cast("int64"), rows["height"].cast("int64"))
        totals.update(
            count=len(rows),
            with_faces=pc.sum(pc.greater(rows["faces"], 0)).as_py() or 0,
            faces=pc.sum(rows["faces"]).as_py() or 0,
            dated=len(rows) - rows["taken_at"].null_count,
            bytes=pc.sum(rows["bytes"]).as_py() or 0,
            pixels=pc.sum(pixels).as_py() or 0,
        )
    return {
        **totals,
        "parts": len(parts),
        "first_taken": min(dates).isoformat(timespec="seconds") if dates else None,
        "last_taken": max(dates).isoformat(timespec="seconds") if dates else None,
        "errors": dict(errors.most_common()),
        "formats": dict(formats.most_common()),
    }


def _counted(column: Any) -> dict[str, int]:
    counts = column.drop_null().value_counts().to_pylist()
    return {one["values"]: one["counts"] for one in counts}


def folders(lake: LakeStore) -> dict[str, dict[str, int]]:
    """Return how many files each folder of a lake holds, and their bytes."""
    root = lake.folder.path().rstrip("/")
    files: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    with storage_errors("list", lake.folder.url):
        for path, about in lake.folder.fs.find(root, detail=True).items():
            name, _, rest = path.removeprefix(root).lstrip("/").partition("/")
            folder = name if rest else "."
            files[folder] += 1
            sizes[folder] += about["size"]
    return {name: {"files": files[name], "bytes": sizes[name]} for name in sorted(files)}
