"""The k nearest neighbours of vectors: exact search in blocks, ties in a fixed order."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pipeline.clustering.grid import UNIT, Grid, Ints

# Scores of one block: 64 MB of float32, whatever the number of members.
BLOCK_QUERIES, BLOCK_MEMBERS = 1024, 16_384
NOBODY = -1


@dataclass
class TopK:
    """The best `k` members of each query so far, in order of similarity, then rank.

    Attributes:
        score: in grid units, float32 [Q, k]; -inf where there are fewer.
        member: row of the member in the caller's numbering, int64 [Q, k]; `NOBODY` likewise.
        rank: what breaks ties between equal scores, lower first, int64 [Q, k].
    """

    score: npt.NDArray[np.float32]
    member: Ints
    rank: Ints

    @staticmethod
    def empty(queries: int, k: int) -> "TopK":
        """Return lists without anybody."""
        shape = (queries, k)
        return TopK(
            np.full(shape, -np.inf, np.float32),
            np.full(shape, NOBODY, np.int64),
            np.full(shape, np.iinfo(np.int64).max, np.int64),
        )

    def merge(self, rows: Ints, other: "TopK") -> None:
        """Merge the lists of `other` into `rows`; no member may be in both."""
        score = np.concatenate([self.score[rows], other.score], axis=1)
        rank = np.concatenate([self.rank[rows], other.rank], axis=1)
        member = np.concatenate([self.member[rows], other.member], axis=1)
        order = np.lexsort((rank, -score), axis=1)[:, : self.score.shape[1]]
        self.score[rows] = np.take_along_axis(score, order, axis=1)
        self.rank[rows] = np.take_along_axis(rank, order, axis=1)
        self.member[rows] = np.take_along_axis(member, order, axis=1)

    def edges(self, query_rows: Ints) -> tuple[Ints, Ints, npt.NDArray[np.float32]]:
        """Return (query, member, cosine) of all entries, a query's in order."""
        there = self.member != NOBODY
        sources = np.repeat(query_rows, there.sum(axis=1))
        return sources, self.member[there], self.score[there] / np.float32(UNIT)


def search(
    queries: Grid,
    members: Grid,
    member_rows: Ints,
    member_ranks: Ints,
    k: int,
    floor: float,
    query_rows: Ints | None = None,
    device: str = "cpu",
) -> TopK:
    """Return the `k` most similar members of each query, those below `floor` left out.

    Args:
        queries, members: grid vectors [Q, D] and [M, D].
        member_rows: what to call each member, int64 [M].
        member_ranks: breaks ties, different for each member, int64 [M].
        floor: lowest cosine.
        query_rows: what the queries are called; a query does not find itself.
        device: of torch; the scores are the same on each, unless TF32 is allowed.
    """
    best = TopK.empty(len(queries), k)
    if not len(members):
        return best
    # Ranks in order: then a stable sort by score alone keeps ties by rank.
    order = np.argsort(member_ranks, kind="stable")
    rows, ranks = member_rows[order], member_ranks[order]
    lowest = float(np.floor(floor * UNIT))
    for first in range(0, len(members), BLOCK_MEMBERS):
        block = slice(first, first + BLOCK_MEMBERS)
        theirs = torch.from_numpy(members[order[block]].astype(np.float32)).to(device)
        names, block_ranks = rows[block], ranks[block]
        for start in range(0, len(queries), BLOCK_QUERIES):
            mine = slice(start, start + BLOCK_QUERIES)
            ours = torch.from_numpy(queries[mine].astype(np.float32)).to(device)
            scores = ours @ theirs.T
            if query_rows is not None:
                _forget_self(scores, query_rows[mine], names)
            found = _top(scores, min(k, len(names)), lowest)
            here = np.arange(start, min(start + BLOCK_QUERIES, len(queries)))
            best.merge(here, _named(*found, names, block_ranks))
    return best


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
    value = np.where(value >= lowest, value, -np.inf).astype(np.float32)
    return value, column.astype(np.int64)


def _named(value: npt.NDArray[np.float32], column: Ints, names: Ints, ranks: Ints) -> TopK:
    nobody = ~np.isfinite(value)
    member, rank = names[column], ranks[column]
    member[nobody], rank[nobody] = NOBODY, np.iinfo(np.int64).max
    return TopK(value, member, rank)
