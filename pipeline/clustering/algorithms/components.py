"""Connected components, and maximum spanning forests that keep them at every threshold.

A forest has at most one edge a node, and cutting its edges below any threshold leaves the same
components as cutting those of the whole graph: shards of edges are reduced to forests, forests
are joined and reduced again, and a component that is too large is split by cutting more.
"""

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from pipeline.arrays import Floats64, Ints

Strengths = npt.NDArray[np.floating]


def spanning_forest(
    nodes: int, first: Ints, second: Ints, strength: Strengths
) -> tuple[Ints, Ints, Floats64]:
    """Return (first, second, strength) of a maximum spanning forest of an undirected graph.

    Args:
        nodes: how many there are; ends of edges lie below.
        first: one end of each edge, int64 [E]; an edge may be there twice.
        second: the other end, int64 [E].
        strength: any numbers, float [E].
    """
    if not len(first):
        return first[:0], second[:0], np.zeros(0)
    low, high = np.minimum(first, second), np.maximum(first, second)
    # Only nodes with an edge take part: a shard's edges touch few of all.
    names, where = np.unique(np.concatenate([low, high]), return_inverse=True)
    a, b = where[: len(low)], where[len(low) :]
    order = np.lexsort((-strength, b, a))
    keep = np.ones(len(order), bool)
    keep[1:] = (np.diff(a[order]) != 0) | (np.diff(b[order]) != 0)
    a, b, value = a[order][keep], b[order][keep], strength[order][keep].astype(np.float64)
    top = float(value.max())
    # A zero would be no edge to a sparse matrix: the least cost is 1.
    costs = coo_array((top - value + 1, (a, b)), shape=(len(names), len(names)))
    tree = minimum_spanning_tree(costs.tocsr()).tocoo()
    return names[tree.row], names[tree.col], top + 1 - tree.data


def components(nodes: int, first: Ints, second: Ints) -> Ints:
    """Return the component of each node, named by its lowest node, int64 [nodes]."""
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(nodes, nodes))
    _, labels = connected_components(graph.tocsr(), directed=False)
    lowest = np.full(int(labels.max()) + 1 if nodes else 0, nodes, np.int64)
    np.minimum.at(lowest, labels, np.arange(nodes))
    named: Ints = lowest[labels]
    return named


def units(
    nodes: int, first: Ints, second: Ints, strength: Strengths, least: float, largest: int
) -> Ints:
    """Return components at `least`, those of more than `largest` nodes split further.

    A component that is too large is cut at rising thresholds until its pieces are small enough;
    the edges are those of a maximum spanning forest.
    """
    keep = strength >= least
    first, second, strength = first[keep], second[keep], strength[keep]
    labels = components(nodes, first, second)
    step = 0.05
    while True:
        sizes = np.bincount(labels, minlength=nodes)
        inside = sizes[labels[first]] > largest
        if not inside.any():
            return labels
        # What does not hang together at this threshold is cut off, in the large ones alone.
        least += step
        keep = ~inside | (strength >= least)
        if keep.all() and least > strength.max():
            keep = ~inside  # equal vectors: no threshold separates them
        first, second, strength = first[keep], second[keep], strength[keep]
        labels = components(nodes, first, second)
