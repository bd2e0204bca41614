"""Nodes in shards, and the search for each one's neighbours by cells.

A shard holds vectors sorted by their own cell, so that a range of cells is one slice of each shard:
vectors are stored once, and a task that searches for a range of cells reads just the slices that
its queries probe.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Bools, Floats32, Floats64, Ints
from pipeline.clustering.algorithms.cells import assign, centroids, number_of_cells
from pipeline.clustering.algorithms.components import spanning_forest
from pipeline.clustering.algorithms.grid import Grid
from pipeline.clustering.algorithms.neighbours import Members, Neighbours, search
from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.clustering.algorithms.threshold import Threshold
from pipeline.lake.checkpoints import Workspace

# Queries that one task searches for: seconds to a minute of work, bounded memory.
TASK_QUERIES = 65_536
SAMPLE_PER_CELL = 32
# Faces as alike as this come from one burst, or one picture published twice.
COPY_COSINE = 0.95


@dataclass(frozen=True)
class NodeSet:
    """A set of nodes in shards, and how their neighbours are searched.

    Attributes:
        prefix: of its files in the workspace.
        starts: number of each shard's first node, and the total, int64 [S + 1].
        probes: cells looked into; 0: all, which is exact.
        k: neighbours of a node.
        device: of torch.
    """

    prefix: str
    starts: Ints
    probes: int
    k: int
    device: str

    @staticmethod
    def of(prefix: str, starts: Ints, config: ClusterConfig, widen: int = 1) -> "NodeSet":
        """Return a set whose search is exact if it is small, else in `widen` times the cells."""
        exact = int(starts[-1]) < config.exact_below
        probes = 0 if exact else config.probes * widen
        return NodeSet(prefix, starts, probes, config.neighbours, config.device)

    @property
    def shards(self) -> int:
        """Number of shards."""
        return len(self.starts) - 1

    @property
    def total(self) -> int:
        """Number of nodes."""
        return int(self.starts[-1])


@dataclass(frozen=True)
class NodeColumns:
    """Columns of the nodes of a shard.

    Attributes:
        rank: breaks ties, and decides who is in a sample, int64 [N].
        count: faces that the node stands for, float64 [N].
        member: whether it can be found, bool [N].
        query: whether its neighbours are searched, bool [N].
        item: the face or group that the node stands for, int64 [N].
    """

    rank: Ints
    count: Floats64
    member: Bools
    query: Bools
    item: Ints


@dataclass(frozen=True)
class Edges:
    """What one search task finds.

    Attributes:
        source, target: ends of each edge; the best of a source come first, int64 [E].
        cosine: of the edges, float32 [E].
        nodes: whose neighbours were searched, int64 [Q].
        copies: how many of its neighbours are copies of each of these, int64 [Q].
        first, second, strength: maximum spanning forest of the edges that may link.
    """

    source: Ints
    target: Ints
    cosine: Floats32
    nodes: Ints
    copies: Ints
    first: Ints
    second: Ints
    strength: Floats64


def put_shard(
    workspace: Workspace, prefix: str, shard: int, vectors: Grid, columns: NodeColumns
) -> None:
    """Leave the nodes of one shard."""
    workspace.save_large(f"{prefix}-raw-{shard:05}", vectors)
    workspace.save(f"{prefix}-nodes-{shard:05}", vars(columns))


def find_centroids(workspace: Workspace, name: str, node_set: NodeSet) -> None:
    """Leave the centroids of all members: those of a sample, chosen by rank."""
    prefix = node_set.prefix
    shards = [
        NodeColumns(**workspace.load(f"{prefix}-nodes-{i:05}")) for i in range(node_set.shards)
    ]
    members = sum(int(columns.member.sum()) for columns in shards)
    queries = sum(int(columns.query.sum()) for columns in shards)
    count = number_of_cells(members, queries, node_set.probes) if node_set.probes else 1
    share = min(1.0, count * SAMPLE_PER_CELL / max(1, members))
    sample_keys: list[npt.NDArray[np.uint64]] = []
    sample_vectors: list[Grid] = []
    for shard, columns in enumerate(shards):
        # Ranks say nothing about faces: multiplied by an odd number, they are a fixed shuffle.
        mixed = mix(columns.rank)
        rows = np.flatnonzero((mixed < share * 2.0**64) & columns.member)
        sample_keys.append(mixed[rows])
        sample_vectors.append(workspace.open_large(f"{prefix}-raw-{shard:05}")[rows])
    order = np.argsort(np.concatenate(sample_keys), kind="stable")
    sample = np.concatenate(sample_vectors)[order]
    centres = centroids(sample, count) if count > 1 and len(sample) else sample[:0]
    workspace.save(name, {"centres": centres})


def mix(ranks: Ints) -> npt.NDArray[np.uint64]:
    """Return a fixed pseudo-random number for each rank (splitmix64, Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        z = ranks.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
        return mixed


def sort_shard(workspace: Workspace, name: str, node_set: NodeSet, shard: int) -> None:
    """Leave a shard in the order of its cells."""
    prefix = node_set.prefix
    vectors = np.asarray(workspace.open_large(f"{prefix}-raw-{shard:05}"))
    columns = workspace.load(f"{prefix}-nodes-{shard:05}")
    centres = workspace.load(f"{prefix}-centroids-00000")["centres"]
    if len(centres):
        cells = assign(vectors, centres, node_set.probes, node_set.device)
    else:
        cells = np.zeros((len(vectors), 1), np.int32)
    order = np.lexsort((columns["rank"], cells[:, 0]))
    offsets = np.searchsorted(cells[order, 0], np.arange(max(1, len(centres)) + 1))
    for key, column in (columns | {"vectors": vectors, "cells": cells}).items():
        workspace.save_large(f"{prefix}-{key}-{shard:05}", column[order])
    workspace.save(name, {"offsets": offsets})


class SortedNodes:
    """All nodes of a set, in the order of the sorted shards, whose columns stay in their files.

    Attributes:
        offsets: of each shard, first node of each cell, and the total, int64 [C + 1].
    """

    def __init__(self, workspace: Workspace, node_set: NodeSet) -> None:
        self.workspace, self.node_set = workspace, node_set
        names = [f"{node_set.prefix}-sorted-{i:05}" for i in range(node_set.shards)]
        self.offsets: list[Ints] = [workspace.load(name)["offsets"] for name in names]
        self._opened: dict[str, list[npt.NDArray[Any]]] = {}

    def column(self, name: str) -> list[npt.NDArray[Any]]:
        """Return a column of each shard: one of `NodeColumns`, `vectors`, or `cells`.

        `cells` are the nearest ones of each node, its own first, int32 [N, probes].
        """
        if name not in self._opened:
            prefix, shards = self.node_set.prefix, range(self.node_set.shards)
            files = [f"{prefix}-{name}-{i:05}" for i in shards]
            self._opened[name] = [self.workspace.open_large(file) for file in files]
        return self._opened[name]

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.offsets[0]) - 1

    @property
    def rank(self) -> Ints:
        """Rank of each node, int64 [N]."""
        return np.concatenate(self.column("rank"))

    @property
    def item(self) -> Ints:
        """Face or group that each node stands for, int64 [N]."""
        return np.concatenate(self.column("item"))

    @property
    def queries(self) -> Ints:
        """Nodes whose neighbours are searched, int64 [Q]."""
        return np.flatnonzero(np.concatenate(self.column("query")))

    def rows(self, nodes: Ints) -> Grid:
        """Return the vectors of nodes."""
        return self.of("vectors", nodes)

    def of(self, name: str, nodes: Ints) -> npt.NDArray[Any]:
        """Return a column of nodes."""
        return gather_rows(self.column(name), self.node_set.starts, nodes)

    def members(self, cell: int) -> Members:
        """Return the members of a cell."""
        vectors, nodes, ranks = [], [], []
        columns = map(self.column, ("vectors", "member", "rank"))
        for offsets, start, vector, is_member, rank in zip(
            self.offsets, self.node_set.starts[:-1], *columns, strict=True
        ):
            first, last = offsets[cell : cell + 2]
            member = is_member[first:last]
            vectors.append(vector[first:last][member])
            nodes.append(np.flatnonzero(member) + first + start)
            ranks.append(rank[first:last][member])
        return Members(np.concatenate(vectors), np.concatenate(nodes), np.concatenate(ranks))


def gather_rows(shards: Sequence[npt.NDArray[Any]], starts: Ints, rows: Ints) -> npt.NDArray[Any]:
    """Return rows of an array that is stored in shards; `starts` is the first row of each."""
    out = np.empty((len(rows), *shards[0].shape[1:]), shards[0].dtype)
    shard = np.searchsorted(starts, rows, side="right") - 1
    for i in np.unique(shard):
        inside = shard == i
        out[inside] = shards[i][rows[inside] - starts[i]]
    return out


def plan_search(nodes: SortedNodes) -> list[Ints]:
    """Return the query nodes of each task: whole ranges of cells, in order."""
    queries = nodes.queries
    own_cell = np.concatenate([cells[:, 0] for cells in nodes.column("cells")])
    queries = queries[np.argsort(own_cell[queries], kind="stable")]
    pieces = max(1, -(-len(queries) // TASK_QUERIES))
    return [piece for piece in np.array_split(queries, pieces) if len(piece)]


def search_nodes(
    workspace: Workspace, name: str, node_set: NodeSet, threshold: Threshold, queries: Ints
) -> None:
    """Leave the edges from some query nodes."""
    nodes = SortedNodes(workspace, node_set)
    vectors, cells = nodes.rows(queries), nodes.of("cells", queries)
    probed, rows = cells.reshape(-1), np.repeat(np.arange(len(queries)), cells.shape[1])
    order = np.argsort(probed, kind="stable")
    parts: list[Neighbours] = []
    for part in np.split(order, np.flatnonzero(np.diff(probed[order])) + 1):
        members = nodes.members(int(probed[part[0]]))
        if not len(members.names):
            continue
        of_part = rows[part]
        neighbours = search(
            vectors[of_part], members, node_set.k, threshold.floor, queries[of_part],
            node_set.device,
        )  # fmt: skip
        parts.append(neighbours.of(of_part))
    best = Neighbours.best(parts, node_set.k)
    source, target, cosine = queries[best.query], best.member, best.cosine
    counts = nodes.of("count", source), nodes.of("count", target)
    strength = threshold.standardise(cosine, *counts)
    # Only nodes that may link make units hang together.
    strong = strength >= threshold.z
    forest = spanning_forest(node_set.total, source[strong], target[strong], strength[strong])
    copies = np.bincount(source[cosine >= COPY_COSINE], minlength=node_set.total)[queries]
    workspace.save(name, vars(Edges(source, target, cosine, queries, copies, *forest)))
