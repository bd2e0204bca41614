"""Trains the quantiser that all shards of an index share, on faces that are drawn by chance."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.arrays import Floats32
from pipeline.lake.store import LakeStore
from pipeline.search.settings import FLAT, IVF, faiss
from pipeline.search.store import FORMAT, IndexStore
from pipeline.search.vectors import batches

# FAISS asks for 39 to 256 faces a cell, and 39 a centroid of a product quantiser's 256.
FACES_A_CELL = 40
FACES_FOR_CODES = 65_536
# No more parts are read than hold this many times the sample; they are drawn by chance.
SPREAD = 4
CODE_BITS = 8


def empty_index(store: IndexStore, name: str) -> Any:
    """Return the trained, empty index of a file, to which vectors are added."""
    return faiss().deserialize_index(np.frombuffer(store.folder.read(name), np.uint8))


@dataclass(frozen=True)
class Recipe:
    """What an index is trained for.

    Attributes:
        kind: of the index, one of `settings.KINDS`.
        cells: of the IVF kinds.
        dimension: of the vectors.
        seed: of everything that is drawn by chance.
        salt: gives the same training another file name.
    """

    kind: str
    cells: int
    dimension: int
    seed: int
    salt: str = ""

    @property
    def faces(self) -> int:
        """How many faces training needs."""
        if self.kind == FLAT:
            return 0
        return max(FACES_A_CELL * self.cells, FACES_FOR_CODES if self.kind != IVF else 0)

    def untrained(self) -> Any:
        """Return the index before it has seen a vector."""
        library = faiss()
        inner = library.METRIC_INNER_PRODUCT
        half = library.ScalarQuantizer.QT_fp16
        if self.kind == FLAT:
            return library.IndexScalarQuantizer(self.dimension, half, inner)
        coarse = library.IndexFlatIP(self.dimension)
        if self.kind == IVF:
            # not residuals: half floats are exact enough, and can be read without the centroid
            index = library.IndexIVFScalarQuantizer(
                coarse, self.dimension, self.cells, half, inner, False
            )
        else:
            # 8 numbers in a byte: 64 bytes for 512
            sizes = range(max(1, self.dimension // 8), 0, -1)
            codes = next(size for size in sizes if self.dimension % size == 0)
            index = library.IndexIVFPQ(coarse, self.dimension, self.cells, codes, CODE_BITS, inner)
            index.pq.cp.min_points_per_centroid = 1
            index.pq.cp.seed = self.seed + 1
        index.cp.seed = self.seed + 1
        index.cp.min_points_per_centroid = 1  # small lakes are not worth a warning
        return index


def train(
    lake: LakeStore, rows: Mapping[str, int], sizes: Mapping[str, int], recipe: Recipe
) -> str:
    """Train on a sample of the parts `rows` and return the file, which may be there already.

    The same lake and recipe give the same file: a build that was stopped goes on.
    """
    store = IndexStore(lake)
    facts = [FORMAT, recipe.kind, recipe.cells, recipe.seed, recipe.dimension, recipe.salt,
             sorted((name, sizes[name]) for name in rows)]  # fmt: skip
    key = hashlib.blake2b(json.dumps(facts).encode(), digest_size=12).hexdigest()
    name = f"trained-{key}.faiss"
    if name in store.folder.files():
        return name
    index = recipe.untrained()
    if recipe.faces:
        index.train(sample(lake, rows, recipe.faces, recipe.seed, recipe.dimension)[1])
    store.folder.publish(name, faiss().serialize_index(index).tobytes())
    return name


def sample(
    lake: LakeStore, rows: Mapping[str, int], count: int, seed: int, dimension: int
) -> tuple[npt.NDArray[np.bytes_], Floats32]:
    """Return ids and vectors of `count` faces drawn by chance, or of all if they are fewer."""
    random = np.random.default_rng(seed)
    names = [name for name in sorted(rows) if rows[name]]
    chosen: list[str] = []
    for at in random.permutation(len(names)).tolist():
        if sum(rows[name] for name in chosen) >= SPREAD * count:
            break
        chosen.append(names[at])
    chosen.sort()
    total = sum(rows[name] for name in chosen)
    drawn = np.sort(random.choice(total, min(count, total), replace=False))
    ids: list[bytes] = []
    vectors: list[Floats32] = [np.zeros((0, dimension), np.float32)]
    start = 0
    for name in chosen:
        for face_ids, block in batches(lake, name):
            inside = drawn[(drawn >= start) & (drawn < start + len(block))] - start
            ids += [face.encode() for face in face_ids.take(pa.array(inside)).to_pylist()]
            vectors.append(block[inside])
            start += len(block)
    return np.array(ids, np.bytes_), np.concatenate(vectors)
