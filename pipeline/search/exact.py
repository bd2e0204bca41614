"""Exact search: every vector of the parts is compared, in bounded memory."""

from collections.abc import Sequence

from pipeline.arrays import Floats32
from pipeline.lake.store import LakeStore
from pipeline.search.topk import Hit, TopK
from pipeline.search.vectors import batches


def search_parts(
    lake: LakeStore, names: Sequence[str], queries: Floats32, k: int, into: TopK | None = None
) -> list[list[Hit]]:
    """Return the `k` faces of the named parts that are most similar to each query [Q, D].

    With `into`, they are added to the hits that it has already.
    """
    top = into or TopK(queries, k)
    for name in names:
        for face_ids, vectors in batches(lake, name):
            top.add(name, face_ids, vectors)
    return top.hits
