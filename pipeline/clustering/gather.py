"""Reads the faces of a lake for clustering, verifies them, and leaves them as arrays."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Floats32, Floats64, Ints
from pipeline.clustering.algorithms.grid import Grid, to_grid
from pipeline.clustering.shards import gather_rows
from pipeline.errors import StorageError
from pipeline.lake.checkpoints import Workspace
from pipeline.lake.columns import is_unit, matrix
from pipeline.lake.shelf import Shelf
from pipeline.lake.store import LakeStore

SHARD_FACES = 131_072
# Vectors that are added up at once.
SUM_ROWS = 50_000


@dataclass(frozen=True)
class GatheredFaces:
    """Columns of the faces of a shard.

    Attributes:
        face_id, image_id: fixed-width bytes [N].
        box: x1, y1, x2, y2, float32 [N, 4].
        taken_at: milliseconds, NaN when not known, float64 [N].
        score, size_px, sharpness, yaw, quality: as in `faces`, float32 [N].
    """

    face_id: np.ndarray
    image_id: np.ndarray
    box: Floats32
    taken_at: Floats64
    score: Floats32
    size_px: Floats32
    sharpness: Floats32
    yaw: Floats32
    quality: Floats32


MEASURES = ("score", "size_px", "sharpness", "yaw", "quality")


@dataclass(frozen=True)
class Faces(GatheredFaces):
    """The faces of a run without their vectors, in the order of the shards.

    Attributes:
        photo: the image that is kept of the image's copies, itself where there are none.
        starts: number of each shard's first face, and the total, int64 [S + 1].
        workspace: holds the vectors.
        shelf: holds what is as long as there are faces.
    """

    photo: np.ndarray
    starts: Ints
    workspace: Workspace
    shelf: Shelf = field(default_factory=Shelf)

    @cached_property
    def order(self) -> Ints:
        """Rows in the order of the ids, int64 [N]."""
        order = self.shelf.zeros("order", len(self.face_id), np.int64)
        order[:] = np.argsort(self.face_id, kind="stable")
        return order

    @cached_property
    def rank(self) -> Ints:
        """Place of each face in the order of the ids, int64 [N]."""
        rank = self.shelf.zeros("rank", len(self.face_id), np.int64)
        rank[self.order] = np.arange(len(rank))
        return rank

    def rows_of(self, faces: Collection[str]) -> dict[str, int]:
        """Return the row of each of some faces that are here."""
        some = pa.array(sorted(faces), pa.string())
        rows = pc.index_in(some, strings(self.face_id)) if len(some) else some
        some, rows = some.filter(rows.is_valid()), rows.drop_null()
        return dict(zip(some.to_pylist(), rows.to_pylist(), strict=True))

    @property
    def shards(self) -> int:
        """Number of shards."""
        return len(self.starts) - 1

    def vectors(self, rows: Ints) -> Grid:
        """Return the grid vectors of some faces."""
        shards = [self.workspace.open_large(f"gather-{i:05}-vectors") for i in range(self.shards)]
        return gather_rows(shards, self.starts, rows)


def plan_shards(lake: LakeStore, clustered_parts: frozenset[str]) -> list[list[str]]:
    """Return the new parts of each shard: about `SHARD_FACES` faces by the size of their files."""
    sizes = lake.folder.child("faces").files()
    shards: list[list[str]] = []
    bytes_left = 0.0
    models = lake.models()
    face_bytes = 4.0 * (models.dimension if models else 512) + 500
    for name in (n for n in lake.parts() if n not in clustered_parts):
        if bytes_left <= 0 or not shards:
            shards.append([])
            bytes_left = SHARD_FACES * face_bytes
        shards[-1].append(name)
        bytes_left -= sizes.get(name, 0)
    return shards


def gather(
    workspace: Workspace, name: str, lake: LakeStore, parts: list[str], only: frozenset[str] | None
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
    workspace.save_large(f"{name}-vectors", to_grid(matrix(faces["embedding"])))
    gathered = GatheredFaces(
        texts(faces["face_id"]), texts(faces["image_id"]), matrix(faces["box"]), taken,
        *(np.asarray(faces[name].to_numpy(), np.float32) for name in MEASURES),
    )  # fmt: skip
    workspace.save(name, vars(gathered))


def texts(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column of ASCII ids as fixed-width bytes."""
    return np.array(column.to_pylist() or [""], dtype="S")[: len(column)]


def strings(ids: np.ndarray) -> pa.Array:
    """Return fixed-width ASCII ids as a column."""
    return pa.array(ids, pa.binary()).cast(pa.string())


def verify(lake: LakeStore, parts: list[str], faces: pa.Table, photos: pa.Table | None) -> None:
    """Raise StorageError when the tables cannot be clustered as they are."""
    where = f"{lake.folder.url}, parts {parts[0]} to {parts[-1]}"
    way_out = f"run `facelake check {lake.folder.url}` and repair the lake before clustering"
    if faces["embedding"].null_count:
        raise StorageError(
            f"{faces['embedding'].null_count} faces have no vector in {where}; {way_out}"
        )
    bad = int((~is_unit(matrix(faces["embedding"]))).sum())
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
    workspace: Workspace, shards: int, kept: Callable[[np.ndarray], np.ndarray]
) -> Faces:
    """Return what `gather` left, without the vectors; `kept` returns `Faces.photo` of images."""
    shelf, names = Shelf(), [f"gather-{i:05}" for i in range(shards)]
    # One shard at a time is in memory, so each is read twice: first to see how much there is.
    empty = [{k: (len(v), v[:0].copy()) for k, v in workspace.load(n).items()} for n in names]
    starts = np.cumsum([0, *(shard["face_id"][0] for shard in empty)])
    columns = {}
    for column in fields(GatheredFaces):
        like = np.concatenate([shard[column.name][1] for shard in empty])
        columns[column.name] = shelf.zeros(
            column.name, int(starts[-1]), like.dtype, like.shape[1:]
        )  # fmt: skip
    for name, first, last in zip(names, starts[:-1], starts[1:], strict=True):
        for key, part in workspace.load(name).items():
            columns[key][first:last] = part
    photo = kept(columns["image_id"])
    return Faces(**columns, photo=photo, starts=starts, workspace=workspace, shelf=shelf)


def sums_of(
    owner: Ints, owners: int, read: Callable[[Ints], npt.NDArray[Any]]
) -> Iterator[tuple[slice, Floats64]]:
    """Yield the sums of what owners have, some owners at a time: who, and float64 [O, D].

    Args:
        owner: of each row, int64 [N].
        owners: how many there are.
        read: returns the numbers [N, D] of some rows.
    """
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(owners + 1))
    first = 0
    while first < owners:
        # One owner at least, however many rows it has.
        last = int(np.searchsorted(starts, starts[first] + SUM_ROWS, side="right")) - 1
        last = min(owners, max(first + 1, last))
        rows = order[starts[first] : starts[last]]
        some = np.flatnonzero(np.diff(starts[first : last + 1]))
        vectors = read(rows)
        sums = np.zeros((last - first, vectors.shape[1]))
        if len(some):
            at = starts[first:last][some] - starts[first]
            sums[some] = np.add.reduceat(vectors, at, axis=0, dtype=np.float64)
        yield slice(first, last), sums
        first = last
