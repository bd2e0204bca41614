"""Rewrites the parts of a lake without what is forgotten, each in one step."""

import io
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.arrays import Bools
from pipeline.errors import StorageError
from pipeline.lake import schema
from pipeline.lake.moves import replaced
from pipeline.lake.store import LakeStore, parquet_bytes
from pipeline.lake.tombstones import Forgotten, Keys


def is_gone(forgotten: Forgotten, keys: Keys, column: pa.ChunkedArray | pa.Array) -> Bools:
    """Return which values of a text column have their tombstone among `keys`, bool [N]."""
    if not keys:
        return np.zeros(len(column), bool)
    return np.array([forgotten.key(text) in keys for text in column.to_pylist()], bool)


def strings(values: Iterable[str]) -> pa.Array:
    """Return texts as a column to look values up in."""
    return pa.array(sorted(values), pa.string())


def clean_parts(lake: LakeStore, forgotten: Forgotten, names: Iterable[str]) -> list[str]:
    """Rewrite the parts that hold something forgotten, and return which; others are left alone."""
    return [name for name in names if _clean(lake, forgotten, name)]


def _clean(lake: LakeStore, forgotten: Forgotten, name: str) -> bool:
    ids = lake.read_part("images", name, ["image_id", "faces"])
    gone = is_gone(forgotten, forgotten.images, ids["image_id"])
    owners = lake.read_part("faces", name, ["face_id", "image_id"])
    faces_gone = is_gone(forgotten, forgotten.faces, owners["face_id"]) | is_gone(
        forgotten, forgotten.images, owners["image_id"]
    )
    lost = set(owners["image_id"].filter(pa.array(faces_gone)).to_pylist())
    left = owners["image_id"].filter(pa.array(~faces_gone))
    counts = _counts(forgotten, ids, left, lost)
    if not (gone.any() or faces_gone.any() or counts != ids["faces"].to_pylist()):
        return False
    if gone.all():  # the images first: without them the faces are no part
        lake.folder.remove(f"images/{name}")
        lake.folder.remove(f"faces/{name}")
        return True
    if faces_gone.any():
        faces = lake.read_part("faces", name)
        kept = faces.filter(pa.array(~faces_gone))
        lake.folder.publish(f"faces/{name}", parquet_bytes(kept))
    images = lake.read_part("images", name)
    images = replaced(images, "faces", counts)
    lake.folder.publish(f"images/{name}", parquet_bytes(images.filter(pa.array(~gone))))
    return True


def _counts(
    forgotten: Forgotten, images: pa.Table, owners: pa.ChunkedArray, lost: set[str]
) -> list[int | None]:
    """Return how many faces each image has: those that `lost` some are counted anew.

    So are those that lost some to a run that was stopped between the two files of the part; where
    numbers differ for another reason, `facelake check` must find it.
    """
    face_counts = {
        entry["values"]: entry["counts"] for entry in pc.value_counts(owners).to_pylist()
    }
    out: list[int | None] = []
    for image, former in zip(
        images["image_id"].to_pylist(), images["faces"].to_pylist(), strict=True
    ):
        count = face_counts.get(image, 0)
        differs = former is not None and former != count
        anew = differs and (image in lost or _lost_before(forgotten, image, former))
        out.append(count if anew else former)
    return out


def _lost_before(forgotten: Forgotten, image_id: str, faces: int) -> bool:
    """Return whether a face of an image, with so many by its row, was forgotten."""
    ranks = (
        *range(faces + len(forgotten.faces)),
        *range(schema.FIRST_MARKED, schema.FIRST_MARKED + schema.MOST_MARKED),
    )
    keys = (forgotten.key(schema.face_id_of(image_id, rank)) for rank in ranks)
    return any(key in forgotten.faces for key in keys)


def clean_quarantine(lake: LakeStore, forgotten: Forgotten) -> int:
    """Remove files of quarantine that hold something forgotten, or cannot be read to tell.

    Their images were done again long since; they are kept only to be looked at.
    """
    folder = lake.folder.child("quarantine")
    removed = 0
    for name in folder.files():
        if _is_tainted(folder.read(name), forgotten):
            folder.remove(name)
            removed += 1
    return removed


def _is_tainted(data: bytes, forgotten: Forgotten) -> bool:
    try:
        table = pq.read_table(io.BytesIO(data))
        tainted = is_gone(forgotten, forgotten.images, table["image_id"]).any()
        if "face_id" in table.column_names:
            tainted |= is_gone(forgotten, forgotten.faces, table["face_id"]).any()
        return bool(tainted)
    except (pa.ArrowException, KeyError, OSError, StorageError):
        return True
