"""The level of groups: groups of faces, and people of earlier runs, merge by their means."""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.arrays import Floats64, Ints
from pipeline.clustering.algorithms.grid import Grid
from pipeline.clustering.algorithms.linkage import NOBODY
from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.clustering.algorithms.threshold import LEAST_GROUPS, Threshold, deviations
from pipeline.clustering.evidence import Confirmed, Evidence
from pipeline.clustering.faces_level import FaceGroups
from pipeline.clustering.gather import sums_of
from pipeline.clustering.level import link_level, nearest_others, put_nodes, search_level
from pipeline.clustering.past import Past
from pipeline.clustering.shards import NodeColumns, NodeSet
from pipeline.lake.checkpoints import TaskRunner


@dataclass(frozen=True)
class GroupMeans:
    """Groups of faces, in the order of their names.

    Attributes:
        names: label of each group, int64 [G].
        means: on the grid, int16 [G, D].
        weights: faces that each one counts as, at least 1, float64 [G].
        ranks: lowest rank of its faces, int64 [G].
    """

    names: Ints
    means: Grid
    weights: Floats64
    ranks: Ints


@dataclass(frozen=True)
class Groups:
    """Groups of faces, people of the past behind them, and what they became.

    Attributes:
        face_groups: the level before.
        of_face: group of each core face, `NOBODY` for others, int64 [N].
        merged: lowest group of what each group became, int64 [G].
        nearest: groups of others that are most similar, int64 [G, ALTERNATIVES].
        merges: doubtful joins of groups: first, second, cosine, needed, float64 [M, 4].
        counts: faces of each group, float64 [G].
        size: groups of faces; the others are people of the past.
        threshold: of the level.
        recall: see `Level`.
    """

    face_groups: FaceGroups
    of_face: Ints
    merged: Ints
    nearest: Ints
    merges: Floats64
    counts: Floats64
    size: int
    threshold: Threshold
    recall: float | None


def merge_groups(
    tasks: TaskRunner, face_groups: FaceGroups, past: Past, confirmed: Confirmed,
    config: ClusterConfig,
) -> Groups:  # fmt: skip
    """Merge groups of faces, and the people of the past, by their means."""
    face, label = face_groups.face, face_groups.label
    groups = group_means(face_groups)
    size, faces = len(groups.names), len(label)
    counts = np.concatenate([groups.weights, past.counts])
    total = len(counts)
    starts = put_nodes(tasks.workspace, "groups", (groups.means, past.means),
        NodeColumns(
            rank=np.concatenate([groups.ranks, faces + np.arange(len(past.counts))]),
            count=counts,
            member=np.ones(total, bool),
            query=np.arange(total) < size,
            item=np.arange(total),
        ),
    )  # fmt: skip
    threshold = threshold_of_groups(face_groups.graph.threshold, total)
    of_face = np.full(faces, NOBODY)
    of_face[face] = np.searchsorted(groups.names, label[face])
    # Groups are searched twice as far: what links two of them is weaker than between faces.
    node_set = NodeSet.of("groups", starts, config, widen=2)
    graph = search_level(tasks, node_set, threshold)
    group = graph.nodes.item
    evidence = evidence_on_groups(face_groups, of_face, past, confirmed, size)
    level = link_level(tasks, graph, reordered(evidence, group), config.penalty)
    merged = np.empty(total, np.int64)
    merged[group] = group[level.labels]
    found = nearest_others(graph, level.labels)
    nearest = np.full(found.shape, NOBODY)
    nearest[group] = np.where(found == NOBODY, NOBODY, group[found])
    merges = level.merges.copy()
    merges[:, :2] = group[merges[:, :2].astype(np.int64)]
    return Groups(
        face_groups, of_face, merged, nearest, merges, counts, size, threshold, level.recall
    )


def threshold_of_groups(threshold: Threshold, total: int) -> Threshold:
    """Return the threshold of the level.

    A new group may meet every person of the past, so all of them count. Two single faces, and two
    groups of several, need what they needed before: those pairs have been looked at, and groups of
    one person are seldom so unlike each other. A face that suits a person's average needs less.
    """
    if threshold.fixed is not None:
        return threshold
    z = deviations(max(total, LEAST_GROUPS))
    return replace(threshold, z=z, extra=threshold.z - z)


def evidence_on_groups(
    face_groups: FaceGroups, of_face: Ints, past: Past, confirmed: Confirmed, size: int
) -> Evidence:
    """Return the evidence on groups of faces, `size` of them, and the people of the past."""
    face = face_groups.face
    person = np.full(size + len(past.counts), NOBODY)
    np.maximum.at(person, of_face[face], confirmed.person(len(of_face))[face])
    person[size:] = [confirmed.names.get(name or "", NOBODY) for name in past.names]
    forbidden = of_face[confirmed.forbidden()]
    forbidden = forbidden[(forbidden != NOBODY).all(axis=1)]
    return Evidence.of(person, of_face[face_groups.photo_pairs], forbidden)


def reordered(evidence: Evidence, order: Ints) -> Evidence:
    """Return evidence on groups for nodes, of which `order` names the groups."""
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return Evidence(evidence.person[order], place[evidence.conflicts], evidence.against)


def group_means(groups: FaceGroups) -> GroupMeans:
    """Return the means of groups of faces.

    Rounded to the grid, the mean is exact from there on.
    """
    nodes, weight = groups.graph.nodes, groups.weight
    names, group = np.unique(groups.label[groups.face], return_inverse=True)
    weights = np.bincount(group, weights=weight, minlength=len(names))
    ranks = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(ranks, group, nodes.rank)
    width = nodes.column("vectors")[0].shape[1:]
    means = groups.faces.shelf.zeros("group-means", len(names), np.int16, width)
    weighted = sums_of(group, len(names), lambda rows: nodes.rows(rows) * weight[rows, None])
    for part, sums in weighted:
        means[part] = np.rint(sums / weights[part, None])
    return GroupMeans(names, means, np.maximum(weights, 1), ranks)
