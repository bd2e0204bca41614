"""Pictures that lie inside others, by a face that both show in the same geometry; in tasks."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipeline.arrays import Bools, Bytes, Ints
from pipeline.dedupe.algorithms.faces import (
    HASH_RADIUS,
    Similarities,
    are_copies,
    sign_hashes,
    signature,
)
from pipeline.dedupe.algorithms.pictures import Pictures
from pipeline.dedupe.gather import hexes
from pipeline.dedupe.search import Progress, find_pairs
from pipeline.lake.checkpoints import Mapper, TaskRunner, Workspace
from pipeline.lake.columns import matrix
from pipeline.lake.store import LakeStore

COLUMNS = ("image_id", "landmarks", "embedding")
# Pairs verified at once.
CHUNK = 100_000


def gather_faces(work: Workspace, name: str, lake: LakeStore, parts: list[str]) -> None:
    """Leave the faces of some parts: whose they are, landmarks, vectors and their hashes."""
    tables = [lake.read_part("faces", part, COLUMNS) for part in parts]
    faces = pa.concat_tables(tables)
    vectors = matrix(faces["embedding"])
    work.save_large(f"{name}-vectors", vectors.astype(np.float16))
    owners = [np.full(len(table), i) for i, table in enumerate(tables)]
    rows = [np.arange(len(table)) for table in tables]
    work.save(
        name,
        {
            "image_id": hexes(faces["image_id"]),
            "landmarks": matrix(faces["landmarks"]).reshape(-1, 5, 2),
            "hash": sign_hashes(vectors),
            "part": np.concatenate(owners),
            "row": np.concatenate(rows),
        },
    )


class Faces:
    """The faces that are compared, those of one picture of each class alone.

    Args:
        work: where `gather_faces` left them.
        tasks: parts of each task.
        image_ids: bytes of the ids of the pictures, uint8 [N, 16].
        chosen: which pictures speak for their class, bool [N].
    """

    def __init__(
        self, work: Workspace, tasks: Sequence[list[str]], image_ids: Bytes, chosen: Bools
    ) -> None:
        loaded = [work.load(f"faces-{i:05}") for i in range(len(tasks))]
        self.vectors = [work.open_large(f"faces-{i:05}-vectors") for i in range(len(tasks))]
        self.tasks = tasks
        task = np.repeat(np.arange(len(tasks)), [len(one["row"]) for one in loaded])
        place = np.concatenate([np.arange(len(one["row"])) for one in loaded])
        every = {name: np.concatenate([one[name] for one in loaded]) for name in loaded[0]}
        ids = np.ascontiguousarray(image_ids).view("V16").ravel()
        mine = np.ascontiguousarray(every["image_id"]).view("V16").ravel()
        order = np.argsort(ids, kind="stable")
        at = np.minimum(np.searchsorted(ids[order], mine), max(0, len(ids) - 1))
        picture = order[at] if len(order) else at
        keep = np.flatnonzero((ids[picture] == mine) & chosen[picture])
        self.picture: Ints = picture[keep]
        self.task, self.place = task[keep], place[keep]
        self.columns = {name: values[keep] for name, values in every.items()}

    def vector(self, faces: Ints) -> np.ndarray:
        """Return the vectors of some faces."""
        width = self.vectors[0].shape[1]
        out = np.empty((len(faces), width), np.float32)
        for task in np.unique(self.task[faces]).tolist():
            mine = self.task[faces] == task
            out[mine] = self.vectors[task][self.place[faces[mine]]]
        return out

    def signatures(self, lake: LakeStore, faces: Ints) -> dict[int, np.ndarray | None]:
        """Return what the thumbnails of some faces look like; each part is read once."""
        found: dict[int, np.ndarray | None] = {}
        key = self.task[faces] * (1 << 32) + self.columns["part"][faces]
        for one in np.unique(key).tolist():
            mine = faces[key == one]
            part = self.tasks[one >> 32][one & 0xFFFFFFFF]
            thumbnails = lake.read_part("faces", part, ["thumbnail"])["thumbnail"]
            wanted = thumbnails.take(pa.array(self.columns["row"][mine]))
            found |= zip(mine.tolist(), map(signature, wanted.to_pylist()), strict=True)
        return found


def find_crops(
    work: Workspace,
    mapper: Mapper,
    lake: LakeStore,
    tasks: Sequence[list[str]],
    pictures: Pictures,
    chosen: Bools,
    new: Bools,
    progress: Progress,
) -> Ints:
    """Return pairs of pictures, int64 [P, 2]: one, and another that lies inside it.

    They share a face in the same geometry, and by it the second one's frame falls into the first's.

    Args:
        work: where tasks leave their results.
        mapper: runs the tasks.
        lake: of the pictures.
        tasks: parts, in the order of the pictures.
        pictures: all of them.
        chosen: pictures that speak for their class.
        new: pictures that were not compared before; only pairs with one of them are returned.
        progress: told of finished tasks.
    """
    runner = TaskRunner(work, mapper, progress)
    runner.run("faces", gather_faces, [(lake, parts) for parts in tasks])
    faces = Faces(work, tasks, pictures.image_id, chosen)
    pairs = find_pairs(
        work,
        mapper,
        faces.columns["hash"],
        new[faces.picture],
        HASH_RADIUS,
        (None,),
        progress,
        "faces",
    )[None]
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(pairs.first), CHUNK):
        part = slice(start, start + CHUNK)
        one, two = same_faces(lake, faces, pairs.first[part], pairs.second[part])
        found += [inside(faces, pictures, one, two), inside(faces, pictures, two, one)]
    return np.unique(np.concatenate(found), axis=0)


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
    landmarks = faces.columns["landmarks"]
    return Similarities.fit(landmarks[first], landmarks[second])


def inside(faces: Faces, pictures: Pictures, outer: Ints, inner: Ints) -> Ints:
    """Return the pairs of pictures of which the one with face `inner` lies inside the other."""
    sizes = np.stack([pictures.width, pictures.height], axis=1).astype(np.float64)
    one, two = faces.picture[outer], faces.picture[inner]
    falls = fit(faces, inner, outer).inside(sizes[two], sizes[one])
    return np.stack([one[falls], two[falls]], axis=1)
