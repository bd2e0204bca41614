"""One level of clustering: nodes in, groups out, in tasks that leave their results as files.

centroids -> sort -> search -> units (driver) -> route -> link -> labels (driver)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.arrays import Floats32, Floats64, Ints
from pipeline.clustering.algorithms.components import spanning_forest, units
from pipeline.clustering.algorithms.grid import Grid
from pipeline.clustering.algorithms.linkage import NOBODY, Nodes, link
from pipeline.clustering.algorithms.neighbours import Members, Neighbours, search
from pipeline.clustering.algorithms.threshold import Threshold
from pipeline.clustering.evidence import Evidence
from pipeline.clustering.shards import (
    Edges,
    NodeColumns,
    NodeSet,
    SortedNodes,
    find_centroids,
    gather_rows,
    mix,
    plan_search,
    put_shard,
    search_nodes,
    sort_shard,
)
from pipeline.lake.checkpoints import TaskRunner, Workspace

# Nodes of one linkage task: bounds its memory at about 10 KB a node of 512 numbers.
TASK_NODES = 50_000
SHARD_NODES = 131_072
# Queries whose neighbours are found exactly as well: one in so many, at least and at most.
RECALL_SHARE, RECALL_LEAST, RECALL_MOST = 100, 100, 1000
# Similar groups that are kept in mind for each node.
ALTERNATIVES = 3


@dataclass(frozen=True)
class NeighbourGraph:
    """Nodes in their order, and the edges that the search found.

    Attributes:
        nodes: in the order of their cells.
        threshold: at which they merge.
        files: how many hold the edges.
    """

    nodes: SortedNodes
    threshold: Threshold
    files: int

    @property
    def node_set(self) -> NodeSet:
        """The set that the nodes are."""
        return self.nodes.node_set

    def edges(self) -> Iterator[Edges]:
        """Yield the edges of each search task."""
        for i in range(self.files):
            yield Edges(**self.nodes.workspace.load(f"{self.node_set.prefix}-edges-{i:05}"))


@dataclass(frozen=True)
class LinkTask:
    """What one linkage task merges: a batch of whole units.

    Attributes:
        node_set: that the nodes are of.
        files: how many hold the routed edges.
        threshold, penalty: see `link`.
        batch: its number.
        nodes: of the batch, ascending, int64 [N].
        evidence: on these nodes.
    """

    node_set: NodeSet
    files: int
    threshold: Threshold
    penalty: float
    batch: int
    nodes: Ints
    evidence: Evidence


@dataclass(frozen=True)
class RoutedEdges:
    """Edges inside units, in the order of their batches; `offsets`: first edge of each batch."""

    source: Ints
    target: Ints
    cosine: Floats32
    offsets: Ints


@dataclass(frozen=True)
class LinkedBatch:
    """What a linkage task leaves: the label of each of its nodes, and doubtful merges."""

    nodes: Ints
    labels: Ints
    merges: Floats64


@dataclass(frozen=True)
class Level:
    """Groups of a level.

    Attributes:
        labels: lowest node of each node's group, int64 [N].
        merges: first, second, cosine, needed of joins near the threshold, float64 [M, 4].
        recall: share of exact neighbours above the threshold that the search found, None: exact.
    """

    labels: Ints
    merges: Floats64
    recall: float | None


def put_nodes(
    workspace: Workspace, prefix: str, vectors: Sequence[Grid], columns: NodeColumns
) -> Ints:
    """Leave nodes in shards, at least one, and return the shards' starts.

    Args:
        workspace: where.
        prefix: of the files.
        vectors: of the nodes, in any number of pieces.
        columns: of all of them.
    """
    total, places = len(columns.item), np.cumsum([0, *map(len, vectors)])
    starts = np.array([*range(0, max(1, total), SHARD_NODES), total])
    for shard, (first, last) in enumerate(pairwise(starts.tolist())):
        part = {name: column[first:last] for name, column in vars(columns).items()}
        rows = gather_rows(vectors, places, np.arange(first, last))
        put_shard(workspace, prefix, shard, rows, NodeColumns(**part))
    return starts


def search_level(tasks: TaskRunner, node_set: NodeSet, threshold: Threshold) -> NeighbourGraph:
    """Find the neighbours of all nodes that are queries."""
    prefix = node_set.prefix
    tasks.run(f"{prefix}-centroids", find_centroids, [(node_set,)])
    tasks.run(f"{prefix}-sorted", sort_shard, [(node_set, i) for i in range(node_set.shards)])
    nodes = SortedNodes(tasks.workspace, node_set)
    searches = [(node_set, threshold, queries) for queries in plan_search(nodes)]
    tasks.run(f"{prefix}-edges", search_nodes, searches)
    return NeighbourGraph(nodes, threshold, len(searches))


def link_level(
    tasks: TaskRunner, graph: NeighbourGraph, evidence: Evidence, penalty: float
) -> Level:
    """Merge the nodes of a graph."""
    node_set, prefix = graph.node_set, graph.node_set.prefix
    unit = find_units(graph)
    batch = pack(unit)
    batches = int(batch.max()) + 1 if len(batch) else 0
    tasks.workspace.save_large(f"{prefix}-unit", unit)
    tasks.workspace.save_large(f"{prefix}-batch", batch)
    tasks.run(f"{prefix}-routed", route, [(node_set, i, batches) for i in range(graph.files)])
    links = []
    for number in range(batches):
        nodes = np.flatnonzero(batch == number)
        links.append((LinkTask(
            node_set, graph.files, graph.threshold, penalty, number, nodes,
            evidence.of_nodes(nodes),
        ),))  # fmt: skip
    tasks.run(f"{prefix}-linked", link_batch, links)
    labels = np.arange(node_set.total)
    merges = [np.zeros((0, 4))]
    for number in range(batches):
        linked = LinkedBatch(**tasks.workspace.load(f"{prefix}-linked-{number:05}"))
        labels[linked.nodes] = linked.labels
        merges.append(linked.merges)
    measured = recall(graph) if graph.nodes.cells > 1 else None
    return Level(labels, np.concatenate(merges), measured)


def find_units(graph: NeighbourGraph) -> Ints:
    """Return the unit of each node: components of what may link, large ones split."""
    none = np.zeros(0, np.int64)
    first, second, strength = none, none, np.zeros(0)
    for edges in graph.edges():
        first, second, strength = spanning_forest(
            graph.node_set.total,
            np.concatenate([first, edges.first]),
            np.concatenate([second, edges.second]),
            np.concatenate([strength, edges.strength]),
        )
    return units(graph.node_set.total, first, second, strength, graph.threshold.z, TASK_NODES)


def pack(unit: Ints) -> Ints:
    """Return the batch of each node: whole units, about `TASK_NODES` nodes each.

    Nodes alone in their unit have nothing to link; they get batch -1 and no task.
    """
    sizes = np.bincount(unit, minlength=len(unit))
    several = np.flatnonzero(sizes > 1)
    batch_of_unit = np.full(len(unit), -1, np.int64)
    batch_of_unit[several] = np.cumsum(sizes[several]) // TASK_NODES
    _, dense = np.unique(np.concatenate([[-1], batch_of_unit[unit]]), return_inverse=True)
    packed: Ints = dense[1:] - 1
    return packed


def route(workspace: Workspace, name: str, node_set: NodeSet, file: int, batches: int) -> None:
    """Leave the edges inside units of one search task, in the order of their batches."""
    unit, batch = (workspace.open_large(f"{node_set.prefix}-{of}") for of in ("unit", "batch"))
    edges = Edges(**workspace.load(f"{node_set.prefix}-edges-{file:05}"))
    inside = np.flatnonzero(unit[edges.source] == unit[edges.target])
    inside = inside[np.argsort(batch[edges.source[inside]], kind="stable")]
    source = edges.source[inside]
    offsets = np.searchsorted(batch[source], np.arange(batches + 1))
    routed = RoutedEdges(source, edges.target[inside], edges.cosine[inside], offsets)
    workspace.save(name, vars(routed))


def link_batch(workspace: Workspace, name: str, task: LinkTask) -> None:
    """Leave the groups of a batch of units."""
    nodes, evidence = task.nodes, task.evidence
    pairs, cosines = [np.zeros((0, 2), np.int64)], [np.zeros(0)]
    for i in range(task.files):
        routed = RoutedEdges(**workspace.load(f"{task.node_set.prefix}-routed-{i:05}"))
        part = slice(*routed.offsets[task.batch : task.batch + 2])
        pairs.append(np.stack([routed.source[part], routed.target[part]], axis=1))
        cosines.append(routed.cosine[part].astype(np.float64))
    every = SortedNodes(workspace, task.node_set)
    count = every.of("count", nodes) if evidence.weight is None else evidence.weight
    order = np.argsort(every.of("rank", nodes))  # ties then do not depend on how nodes are stored
    place = np.empty(len(nodes), np.int64)
    place[order] = np.arange(len(nodes))
    local = Nodes(
        sums=every.rows(nodes[order]).astype(np.float64) * count[order, None],
        counts=count[order],
        person=evidence.person[order],
        edges=place[np.searchsorted(nodes, np.concatenate(pairs))],
        cosines=np.concatenate(cosines),
        conflicts=place[evidence.conflicts],
        against=evidence.against,
    )
    linked = link(local, task.threshold, task.penalty)
    merges = [
        np.stack([nodes[order[m.first]], nodes[order[m.second]], m.cosine, m.needed], axis=1)
        for m in linked.merges
    ]
    merged = np.concatenate([np.zeros((0, 4)), *merges])
    workspace.save(name, vars(LinkedBatch(nodes[order], nodes[order[linked.labels]], merged)))


def nearest_others(graph: NeighbourGraph, labels: Ints) -> Ints:
    """Return for each node its best neighbours outside its group.

    Returns:
        int64 [N, ALTERNATIVES], `NOBODY` where there are no more.
    """
    nearest = np.full((graph.node_set.total, ALTERNATIVES), NOBODY, np.int64)
    for edges in graph.edges():
        outside = labels[edges.source] != labels[edges.target]
        source, target = edges.source[outside], edges.target[outside]
        if not len(source):
            continue
        start = np.flatnonzero(np.diff(source, prepend=-1))  # a source's best come first
        position = np.arange(len(source)) - np.repeat(start, np.diff([*start, len(source)]))
        keep = position < ALTERNATIVES
        nearest[source[keep], position[keep]] = target[keep]
    return nearest


def recall(graph: NeighbourGraph) -> float | None:
    """Return the share of true neighbours above the threshold that were found, on a sample."""
    nodes, node_set = graph.nodes, graph.node_set
    queries = nodes.queries
    ranks = nodes.of("rank", queries)
    size = min(max(len(queries) // RECALL_SHARE, RECALL_LEAST), RECALL_MOST)
    sample = np.sort(queries[np.argsort(mix(ranks))[:size]])
    vectors = nodes.rows(sample)
    parts: list[Neighbours] = []
    columns = map(nodes.column, ("vectors", "member", "rank"))
    for start, data, member, rank in zip(node_set.starts[:-1], *columns, strict=True):
        rows = np.flatnonzero(member)
        members = Members(data[rows], rows + start, rank[rows])
        floor = float(graph.threshold.cosine())
        parts.append(search(vectors, members, node_set.k, floor, sample, node_set.device))
    best = Neighbours.best(parts, node_set.k)
    true = sample[best.query] * node_set.total + best.member
    keys = [
        (edges.source * node_set.total + edges.target)[np.isin(edges.source, sample)]
        for edges in graph.edges()
    ]
    return float(np.isin(true, np.concatenate(keys)).mean()) if len(true) else None
