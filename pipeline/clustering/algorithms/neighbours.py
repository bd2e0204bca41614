"""The k nearest neighbours of vectors: exact search in blocks, ties in a fixed order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.arrays import Floats32, Ints
from pipeline.clustering.algorithms.grid import UNIT, Grid
from pipeline.clustering.algorithms.kernels import keep_best, keep_best_of

# Scores of one block, whatever the number of members: 8 MB of float32, which a CPU's cache may
# hold, or 64 MB on a GPU.
BLOCK_QUERIES, BLOCK_MEMBERS, GPU_BLOCK_MEMBERS = 1024, 2048, 16_384


@dataclass(frozen=True)
class Members:
    """Vectors that can be found.

    Attributes:
        vectors: grid vectors [M, D].
        names: what to call each one, int64 [M].
        ranks: breaks ties, lower first, different for each one, int64 [M].
    """

    vectors: Grid
    names: Ints
    ranks: Ints


@dataclass(frozen=True)
class Neighbours:
    """Neighbours of queries, as a list of entries in any order.

    Attributes:
        query: row of the query, int64 [E].
        member: name of the member, int64 [E].
        score: in grid units, float32 [E].
        rank: of the member, int64 [E].
    """

    query: Ints
    member: Ints
    score: Floats32
    rank: Ints

    @property
    def cosine(self) -> Floats32:
        """Similarities, float32 [E]."""
        return self.score / np.float32(UNIT)

    def of(self, queries: Ints) -> "Neighbours":
        """Return the entries with row i named `queries[i]`."""
        return Neighbours(queries[self.query], self.member, self.score, self.rank)

    @staticmethod
    def best(parts: Sequence["Neighbours"], k: int) -> "Neighbours":
        """Return the best `k` entries of each query, in order; no entry may be there twice."""
        none = np.zeros(0, np.int64)
        query = np.concatenate([none, *(part.query for part in parts)])
        member = np.concatenate([none, *(part.member for part in parts)])
        rank = np.concatenate([none, *(part.rank for part in parts)])
        score = np.concatenate([np.zeros(0, np.float32), *(part.score for part in parts)])
        order = np.lexsort((rank, -score, query))
        starts = np.flatnonzero(np.diff(query[order], prepend=-1))
        lengths = np.diff(np.append(starts, len(order)))
        keep = order[np.arange(len(order)) - np.repeat(starts, lengths) < k]
        return Neighbours(query[keep], member[keep], score[keep], rank[keep])


def search(
    queries: Grid,
    members: Members,
    k: int,
    floor: float,
    query_names: Ints | None = None,
    device: str = "cpu",
) -> Neighbours:
    """Return the `k` most similar members of each query, those below `floor` left out.

    Args:
        queries: grid vectors [Q, D].
        members: that can be found.
        k: how many at most.
        floor: lowest cosine.
        query_names: names of the queries among the members; a query does not find itself.
        device: of torch; the scores are the same on each, unless TF32 is allowed.
    """
    # Members in order of rank: then a stable sort by score alone keeps ties by rank.
    order = np.argsort(members.ranks, kind="stable")
    names, ranks = members.names[order], members.ranks[order]
    lowest = float(np.floor(floor * UNIT))
    most = BLOCK_MEMBERS if device == "cpu" else GPU_BLOCK_MEMBERS
    parts: list[Neighbours] = []
    for start in range(0, len(queries), BLOCK_QUERIES):
        rows = slice(start, start + BLOCK_QUERIES)
        query_block = torch.from_numpy(queries[rows].astype(np.float32)).to(device)
        value = np.full((len(query_block), k), -np.inf, np.float32)
        column = np.zeros(value.shape, np.int64)
        for first in range(0, len(names), most):
            block = slice(first, first + most)
            vectors = members.vectors[order[block]].astype(np.float32)
            scores = query_block @ torch.from_numpy(vectors).to(device).T
            if query_names is not None:
                _exclude_self(scores, query_names[rows], names[block])
            if device == "cpu":
                keep_best(scores.numpy(), first, lowest, value, column)
            else:
                more, at = _top(scores, min(k, len(vectors)), lowest)
                keep_best_of(more, at + first, lowest, value, column)
        query, place = np.nonzero(value >= lowest)
        found = column[query, place]
        parts.append(Neighbours(query + start, names[found], value[query, place], ranks[found]))
    return Neighbours.best(parts, k)


def _exclude_self(scores: torch.Tensor, query_names: Ints, names: Ints) -> None:
    order = np.argsort(names)
    at = np.minimum(np.searchsorted(names, query_names, sorter=order), len(names) - 1)
    column = order[at]
    same = np.flatnonzero(names[column] == query_names)
    scores[torch.from_numpy(same), torch.from_numpy(column[same])] = -torch.inf


def _top(scores: torch.Tensor, k: int, lowest: float) -> tuple[Floats32, Ints]:
    """Return score and column of the best `k` of each row; of equal ones the first columns."""
    more = min(k + 1, scores.shape[1])
    value, column = (t.cpu().numpy() for t in torch.topk(scores, more, dim=1))
    if more > k:
        # torch does not say which of several equal scores it takes: the choice is made here.
        for row in np.flatnonzero((value[:, k] == value[:, k - 1]) & (value[:, k - 1] >= lowest)):
            whole = scores[int(row)].cpu().numpy()
            candidates = np.flatnonzero(whole >= value[row, k - 1])
            chosen = candidates[np.argsort(-whole[candidates], kind="stable")][:k]
            value[row, :k], column[row, :k] = whole[chosen], chosen
        value, column = value[:, :k], column[:, :k]
    return value, column.astype(np.int64)
