"""Somebody seen once joins a person whom several of his neighbours are, and nobody else.

An average over many pictures can miss a face that a few of them resemble well: an unusual age or
pose. Agreement of independent neighbours is evidence of another kind; a single look-alike is not.
"""

import numpy as np

from pipeline.arrays import Ints
from pipeline.clustering.algorithms.linkage import NOBODY
from pipeline.clustering.faces_level import FaceGroups

# Neighbours that must agree. Measured on the development sets: 2 costs precision, 4 gains less.
SUPPORT = 3


def join_supported(groups: FaceGroups, label: Ints, cosine: float, fixed: Ints) -> Ints:
    """Return labels in which such faces have joined.

    Args:
        groups: the level of faces, with its edges.
        label: person of each face, `NOBODY` for those of other tiers, int64 [N].
        cosine: what counts as a resemblance.
        fixed: faces that stay where they are.
    """
    label = label.copy()
    sizes = np.bincount(label[label != NOBODY], minlength=len(label))
    alone = (label != NOBODY) & (sizes[label] == 1)
    alone[fixed] = False
    apart = np.concatenate([groups.photo_pairs, groups.photo_pairs[:, ::-1]])
    joins: list[tuple[int, int]] = []
    for edges in groups.graph.edges():
        strong = edges.cosine >= cosine
        source, target = groups.face[edges.source[strong]], groups.face[edges.target[strong]]
        from_alone = alone[source]
        source, person = source[from_alone], label[target[from_alone]]
        for face in np.unique(source):
            people, votes = np.unique(person[source == face], return_counts=True)
            beside = label[apart[apart[:, 0] == face, 1]]
            if len(people) == 1 and votes[0] >= SUPPORT and people[0] not in beside:
                joins.append((int(face), int(people[0])))
    for face, to in joins:
        label[face] = to
    return label
