"""The most similar faces of several queries, collected block by block."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.arrays import Floats32

# How far off float32 may be in a similarity of unit vectors; float64 decides within it.
SLACK = 1e-5


@dataclass(frozen=True, slots=True, order=True)
class Hit:
    """A similar face; hits sort by falling similarity, then by face id.

    Attributes:
        distance: similarity with its sign changed, so that the best come first.
        face_id: of the face.
        part: of the lake that has it.
    """

    distance: float
    face_id: str
    part: str

    @property
    def similarity(self) -> float:
        """Cosine of the vectors, from -1 to 1."""
        return -self.distance


class TopK:
    """Keeps the `k` best faces of each query; how the faces are split into blocks does not matter.

    Products in float32 choose the candidates, sums in float64 rank them: the sum of a row does not
    depend on the rows beside it.

    Args:
        queries: float32 [Q, D], unit vectors.
        k: faces to keep of each.
    """

    def __init__(self, queries: Floats32, k: int) -> None:
        self.queries = np.ascontiguousarray(queries, np.float32)
        self.k = k
        self.hits: list[list[Hit]] = [[] for _ in self.queries]
        self._double = self.queries.astype(np.float64)

    def add(self, part: str, face_ids: pa.Array, vectors: Floats32) -> None:
        """Look at faces of one part, float32 [N, D]."""
        if not len(vectors):
            return
        for query, scores in enumerate(self.queries @ vectors.T):
            kept = self.hits[query]
            floor = kept[-1].similarity if len(kept) == self.k else -np.inf
            if len(scores) > self.k:
                floor = max(floor, float(np.partition(scores, -self.k)[-self.k]))
            rows = np.flatnonzero(scores >= floor - SLACK)
            exact = (vectors[rows].astype(np.float64) * self._double[query]).sum(axis=1)
            ids = face_ids.take(pa.array(rows)).to_pylist()
            self.merge(query, [Hit(-s, i, part) for s, i in zip(exact.tolist(), ids, strict=True)])

    def merge(self, query: int, hits: list[Hit]) -> None:
        """Add hits of a query that were found elsewhere."""
        if hits:
            self.hits[query] = sorted([*self.hits[query], *hits])[: self.k]
