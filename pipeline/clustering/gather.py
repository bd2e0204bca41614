"""Reads the faces of a lake for clustering, verifies them, and leaves them as arrays."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Ints
from pipeline.clustering.algorithms.grid import to_grid
from pipeline.errors import StorageError
from pipeline.lake.checkpoints import Workspace
from pipeline.lake.columns import matrix
from pipeline.lake.store import LakeStore

NORM_TOLERANCE = 1e-3
SHARD_FACES = 131_072
MEASURES = ("score", "size_px", "sharpness", "yaw", "quality")


@dataclass(frozen=True)
class Faces:
    """What is known of the faces of a lake without their vectors, in the order of the shards.

    Attributes:
        face_id, image_id: str [N], fixed width bytes.
        photo: the image that is kept of the image's copies, itself where there are none.
        box: float32 [N, 4].
        measures: float32 [N] each, of `MEASURES`.
        taken_at: milliseconds, NaN when not known, float64 [N].
        starts: number of each shard's first face, and the total, int64 [S + 1].
    """

    face_id: np.ndarray
    image_id: np.ndarray
    box: np.ndarray
    measures: dict[str, np.ndarray]
    taken_at: np.ndarray
    starts: np.ndarray
    photo: np.ndarray


def plan_shards(lake: LakeStore, done: frozenset[str]) -> list[list[str]]:
    """Return the new parts of each shard: about `SHARD_FACES` faces by the size of their files."""
    sizes = lake.folder.child("faces").files()
    shards: list[list[str]] = []
    room = 0.0
    models = lake.models()
    face_bytes = 4.0 * (models.dimension if models else 512) + 500
    for name in (n for n in lake.parts() if n not in done):
        if room <= 0 or not shards:
            shards.append([])
            room = SHARD_FACES * face_bytes
        shards[-1].append(name)
        room -= sizes.get(name, 0)
    return shards


def gather(
    work: Workspace, name: str, lake: LakeStore, parts: list[str], only: frozenset[str] | None
) -> None:
    """Leave vectors and measures of some parts, or of `only` some of their faces.

    Raises:
        StorageError: the lake is broken: vectors that are missing, not finite or not of unit
            norm, or images that promise another number of faces.
    """
    columns = ["face_id", "image_id", "box", *MEASURES, "embedding"]
    photo_columns = ["image_id", "faces", "taken_at"]
    if only is None:
        faces = pa.concat_tables([lake.read_part("faces", part, columns) for part in parts])
        photos = pa.concat_tables([lake.read_part("images", p, photo_columns) for p in parts])
    else:
        faces = lake.read("faces", columns, pc.field("face_id").isin(sorted(only)))
        owners = pc.unique(faces["image_id"]).to_pylist()
        photos = lake.read("images", photo_columns, pc.field("image_id").isin(owners))
    verify(lake, parts, faces, photos if only is None else None)
    place = pc.index_in(faces["image_id"], photos["image_id"].combine_chunks())
    taken = pc.cast(photos["taken_at"].take(place), pa.int64()).to_numpy().astype(np.float64)
    work.save_large(f"{name}-vectors", to_grid(matrix(faces["embedding"])))
    work.save(
        name,
        {
            "face_id": texts(faces["face_id"]),
            "image_id": texts(faces["image_id"]),
            "box": matrix(faces["box"]),
            "taken_at": taken,
            **{m: np.asarray(faces[m].to_numpy(), np.float32) for m in MEASURES},
        },
    )


def texts(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column of ASCII ids as fixed-width bytes."""
    return np.array(column.to_pylist() or [""], dtype="S")[: len(column)]


def verify(lake: LakeStore, parts: list[str], faces: pa.Table, photos: pa.Table | None) -> None:
    """Raise StorageError when the tables cannot be clustered as they are."""
    where = f"{lake.folder.url}, parts {parts[0]} to {parts[-1]}"
    way_out = f"run `facelake check {lake.folder.url}` and repair the lake before clustering"
    if faces["embedding"].null_count:
        raise StorageError(
            f"{faces['embedding'].null_count} faces have no vector in {where}; {way_out}"
        )
    norms = np.linalg.norm(matrix(faces["embedding"]), axis=1)
    bad = int((~(np.abs(norms - 1) <= NORM_TOLERANCE)).sum())
    if bad:
        raise StorageError(
            f"{bad} vectors are not finite or not of unit norm in {where}; {way_out}"
        )
    promised = len(faces) if photos is None else pc.sum(photos["faces"]).as_py() or 0
    if promised != len(faces):
        raise StorageError(
            f"images promise {promised} faces, there are {len(faces)} in {where}; {way_out}"
        )


def load_faces(
    work: Workspace, shards: int, kept: Callable[[np.ndarray], np.ndarray] = lambda ids: ids
) -> Faces:
    """Return what `gather` left, without the vectors; `kept` tells `Faces.photo` of images."""
    loaded = [work.load(f"gather-{i:05}") for i in range(shards)]

    def whole(name: str) -> np.ndarray:
        return np.concatenate([one[name] for one in loaded])

    return Faces(
        whole("face_id"),
        whole("image_id"),
        whole("box"),
        {m: whole(m) for m in MEASURES},
        whole("taken_at"),
        np.cumsum([0, *(len(one["face_id"]) for one in loaded)]),
        kept(whole("image_id")),
    )


def shard_of(faces: Faces, rows: Ints) -> Ints:
    """Return the shard of each face."""
    found: Ints = np.searchsorted(faces.starts, rows, side="right") - 1
    return found


def rows_of(work: Workspace, faces: Faces, rows: Ints) -> np.ndarray:
    """Return the grid vectors of some faces."""
    shard = shard_of(faces, rows)
    parts = [work.open_large(f"gather-{i:05}-vectors") for i in range(len(faces.starts) - 1)]
    width = parts[0].shape[1] if parts else 0
    out = np.empty((len(rows), width), np.int16)
    for i in np.unique(shard):
        mine = shard == i
        out[mine] = parts[i][rows[mine] - faces.starts[i]]
    return out
