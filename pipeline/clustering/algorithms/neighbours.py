"""The k nearest neighbours of vectors: exact search in blocks, ties in a fixed order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pipeline.arrays import Ints
from pipeline.clustering.algorithms.grid import UNIT, Grid

# Scores of one block: 64 MB of float32, whatever the number of members.
BLOCK_QUERIES, BLOCK_MEMBERS = 1024, 16_384


@dataclass(frozen=True)
class Found:
    """Neighbours of queries, as a list of entries in any order.

    Attributes:
        query: row of the query, int64 [E].
        member: name of the member, int64 [E].
        score: in grid units, float32 [E].
        rank: what breaks ties between equal scores, lower first, int64 [E].
    """

    query: Ints
    member: Ints
    score: npt.NDArray[np.float32]
    rank: Ints

    @property
    def cosine(self) -> npt.NDArray[np.float32]:
        """Similarities, float32 [E]."""
        return self.score / np.float32(UNIT)

    def of(self, queries: Ints) -> "Found":
        """Return the entries with row i named `queries[i]`."""
        return Found(queries[self.query], self.member, self.score, self.rank)

    @staticmethod
    def best(parts: Sequence["Found"], k: int) -> "Found":
        """Return the best `k` entries of each query, in order; no entry may be there twice."""
        none = np.zeros(0, np.int64)
        query, member, rank = (
            np.concatenate([none, *(getattr(part, name) for part in parts)])
            for name in ("query", "member", "rank")
        )
        score = np.concatenate([np.zeros(0, np.float32), *(part.score for part in parts)])
        order = np.lexsort((rank, -score, query))
        starts = np.flatnonzero(np.diff(query[order], prepend=-1))
        lengths = np.diff(np.append(starts, len(order)))
        keep = order[np.arange(len(order)) - np.repeat(starts, lengths) < k]
        return Found(query[keep], member[keep], score[keep], rank[keep])


def search(
    queries: Grid,
    members: Grid,
    member_rows: Ints,
    member_ranks: Ints,
    k: int,
    floor: float,
    query_rows: Ints | None = None,
    device: str = "cpu",
) -> Found:
    """Return the `k` most similar members of each query, those below `floor` left out.

    Args:
        queries: grid vectors [Q, D].
        members: grid vectors [M, D].
        k: how many at most.
        member_rows: what to call each member, int64 [M].
        member_ranks: breaks ties, different for each member, int64 [M].
        floor: lowest cosine.
        query_rows: what the queries are called; a query does not find itself.
        device: of torch; the scores are the same on each, unless TF32 is allowed.
    """
    # Ranks in order: then a stable sort by score alone keeps ties by rank.
    order = np.argsort(member_ranks, kind="stable")
    rows, ranks = member_rows[order], member_ranks[order]
    lowest = float(np.floor(floor * UNIT))
    parts: list[Found] = []
    for start in range(0, len(queries), BLOCK_QUERIES):
        mine = slice(start, start + BLOCK_QUERIES)
        ours = torch.from_numpy(queries[mine].astype(np.float32)).to(device)
        found: list[Found] = []
        for first in range(0, len(members), BLOCK_MEMBERS):
            block = slice(first, first + BLOCK_MEMBERS)
            theirs = torch.from_numpy(members[order[block]].astype(np.float32)).to(device)
            names, block_ranks = rows[block], ranks[block]
            scores = ours @ theirs.T
            if query_rows is not None:
                _forget_self(scores, query_rows[mine], names)
            value, column = _top(scores, min(k, len(names)), lowest)
            query, place = np.nonzero(value >= lowest)
            at = column[query, place]
            found.append(Found(query + start, names[at], value[query, place], block_ranks[at]))
        parts.append(found[0] if len(found) == 1 else Found.best(found, k))
    return Found.best(parts, k)


def _forget_self(scores: torch.Tensor, query_rows: Ints, names: Ints) -> None:
    order = np.argsort(names)
    at = np.minimum(np.searchsorted(names, query_rows, sorter=order), len(names) - 1)
    column = order[at]
    same = np.flatnonzero(names[column] == query_rows)
    scores[torch.from_numpy(same), torch.from_numpy(column[same])] = -torch.inf


def _top(scores: torch.Tensor, k: int, lowest: float) -> tuple[npt.NDArray[np.float32], Ints]:
    """Return score and column of the best `k` of each row; of equal ones the first columns."""
    more = min(k + 1, scores.shape[1])
    value, column = (t.cpu().numpy() for t in torch.topk(scores, more, dim=1))
    if more > k:
        # Which of several equal scores made it past the cut is not defined: choose ourselves.
        for row in np.flatnonzero((value[:, k] == value[:, k - 1]) & (value[:, k - 1] >= lowest)):
            whole = scores[int(row)].cpu().numpy()
            candidates = np.flatnonzero(whole >= value[row, k - 1])
            chosen = candidates[np.argsort(-whole[candidates], kind="stable")][:k]
            value[row, :k], column[row, :k] = whole[chosen], chosen
        value, column = value[:, :k], column[:, :k]
    return value, column.astype(np.int64)
