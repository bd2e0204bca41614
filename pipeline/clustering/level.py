"""One level of clustering: nodes in, groups out, in tasks that leave their results as files.

centroids -> sort -> search -> units (driver) -> route -> link -> labels (driver)
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Floats64, Ints
from pipeline.clustering.algorithms.components import spanning_forest, units
from pipeline.clustering.algorithms.linkage import NOBODY, Nodes, link
from pipeline.clustering.algorithms.neighbours import Found, search
from pipeline.clustering.algorithms.threshold import Threshold
from pipeline.clustering.shards import (
    Shape,
    Sorted,
    find_centroids,
    mix,
    plan_search,
    search_nodes,
    sort_shard,
)
from pipeline.lake.checkpoints import Mapper, Workspace

# Nodes of one linkage task: bounds its memory at about 10 KB a node of 512 numbers.
TASK_NODES = 50_000
RECALL_SAMPLE = 1000

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Evidence:
    """What is known of nodes beside their vectors, in node order.

    Attributes:
        person: confirmed person, or `NOBODY`, int64 [N].
        conflicts: pairs of nodes with something against merging, int64 [C, 2].
        against: how much, float64 [C].
        weight: what each node counts in averages, float64 [N]; None: its `count`.
    """

    person: Ints
    conflicts: Ints
    against: Floats64
    weight: Floats64 | None = None


@dataclass(frozen=True)
class Result:
    """Groups of a level.

    Attributes:
        labels: lowest node of each node's group, int64 [N].
        merges: first, second, cosine, needed of joins near the threshold, float64 [M, 4].
        nearest: for each node its best neighbours outside its group, int64 [N, 3], `NOBODY`.
        recall: share of exact neighbours above the threshold that the search found, None: exact.
    """

    labels: Ints
    merges: npt.NDArray[np.float64]
    nearest: Ints
    recall: float | None


def cluster_level(
    work: Workspace,
    mapper: Mapper,
    shape: Shape,
    threshold: Threshold,
    evidence: Callable[[Sorted, int], Evidence],
    penalty: float,
    progress: Progress,
) -> tuple[Result, Sorted]:
    """Cluster the nodes of `shape`.

    `evidence` is asked once their order is known, and in how many files their edges are.
    """
    prefix = shape.prefix
    tasks, nodes = search_level(work, mapper, shape, threshold, progress)
    known = evidence(nodes, tasks)
    batch = pack(unit := find_units(work, shape, tasks, threshold))
    batches = int(batch.max()) + 1 if len(batch) else 0
    routes = [(shape, i, unit, batch) for i in range(tasks)]
    work.run(mapper, f"{prefix}-routed", route, routes, progress)
    joins = [(shape, threshold, penalty, tasks, b, np.flatnonzero(batch == b),
              of_nodes(known, np.flatnonzero(batch == b))) for b in range(batches)]  # fmt: skip
    work.run(mapper, f"{prefix}-linked", join, joins, progress)
    labels = np.arange(shape.total)
    merges = []
    for b in range(batches):
        found = work.load(f"{prefix}-linked-{b:05}")
        labels[found["nodes"]] = found["labels"]
        merges.append(found["merges"])
    result = Result(
        labels,
        np.concatenate([np.zeros((0, 4)), *merges]),
        nearest_others(work, shape, tasks, labels),
        recall(work, shape, threshold, tasks, nodes) if nodes.cells > 1 else None,
    )
    return result, nodes


def search_level(
    work: Workspace, mapper: Mapper, shape: Shape, threshold: Threshold, progress: Progress
) -> tuple[int, Sorted]:
    """Find neighbours of all queries, and return the number of files of edges, and the nodes."""
    prefix = shape.prefix
    work.run(mapper, f"{prefix}-centroids", find_centroids, [(shape,)], progress)
    shards = [(shape, i) for i in range(shape.shards)]
    work.run(mapper, f"{prefix}-sorted", sort_shard, shards, progress)
    tasks = [(shape, threshold, nodes) for (nodes,) in plan_search(work, shape)]
    work.run(mapper, f"{prefix}-edges", search_nodes, tasks, progress)
    return len(tasks), Sorted(work, shape)


def find_units(work: Workspace, shape: Shape, tasks: int, threshold: Threshold) -> Ints:
    """Return the work unit of each node: components of what may link, large ones split."""
    none = np.zeros(0, np.int64)
    first, second, strength = none, none, np.zeros(0)
    for i in range(tasks):
        one = work.load(f"{shape.prefix}-edges-{i:05}")
        first, second, strength = spanning_forest(
            shape.total,
            np.concatenate([first, one["first"]]),
            np.concatenate([second, one["second"]]),
            np.concatenate([strength, one["strength"]]),
        )
    return units(shape.total, first, second, strength, threshold.z, TASK_NODES)


def pack(unit: Ints) -> Ints:
    """Return the batch of each node: whole units, about `TASK_NODES` nodes each.

    Nodes alone in their unit have nothing to link; they get batch -1 and no task.
    """
    sizes = np.bincount(unit, minlength=len(unit))
    several = np.flatnonzero(sizes > 1)
    number = np.cumsum(sizes[several]) // TASK_NODES
    of = np.full(len(unit), -1, np.int64)
    of[several] = number
    _, dense = np.unique(np.concatenate([[-1], of[unit]]), return_inverse=True)
    packed: Ints = dense[1:] - 1
    return packed


def of_nodes(known: Evidence, nodes: Ints) -> Evidence:
    """Return the evidence on some nodes (ascending), renumbered."""
    inside = np.isin(known.conflicts, nodes).all(axis=1)
    pairs = np.searchsorted(nodes, known.conflicts[inside])
    weight = None if known.weight is None else known.weight[nodes]
    return Evidence(known.person[nodes], pairs, known.against[inside], weight)


def route(work: Workspace, name: str, shape: Shape, task: int, unit: Ints, batch: Ints) -> None:
    """Leave the edges inside units of one search task, in the order of their batches."""
    edges = work.load(f"{shape.prefix}-edges-{task:05}")
    source, target = edges["source"], edges["target"]
    inside = unit[source] == unit[target]
    source, target, cosine = source[inside], target[inside], edges["cosine"][inside]
    order = np.argsort(batch[source], kind="stable")
    count = int(batch.max()) + 1 if len(batch) else 0
    offsets = np.searchsorted(batch[source[order]], np.arange(count + 1))
    routed = {"source": source, "target": target, "cosine": cosine}
    work.save(name, {key: value[order] for key, value in routed.items()} | {"offsets": offsets})


def join(
    work: Workspace, name: str, shape: Shape, threshold: Threshold, penalty: float, tasks: int,
    batch: int, nodes: Ints, known: Evidence,
) -> None:  # fmt: skip
    """Leave the groups of a batch of units."""
    pairs, cosines = [], [np.zeros(0)]
    for i in range(tasks):
        one = work.load(f"{shape.prefix}-routed-{i:05}")
        part = slice(one["offsets"][batch], one["offsets"][batch + 1])
        pairs.append(np.stack([one["source"][part], one["target"][part]], axis=1))
        cosines.append(one["cosine"][part].astype(np.float64))
    edges = np.concatenate([np.zeros((0, 2), np.int64), *pairs])
    sorted_ = Sorted(work, shape)
    count = sorted_.column("count")[nodes] if known.weight is None else known.weight
    rank = sorted_.column("rank")[nodes]
    order = np.argsort(rank)  # nodes are numbered by rank, so that ties do not depend on layout
    place = np.empty(len(nodes), np.int64)
    place[order] = np.arange(len(nodes))
    local = Nodes(
        sums=sorted_.rows(nodes[order]).astype(np.float64) * count[order, None],
        counts=count[order],
        person=known.person[order],
        edges=place[np.searchsorted(nodes, edges)],
        cosines=np.concatenate(cosines),
        conflicts=place[known.conflicts],
        against=known.against,
    )
    linked = link(local, threshold, penalty)
    merges = [
        np.stack([nodes[order[m.first]], nodes[order[m.second]], m.cosine, m.needed], axis=1)
        for m in linked.merges
    ]
    work.save(
        name,
        {
            "nodes": nodes[order],
            "labels": nodes[order[linked.labels]],
            "merges": np.concatenate([np.zeros((0, 4)), *merges]),
        },
    )


def nearest_others(
    work: Workspace, shape: Shape, tasks: int, labels: Ints, wanted: int = 3
) -> Ints:
    """Return for each node the most similar ones of other groups, int64 [N, wanted]."""
    nearest = np.full((shape.total, wanted), NOBODY, np.int64)
    for i in range(tasks):
        edges = work.load(f"{shape.prefix}-edges-{i:05}")
        source, target = edges["source"], edges["target"]  # a source's best come first
        outside = labels[source] != labels[target]
        source, target = source[outside], target[outside]
        if not len(source):
            continue
        start = np.flatnonzero(np.diff(source, prepend=-1))
        position = np.arange(len(source)) - np.repeat(start, np.diff([*start, len(source)]))
        keep = position < wanted
        nearest[source[keep], position[keep]] = target[keep]
    return nearest


def recall(
    work: Workspace, shape: Shape, threshold: Threshold, tasks: int, nodes: Sorted
) -> float | None:
    """Return the share of true neighbours above the threshold that were found, on a sample."""
    query = np.flatnonzero(nodes.column("query"))
    mixed = mix(nodes.column("rank")[query])
    sample = np.sort(query[np.argsort(mixed)[:RECALL_SAMPLE]])
    vectors = nodes.rows(sample)
    parts: list[Found] = []
    for i, column in enumerate(nodes.columns):
        member = np.flatnonzero(column["member"])
        parts.append(search(
            vectors, nodes.vectors[i][member], member + shape.starts[i], column["rank"][member],
            shape.k, float(threshold.cosine()), sample, shape.device,
        ))  # fmt: skip
    best = Found.best(parts, shape.k)
    true = sample[best.query] * shape.total + best.member
    found = []
    for i in range(tasks):
        edges = work.load(f"{shape.prefix}-edges-{i:05}")
        mine = np.isin(edges["source"], sample)
        found.append(edges["source"][mine] * shape.total + edges["target"][mine])
    return float(np.isin(true, np.concatenate(found)).mean()) if len(true) else None


def copy_weights(work: Workspace, shape: Shape, tasks: int) -> Floats64:
    """Return what each node counts beside its copies: a burst of ten counts as one, float64 [N].

    In 1/1024 steps, so that weighted sums are exact.
    """
    weight = np.ones(shape.total)
    for i in range(tasks):
        edges = work.load(f"{shape.prefix}-edges-{i:05}")
        weight[edges["nodes"]] = np.ceil(1024 / (1 + edges["copies"])) / 1024
    return weight


def group_means(
    nodes: Sorted, labels: Ints, weight: Floats64
) -> tuple[Ints, npt.NDArray[np.int16], Floats64, Ints]:
    """Return each group's name, mean on the grid, weight (at least 1) and lowest rank; by name.

    Rounded to the grid, the mean is exact from there on. Memory: a chunk of nodes at a time.
    """
    names, inverse = np.unique(labels, return_inverse=True)
    counts = np.bincount(inverse, weights=weight, minlength=len(names))
    ranks = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(ranks, inverse, nodes.column("rank"))
    means = np.empty((len(names), nodes.vectors[0].shape[1]), np.int16)
    order = np.argsort(inverse, kind="stable")
    starts = np.searchsorted(inverse[order], np.arange(len(names) + 1))
    step = 20_000
    for first in range(0, len(names), step):
        last = min(first + step, len(names))
        mine = order[starts[first] : starts[last]]
        sums = np.add.reduceat(
            nodes.rows(mine) * weight[mine, None], starts[first:last] - starts[first], axis=0
        )
        means[first:last] = np.rint(sums / counts[first:last, None])
    return names, means, np.maximum(counts, 1), ranks
