"""Pictures that lie inside others, by a face that both show in the same geometry; in tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.arrays import Bools, Bytes, Floats32, Ints
from pipeline.dedupe.algorithms.faces import (
    HASH_RADIUS,
    Similarities,
    are_copies,
    sign_hashes,
    signature,
)
from pipeline.dedupe.algorithms.pictures import Pictures
from pipeline.dedupe.gather import hexes
from pipeline.dedupe.search import HashSearch, find_pairs
from pipeline.lake.checkpoints import TaskRunner, Workspace
from pipeline.lake.columns import matrix
from pipeline.lake.store import LakeStore

COLUMNS = ("image_id", "landmarks", "embedding")
# Pairs verified at once.
CHUNK = 100_000


@dataclass(frozen=True)
class FaceColumns:
    """Faces without their vectors.

    Attributes:
        image_id: bytes of the id of the image, uint8 [N, 16].
        landmarks: float32 [N, 5, 2].
        hash: sign hash of the vector, uint8 [N, 32].
        part, row: number of the part among those of its task, and row in it, int64 [N] each.
    """

    image_id: Bytes
    landmarks: Floats32
    hash: Bytes
    part: Ints
    row: Ints


def gather_faces(workspace: Workspace, name: str, lake: LakeStore, parts: list[str]) -> None:
    """Leave the faces of some parts, and their vectors."""
    tables = [lake.read_part("faces", part, COLUMNS) for part in parts]
    faces = pa.concat_tables(tables)
    vectors = matrix(faces["embedding"])
    workspace.save_large(f"{name}-vectors", vectors.astype(np.float16))
    columns = FaceColumns(
        hexes(faces["image_id"]),
        matrix(faces["landmarks"]).reshape(-1, 5, 2),
        sign_hashes(vectors),
        np.concatenate([np.full(len(table), i) for i, table in enumerate(tables)]),
        np.concatenate([np.arange(len(table)) for table in tables]),
    )
    workspace.save(name, vars(columns))


class Faces:
    """The faces that are compared, those of one picture of each class alone.

    Args:
        workspace: where `gather_faces` left them.
        parts: of each task.
        image_ids: bytes of the ids of the pictures, uint8 [N, 16].
        chosen: which pictures represent their class, bool [N].
    """

    def __init__(
        self, workspace: Workspace, parts: Sequence[list[str]], image_ids: Bytes, chosen: Bools
    ) -> None:
        tasks = range(len(parts))
        loaded = [FaceColumns(**workspace.load(f"faces-{i:05}")) for i in tasks]
        self.vectors = [workspace.open_large(f"faces-{i:05}-vectors") for i in tasks]
        self.parts = parts
        task = np.repeat(tasks, [len(one.row) for one in loaded])
        place = np.concatenate([np.arange(len(one.row)) for one in loaded])
        ids = np.ascontiguousarray(image_ids).view("V16").ravel()
        owners = np.concatenate([one.image_id for one in loaded]).view("V16").ravel()
        order = np.argsort(ids, kind="stable")
        at = np.minimum(np.searchsorted(ids[order], owners), max(0, len(ids) - 1))
        picture = order[at] if len(order) else at
        keep = np.flatnonzero((ids[picture] == owners) & chosen[picture])
        self.picture: Ints = picture[keep]
        self.task, self.place = task[keep], place[keep]
        self.landmarks = np.concatenate([one.landmarks for one in loaded])[keep]
        self.hash = np.concatenate([one.hash for one in loaded])[keep]
        self.part = np.concatenate([one.part for one in loaded])[keep]
        self.row = np.concatenate([one.row for one in loaded])[keep]

    def vector(self, faces: Ints) -> Floats32:
        """Return the vectors of some faces."""
        out = np.empty((len(faces), self.vectors[0].shape[1]), np.float32)
        for task in np.unique(self.task[faces]).tolist():
            of_task = self.task[faces] == task
            out[of_task] = self.vectors[task][self.place[faces[of_task]]]
        return out

    def signatures(self, lake: LakeStore, faces: Ints) -> dict[int, Floats32 | None]:
        """Return what the thumbnails of some faces look like; each part is read once."""
        signatures: dict[int, Floats32 | None] = {}
        key = self.task[faces] * (1 << 32) + self.part[faces]
        for one in np.unique(key).tolist():
            of_part = faces[key == one]
            part = self.parts[one >> 32][one & 0xFFFFFFFF]
            thumbnails = lake.read_part("faces", part, ["thumbnail"])["thumbnail"]
            rows = thumbnails.take(pa.array(self.row[of_part])).to_pylist()
            signatures |= zip(of_part.tolist(), map(signature, rows), strict=True)
        return signatures


def find_crops(
    tasks: TaskRunner,
    lake: LakeStore,
    parts: Sequence[list[str]],
    pictures: Pictures,
    chosen: Bools,
    new: Bools,
) -> Ints:
    """Return pairs of pictures, int64 [P, 2]: one, and another that lies inside it.

    They share a face in the same geometry, and by it the second one's frame falls into the first's.

    Args:
        tasks: runs them.
        lake: of the pictures.
        parts: of each task, in the order of the pictures.
        pictures: all of them.
        chosen: pictures that represent their class.
        new: pictures that were not compared before; only pairs with one of them are returned.
    """
    tasks.run("faces", gather_faces, [(lake, of_task) for of_task in parts])
    faces = Faces(tasks.workspace, parts, pictures.image_id, chosen)
    search = HashSearch("faces", faces.hash, new[faces.picture], HASH_RADIUS)
    pairs = find_pairs(tasks, search)[None]
    crops = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(pairs.first), CHUNK):
        rows = slice(start, start + CHUNK)
        one, two = same_faces(lake, faces, pairs.first[rows], pairs.second[rows])
        crops += [inside(faces, pictures, one, two), inside(faces, pictures, two, one)]
    return np.unique(np.concatenate(crops), axis=0)


def same_faces(lake: LakeStore, faces: Faces, first: Ints, second: Ints) -> tuple[Ints, Ints]:
    """Return the pairs of faces that are one face of one picture."""
    apart = faces.picture[first] != faces.picture[second]
    first, second = first[apart], second[apart]
    cosine = (faces.vector(first) * faces.vector(second)).sum(axis=1).astype(np.float64)
    residual = fit(faces, first, second).residual
    maybe = are_copies(cosine, residual, np.ones(len(first)))
    first, second, cosine, residual = first[maybe], second[maybe], cosine[maybe], residual[maybe]
    looks = faces.signatures(lake, np.unique(np.concatenate([first, second])))
    correlation = np.full(len(first), np.nan)
    for i, (one, two) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        a, b = looks[one], looks[two]
        if a is not None and b is not None:
            correlation[i] = float(a @ b)
    same = are_copies(cosine, residual, correlation)
    return first[same], second[same]


def fit(faces: Faces, first: Ints, second: Ints) -> Similarities:
    """Return what maps the landmarks of some faces onto those of others."""
    return Similarities.fit(faces.landmarks[first], faces.landmarks[second])


def inside(faces: Faces, pictures: Pictures, outer: Ints, inner: Ints) -> Ints:
    """Return the pairs of pictures of which the one with face `inner` lies inside the other."""
    sizes = np.stack([pictures.width, pictures.height], axis=1).astype(np.float64)
    one, two = faces.picture[outer], faces.picture[inner]
    falls = fit(faces, inner, outer).inside(sizes[two], sizes[one])
    return np.stack([one[falls], two[falls]], axis=1)
