"""Somebody seen once joins a person whom several of his neighbours are, and nobody else.

An average over many pictures can miss a face that a few of them resemble well: an unusual age or
pose. Agreement of independent neighbours is evidence of another kind; a single look-alike is not.
"""

import numpy as np

from pipeline.arrays import Ints
from pipeline.clustering.algorithms.linkage import NOBODY
from pipeline.lake.checkpoints import Workspace

# Neighbours that must agree. Measured on the development sets: 2 costs precision, 4 gains less.
SUPPORT = 3


def supported(
    work: Workspace, files: int, face: Ints, label: Ints, cosine: float, fixed: Ints, apart: Ints
) -> Ints:
    """Return labels in which such faces have joined.

    Args:
        work: holds the edges of the level of faces.
        files: in how many files.
        face: face of each node of that level, int64 [M].
        label: person of each face, `NOBODY` for those of other tiers, int64 [N].
        cosine: what counts as a resemblance.
        fixed: faces that stay where they are.
        apart: pairs of faces that one photo shows side by side, int64 [C, 2].
    """
    label = label.copy()
    sizes = np.bincount(label[label != NOBODY], minlength=len(label))
    alone = np.zeros(len(label), bool)
    known = label != NOBODY
    alone[known] = sizes[label[known]] == 1
    alone[fixed] = False
    both = np.concatenate([apart, apart[:, ::-1]])
    joins: list[tuple[int, int]] = []
    for i in range(files):
        edges = work.load(f"faces-edges-{i:05}")
        strong = edges["cosine"] >= cosine
        source, target = face[edges["source"][strong]], face[edges["target"][strong]]
        mine = alone[source]
        source, person = source[mine], label[target[mine]]
        for one in np.unique(source):
            people, votes = np.unique(person[source == one], return_counts=True)
            beside = label[both[both[:, 0] == one, 1]]
            if len(people) == 1 and votes[0] >= SUPPORT and people[0] not in beside:
                joins.append((int(one), int(people[0])))
    for one, to in joins:
        label[one] = to
    return label
