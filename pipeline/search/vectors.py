"""The vectors of a lake, part by part, in bounded memory."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.arrays import Floats32
from pipeline.errors import ConfigError
from pipeline.lake import schema
from pipeline.lake.columns import matrix
from pipeline.lake.scan import scan
from pipeline.lake.store import LakeStore
from pipeline.storage.errors import storage_errors
from pipeline.storage.folder import is_local, visible

# 16,384 vectors of 512 floats are 32 MB: few enough to hold, enough to multiply at full speed.
BATCH = 16_384
READERS = 16


def sizes_of(lake: LakeStore) -> dict[str, int]:
    """Return the complete parts of a lake, in order, and the bytes of their faces.

    A part is written once; if it was rewritten after all, its size differs.
    """
    faces = lake.folder.child("faces").files()
    return {name: faces[name] for name in sorted(lake.folder.child("images").files())
            if name in faces}  # fmt: skip


def rows_of(lake: LakeStore, names: Sequence[str]) -> dict[str, int]:
    """Return how many faces each part has."""
    with ThreadPoolExecutor(1 if is_local(lake.folder.fs) else READERS) as pool:
        return dict(zip(names, pool.map(lambda name: _rows(lake, name), names), strict=True))


def _rows(lake: LakeStore, name: str) -> int:
    with storage_errors("read", f"{lake.folder.url}/faces/{name}"):

        def count() -> int:
            with lake.folder.open(f"faces/{name}") as file:
                return int(pq.read_metadata(file).num_rows)

        return lake.folder.attempt(count)


def batches(lake: LakeStore, name: str) -> Iterator[tuple[pa.Array, Floats32]]:
    """Yield face ids and vectors float32 [N, D] of one part."""
    for batch in table_batches(lake, name, ["face_id", "embedding"]):
        yield batch["face_id"], matrix(batch["embedding"])


def table_batches(lake: LakeStore, name: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield columns of the faces of one part."""
    return lake.face_batches(name, columns, BATCH)


def locate(lake: LakeStore, face_ids: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Return the part of each face; faces in none of `names` are left out."""
    wanted = pa.array(face_ids, pa.string())
    part_of: dict[str, str] = {}
    for name in names:
        if len(part_of) == len(wanted):
            break
        for batch in table_batches(lake, name, ["face_id"]):
            matches = batch["face_id"].filter(pc.is_in(batch["face_id"], wanted))
            part_of |= dict.fromkeys(matches.to_pylist(), name)
    return part_of


def rows_by_id(lake: LakeStore, part_of: Mapping[str, str], columns: Sequence[str]) -> pa.Table:
    """Return columns of faces, `face_id` first; `part_of` names the part of each."""
    return scan(
        lake.folder.child("faces"),
        sorted(set(part_of.values())),
        schema.faces_schema(lake.existing_models().dimension),
        ["face_id", *columns],
        pc.field("face_id").isin(pa.array(list(part_of), pa.string())),
    )


def vectors_by_id(lake: LakeStore, part_of: Mapping[str, str]) -> dict[str, Floats32]:
    """Return the vector of each face."""
    table = rows_by_id(lake, part_of, ["embedding"])
    vectors = matrix(table["embedding"]) if len(table) else np.zeros((0, 1), np.float32)
    return dict(zip(table["face_id"].to_pylist(), vectors, strict=True))


def no_such_face(lake: LakeStore, face_id: str) -> ConfigError:
    """Return the error for a face that is not in the lake."""
    return ConfigError(
        f"{lake.folder.url} has no face {visible(face_id)}; face ids are in its table faces, and "
        "in what `facelake search` and `facelake people` list"
    )
