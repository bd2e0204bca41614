"""The level of faces: core faces become groups."""

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats64, Ints
from pipeline.clustering.algorithms.linkage import NOBODY
from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.clustering.algorithms.threshold import Threshold
from pipeline.clustering.evidence import Confirmed, Evidence, photo_conflicts
from pipeline.clustering.gather import Faces
from pipeline.clustering.level import NeighbourGraph, link_level, search_level
from pipeline.clustering.shards import NodeColumns, NodeSet, put_shard
from pipeline.lake.checkpoints import TaskRunner, Workspace


@dataclass(frozen=True)
class FaceGroups:
    """Groups of core faces, and what later steps need of the search for them.

    Attributes:
        faces: of the run.
        graph: neighbours of the core faces, M nodes.
        face: row of each node's face, int64 [M].
        weight: what each node counts beside its copies, float64 [M].
        photo_pairs: pairs of faces that one photo shows side by side, int64 [C, 2].
        label: group of each face, named by one of its faces, `NOBODY` for others, int64 [N].
        recall: see `Level`.
    """

    faces: Faces
    graph: NeighbourGraph
    face: Ints
    weight: Floats64
    photo_pairs: Ints
    label: Ints
    recall: float | None

    @property
    def count(self) -> int:
        """Number of groups."""
        return len(np.unique(self.label[self.face]))


def group_faces(
    tasks: TaskRunner, faces: Faces, core: Ints, threshold: Threshold, confirmed: Confirmed,
    config: ClusterConfig,
) -> FaceGroups:  # fmt: skip
    """Group the core faces, as corrections allow."""
    starts = np.searchsorted(core, faces.starts)
    tasks.run("faces-nodes", put_faces, [
        (shard, rows - faces.starts[shard], rows, faces.rank[rows])
        for shard, rows in enumerate(np.split(core, starts[1:-1]))
    ])  # fmt: skip
    graph = search_level(tasks, NodeSet.of("faces", starts, config), threshold)
    face, weight = graph.nodes.item, copy_weights(graph)
    total = len(faces.face_id)
    place = np.full(total, NOBODY)
    place[face] = np.arange(len(face))
    pairs = photo_conflicts(faces.image_id[face], faces.box[face], graph.nodes.rows)
    forbidden = place[confirmed.forbidden()]
    forbidden = forbidden[(forbidden != NOBODY).all(axis=1)]
    evidence = Evidence.of(confirmed.person(total)[face], pairs, forbidden, weight)
    level = link_level(tasks, graph, evidence, config.penalty)
    label = np.full(total, NOBODY)
    label[face] = face[level.labels]
    label[face] = confirmed.together(label)[face]
    return FaceGroups(faces, graph, face, weight, face[pairs], label, level.recall)


def put_faces(
    workspace: Workspace, name: str, shard: int, places: Ints, faces: Ints, ranks: Ints
) -> None:
    """Leave the core faces of one gathered shard as nodes."""
    vectors = workspace.open_large(f"gather-{shard:05}-vectors")
    every = np.ones(len(faces), bool)
    columns = NodeColumns(ranks, np.ones(len(faces)), every, every, faces)
    put_shard(workspace, "faces", shard, vectors[places], columns)


def copy_weights(graph: NeighbourGraph) -> Floats64:
    """Return what each node counts beside its copies: a burst of ten counts as one, float64 [N].

    In 1/1024 steps, so that weighted sums are exact.
    """
    weight = np.ones(graph.node_set.total)
    for edges in graph.edges():
        weight[edges.nodes] = np.ceil(1024 / (1 + edges.copies)) / 1024
    return weight
