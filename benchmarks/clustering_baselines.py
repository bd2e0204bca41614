"""Other algorithms behind one interface, to compare the engine with.

Each takes unit vectors float32 [N, D] and a cosine threshold, and returns labels int64 [N] from 0
on, without gaps; a face that an algorithm calls noise gets a label of its own. They need
scikit-learn, an extra of the installation, and are for thousands of faces, not for millions.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Floats32, Ints
from pipeline.errors import ConfigError

# Rows of similarities that are looked at at once: 25 MB for 6,000 faces.
BLOCK = 1024
# The usual smallest core of face clustering: two photos alike may be the same photo twice.
DBSCAN_MINIMUM = 3
# Whispers settle after about ten rounds on graphs of thousands; the rest is for bad luck.
WHISPER_ROUNDS = 30


def connected_components(vectors: Floats32, threshold: float) -> Ints:
    """Faces linked by a chain of similar pairs: single linkage, cut at the threshold."""
    graph = _threshold_graph(vectors, threshold)
    _, labels = _scipy("scipy.sparse.csgraph").connected_components(graph, directed=False)
    return _numbered(labels)


def dbscan(vectors: Floats32, threshold: float) -> Ints:
    """DBSCAN with cores of three (Ester, Kriegel, Sander, Xu, KDD 1996)."""
    if not len(vectors):
        return np.zeros(0, np.int64)
    distances = _threshold_graph(vectors, threshold)
    distances.data = np.maximum(1 - distances.data, 0)
    # Within the radius is what the graph holds; rounding must not take some of it out again.
    model = _scipy("sklearn.cluster").DBSCAN(eps=3.0, min_samples=DBSCAN_MINIMUM,
                                             metric="precomputed")  # fmt: skip
    return _numbered(model.fit(distances).labels_)


def hdbscan(vectors: Floats32, threshold: float) -> Ints:
    """HDBSCAN with clusters of two or more (Campello, Moulavi, Sander, PAKDD 2013).

    It finds its own densities: the threshold is not used. Euclidean distances of unit vectors
    are in the order of their cosines. Holds all N^2 distances.
    """
    if len(vectors) < 2:
        return np.arange(len(vectors), dtype=np.int64)
    cosines = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    distances = np.sqrt(np.clip(2 - 2 * cosines, 0, None))
    np.fill_diagonal(distances, 0)
    model = _scipy("sklearn.cluster").HDBSCAN(
        min_cluster_size=2, metric="precomputed", copy=False, allow_single_cluster=False
    )
    return _numbered(model.fit(distances).labels_)


def chinese_whispers(vectors: Floats32, threshold: float, seed: int = 0) -> Ints:
    """Chinese Whispers (Biemann, TextGraphs 2006): each face takes its neighbours' loudest label.

    The graph holds pairs above the threshold, weighted by similarity; faces speak in a random
    order that `seed` fixes, ties go to the lower label.
    """
    graph = _threshold_graph(vectors, threshold)
    graph.setdiag(0)
    graph.eliminate_zeros()
    starts, neighbours = graph.indptr, graph.indices
    weights = np.maximum(graph.data, 0)
    labels = np.arange(len(vectors), dtype=np.int64)
    random = np.random.default_rng(seed)
    for _ in range(WHISPER_ROUNDS):
        changed = 0
        for face in random.permutation(len(vectors)):
            here = slice(starts[face], starts[face + 1])
            if here.start == here.stop:
                continue
            heard, inverse = np.unique(labels[neighbours[here]], return_inverse=True)
            loudest = heard[np.argmax(np.bincount(inverse, weights[here]))]
            changed += int(loudest != labels[face])
            labels[face] = loudest
        if not changed:
            break
    return _numbered(labels)


def agglomerative(vectors: Floats32, threshold: float) -> Ints:
    """Average linkage by cosine, cut at the threshold (Sokal, Michener 1958).

    Two clusters whose average reaches the threshold hold a pair that does, so the work is done
    within connected components, with the same outcome.
    """
    hierarchy = _scipy("scipy.cluster.hierarchy")
    components = connected_components(vectors, threshold)
    order = np.argsort(components, kind="stable")
    labels = np.zeros(len(vectors), np.int64)
    used = 0
    for rows in np.split(order, np.flatnonzero(np.diff(components[order])) + 1):
        if len(rows) > 1:
            members = vectors[rows].astype(np.float64)
            # scipy wants the distances above the diagonal, row by row.
            parts = [1 - members[i + 1 :] @ members[i] for i in range(len(rows) - 1)]
            tree = hierarchy.linkage(np.clip(np.concatenate(parts), 0, None), "average")
            labels[rows] = used + hierarchy.fcluster(tree, 1 - threshold, "distance")
        elif len(rows):
            labels[rows] = used + 1
        used += len(rows)
    return _numbered(labels)


ALGORITHMS: dict[str, Callable[[Floats32, float], Ints]] = {
    "connected_components": connected_components,
    "dbscan": dbscan,
    "hdbscan": hdbscan,
    "chinese_whispers": chinese_whispers,
    "agglomerative": agglomerative,
}


def _scipy(module: str) -> Any:
    """Return a module of scikit-learn or SciPy, which not every installation has."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"Comparing algorithms needs scikit-learn ({error}); pip install 'facelake[compare]'"
        ) from error


def _threshold_graph(vectors: Floats32, threshold: float) -> Any:
    """Return the cosines that reach the threshold as a sparse matrix [N, N], everybody's own too.

    Stored in the order of columns within each row.
    """
    sparse = _scipy("scipy.sparse")
    rows, columns, values = [], [], []
    for start in range(0, len(vectors), BLOCK):
        cosines = vectors[start : start + BLOCK] @ vectors.T
        cosines[np.arange(len(cosines)), np.arange(start, start + len(cosines))] = 1
        row, column = np.nonzero(cosines >= threshold)
        rows.append(row + start)
        columns.append(column)
        values.append(cosines[row, column])
    size = len(vectors)
    if not size:
        return sparse.csr_matrix((0, 0), dtype=np.float32)
    cells = (np.concatenate(rows), np.concatenate(columns))
    # A cosine of exactly 0 would be lost from a sparse matrix.
    data = np.concatenate(values)
    data[data == 0] = np.finfo(np.float32).tiny
    return sparse.csr_matrix((data, cells), shape=(size, size))


def _numbered(labels: npt.NDArray[Any]) -> Ints:
    """Return labels from 0 on in order of first appearance; each noise face, -1, its own."""
    labelled = np.asarray(labels, dtype=np.int64).copy()
    noise = np.flatnonzero(labelled < 0)
    labelled[noise] = labelled.max(initial=-1) + 1 + np.arange(len(noise))
    _, first, inverse = np.unique(labelled, return_index=True, return_inverse=True)
    place = np.empty(len(first), np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return place[inverse]
