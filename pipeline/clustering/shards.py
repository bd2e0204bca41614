"""Nodes in shards, and the search for each one's neighbours by cells.

A shard holds vectors sorted by their own cell, so that a range of cells is one slice of each shard:
vectors are stored once, and a task that searches for a range of cells reads just the slices that
its queries probe.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Ints
from pipeline.clustering.algorithms.cells import assign, centroids, number_of_cells
from pipeline.clustering.algorithms.components import spanning_forest
from pipeline.clustering.algorithms.grid import Grid
from pipeline.clustering.algorithms.neighbours import Found, search
from pipeline.clustering.algorithms.threshold import Threshold
from pipeline.lake.checkpoints import Arrays, Workspace

# Queries that one task searches for: seconds to a minute of work, bounded memory.
TASK_QUERIES = 65_536
SAMPLE_PER_CELL = 32
# Faces as alike as this come from one burst, or one picture published twice.
COPY_COSINE = 0.95


@dataclass(frozen=True)
class Shape:
    """How a set of nodes is searched.

    Attributes:
        prefix: of its files in the work folder.
        starts: node number of each shard's first, and the total, int64 [S + 1].
        probes: cells looked into; 0: all, which is exact.
        k: neighbours a node.
        device: of torch.
    """

    prefix: str
    starts: Ints
    probes: int
    k: int
    device: str = "cpu"

    @property
    def shards(self) -> int:
        """Number of shards."""
        return len(self.starts) - 1

    @property
    def total(self) -> int:
        """Number of nodes."""
        return int(self.starts[-1])


def put_shard(work: Workspace, prefix: str, shard: int, vectors: Grid, columns: Arrays) -> None:
    """Leave the nodes of one shard: `rank`, `count`, `member` and `query` beside the vectors."""
    work.save_large(f"{prefix}-raw-{shard:05}", vectors)
    work.save(f"{prefix}-nodes-{shard:05}", columns)


def find_centroids(work: Workspace, name: str, shape: Shape) -> None:
    """Leave the centroids of all members: those of a sample, chosen by rank."""
    members = 0
    chosen: list[tuple[npt.NDArray[np.uint64], Grid]] = []
    columns = [work.load(f"{shape.prefix}-nodes-{i:05}") for i in range(shape.shards)]
    members = sum(int(c["member"].sum()) for c in columns)
    count = number_of_cells(members, shape.probes) if shape.probes else 1
    share = min(1.0, count * SAMPLE_PER_CELL / max(1, members))
    for shard, column in enumerate(columns):
        # Ranks say nothing about faces: multiplied by an odd number, they are a fixed shuffle.
        mixed = mix(column["rank"])
        rows = np.flatnonzero((mixed < share * 2.0**64) & column["member"])
        vectors = work.open_large(f"{shape.prefix}-raw-{shard:05}")
        chosen.append((mixed[rows], vectors[rows]))
    order = np.argsort(np.concatenate([m for m, _ in chosen]), kind="stable")
    sample = np.concatenate([v for _, v in chosen])[order]
    centres = centroids(sample, count) if count > 1 and len(sample) else sample[:0]
    work.save(name, {"centres": centres})


def mix(ranks: Ints) -> npt.NDArray[np.uint64]:
    """Return a fixed pseudo-random number for each rank (splitmix64, Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        z = ranks.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
        return mixed


def sort_shard(work: Workspace, name: str, shape: Shape, shard: int) -> None:
    """Leave a shard in the order of its cells."""
    vectors = np.asarray(work.open_large(f"{shape.prefix}-raw-{shard:05}"))
    columns = work.load(f"{shape.prefix}-nodes-{shard:05}")
    centres = work.load(f"{shape.prefix}-centroids-00000")["centres"]
    if len(centres):
        cells = assign(vectors, centres, shape.probes, shape.device)
    else:
        cells = np.zeros((len(vectors), 1), np.int32)
    order = np.lexsort((columns["rank"], cells[:, 0]))
    offsets = np.searchsorted(cells[order, 0], np.arange(max(1, len(centres)) + 1))
    work.save_large(f"{shape.prefix}-vectors-{shard:05}", vectors[order])
    work.save(name, {key: value[order] for key, value in columns.items()}
              | {"cells": cells[order], "offsets": offsets, "order": order})  # fmt: skip


class Sorted:
    """A look at all sorted shards of a set of nodes."""

    def __init__(self, work: Workspace, shape: Shape) -> None:
        self.work, self.shape = work, shape
        self.columns = [work.load(f"{shape.prefix}-sorted-{i:05}") for i in range(shape.shards)]
        self.vectors = [
            work.open_large(f"{shape.prefix}-vectors-{i:05}") for i in range(shape.shards)
        ]

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.columns[0]["offsets"]) - 1

    def column(self, name: str) -> np.ndarray:
        """Return a column of all nodes, in node order."""
        return np.concatenate([c[name] for c in self.columns])

    def rows(self, nodes: Ints) -> Grid:
        """Return the vectors of nodes."""
        out = np.empty((len(nodes), self.vectors[0].shape[1]), np.int16)
        shard = np.searchsorted(self.shape.starts, nodes, side="right") - 1
        for i in np.unique(shard):
            mine = shard == i
            out[mine] = self.vectors[i][nodes[mine] - self.shape.starts[i]]
        return out

    def cell(self, cell: int) -> tuple[Grid, Ints, Ints]:
        """Return vectors, nodes and ranks of the members of a cell."""
        vectors, nodes, ranks = [], [], []
        for i, (column, data) in enumerate(zip(self.columns, self.vectors, strict=True)):
            a, b = column["offsets"][cell : cell + 2]
            member = column["member"][a:b]
            vectors.append(data[a:b][member])
            nodes.append(np.flatnonzero(member) + a + self.shape.starts[i])
            ranks.append(column["rank"][a:b][member])
        return np.concatenate(vectors), np.concatenate(nodes), np.concatenate(ranks)


def plan_search(work: Workspace, shape: Shape) -> list[tuple[Ints]]:
    """Return the query nodes of each task: whole ranges of cells, in order."""
    sorted_ = Sorted(work, shape)
    cells = np.concatenate([c["cells"][:, 0] for c in sorted_.columns])
    queries = np.flatnonzero(sorted_.column("query"))
    queries = queries[np.argsort(cells[queries], kind="stable")]
    pieces = max(1, -(-len(queries) // TASK_QUERIES))
    return [(piece,) for piece in np.array_split(queries, pieces) if len(piece)]


def search_nodes(
    work: Workspace, name: str, shape: Shape, threshold: Threshold, nodes: Ints
) -> None:
    """Leave the edges from some query nodes: source, target, cosine; and their forest."""
    sorted_ = Sorted(work, shape)
    parts: list[Found] = []
    vectors = sorted_.rows(nodes)
    shard = np.searchsorted(shape.starts, nodes, side="right") - 1
    cells = np.concatenate(
        [sorted_.columns[i]["cells"][nodes[shard == i] - shape.starts[i]] for i in np.unique(shard)]
    )
    back = np.argsort(np.concatenate([np.flatnonzero(shard == i) for i in np.unique(shard)]))
    cells = cells[back]
    probed, rows = cells.reshape(-1), np.repeat(np.arange(len(nodes)), cells.shape[1])
    order = np.argsort(probed, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(probed[order])) + 1):
        mine = rows[part]
        members, their_nodes, ranks = sorted_.cell(int(probed[part[0]]))
        if not len(members):
            continue
        found = search(
            vectors[mine], members, their_nodes, ranks, shape.k, threshold.floor,
            nodes[mine], shape.device,
        )  # fmt: skip
        parts.append(found.of(mine))
    best = Found.best(parts, shape.k)
    source, target, cosine = nodes[best.query], best.member, best.cosine
    counts = sorted_.column("count")
    strength = threshold.standardise(cosine, counts[source], counts[target])
    # Only nodes that may link make units hang together.
    strong = strength >= threshold.z
    forest = spanning_forest(shape.total, source[strong], target[strong], strength[strong])
    copies = np.bincount(source[cosine >= COPY_COSINE], minlength=shape.total)[nodes]
    work.save(name, {"source": source, "target": target, "cosine": cosine, "nodes": nodes,
                     "copies": copies, "first": forest[0], "second": forest[1],
                     "strength": forest[2]})  # fmt: skip
