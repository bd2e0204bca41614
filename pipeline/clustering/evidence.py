"""What speaks for and against two faces being one person, beside their vectors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats32, Floats64, Ints
from pipeline.clustering.algorithms.grid import UNIT, Grid
from pipeline.clustering.algorithms.linkage import FORBIDDEN, NOBODY
from pipeline.imaging.geometry import iou
from pipeline.people.constraints import Corrections

# Two boxes that overlap as much hold one face, found twice.
SAME_FACE_IOU = 0.5
# A face that resembles another one of its photo so much is its mirror image, or a picture of it.
MIRROR_COSINE = 0.75
# Where so many faces resemble each other, the photo is a collage.
COLLAGE_PAIRS = 3
COLLAGE_COSINE = 0.6
MOST_FACES = 100
# Photos whose vectors are read at once.
PHOTOS = 4096


def photo_conflicts(image: np.ndarray, box: Floats32, read: Callable[[Ints], Grid]) -> Ints:
    """Return pairs of rows that one photo shows side by side, int64 [C, 2].

    Left out are faces found twice, mirror images, and all of a collage: there one person is seen
    several times. Photos of more than `MOST_FACES` faces are left out as well.

    Args:
        image: id of each face's photo [N].
        box: x1, y1, x2, y2, float32 [N, 4].
        read: returns the grid vectors of rows.
    """
    order = np.argsort(image, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], image[order][1:] != image[order][:-1]]))
    ends = np.append(starts[1:], len(order))
    several = (ends - starts > 1) & (ends - starts <= MOST_FACES)
    starts, ends = starts[several], ends[several]
    pairs = []
    for first_photo in range(0, len(starts), PHOTOS):
        block = slice(first_photo, first_photo + PHOTOS)
        photos = [np.sort(order[a:b]) for a, b in zip(starts[block], ends[block], strict=True)]
        vectors = read(np.concatenate(photos)).astype(np.float32)
        splits = np.cumsum([len(rows) for rows in photos])[:-1]
        for rows, own in zip(photos, np.split(vectors, splits), strict=True):
            first, second = np.triu_indices(len(rows), 1)
            cosine = (own @ own.T / UNIT)[first, second]
            if (cosine >= COLLAGE_COSINE).sum() >= COLLAGE_PAIRS:
                continue
            overlap = iou(box[rows], box[rows])[first, second]
            apart = (cosine < MIRROR_COSINE) & (overlap < SAME_FACE_IOU)
            pairs.append(np.stack([rows[first[apart]], rows[second[apart]]], axis=1))
    return np.concatenate([np.zeros((0, 2), np.int64), *pairs])


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

    @staticmethod
    def of(
        person: Ints, photo_pairs: Ints, forbidden: Ints, weight: Floats64 | None = None
    ) -> "Evidence":
        """Return evidence from pairs that a photo shows side by side, and from forbidden ones."""
        conflicts = np.concatenate([photo_pairs, forbidden])
        against = [np.ones(len(photo_pairs)), np.full(len(forbidden), FORBIDDEN)]
        return Evidence(person, conflicts, np.concatenate(against), weight)

    def of_nodes(self, nodes: Ints) -> "Evidence":
        """Return the evidence on some nodes (ascending), renumbered."""
        inside = np.isin(self.conflicts, nodes).all(axis=1)
        pairs = np.searchsorted(nodes, self.conflicts[inside])
        weight = None if self.weight is None else self.weight[nodes]
        return Evidence(self.person[nodes], pairs, self.against[inside], weight)


class Confirmed:
    """Corrections in terms of the faces of a run.

    Args:
        corrections: what people said.
        row_of: number of each face id that the run knows.
    """

    def __init__(self, corrections: Corrections, row_of: Mapping[str, int]) -> None:
        self.corrections = corrections
        self.rows: list[list[int]] = [
            sorted(row_of[face] for face in confirmed.faces if face in row_of)
            for confirmed in corrections.sets
        ]
        names = sorted({one.name for one in corrections.sets if one.name is not None})
        self.names = {name: i for i, name in enumerate(names)}

    def person(self, faces: int) -> Ints:
        """Return the number of each face's name, `NOBODY` where it has none, int64 [N]."""
        person = np.full(faces, NOBODY, np.int64)
        for confirmed, rows in zip(self.corrections.sets, self.rows, strict=True):
            if confirmed.name is not None:
                person[rows] = self.names[confirmed.name]
        return person

    @property
    def faces(self) -> Ints:
        """Rows of all faces that a correction speaks of, int64 [N]."""
        return np.array([row for rows in self.rows for row in rows], np.int64)

    def forbidden(self) -> Ints:
        """Return pairs of faces that must not be one person, int64 [C, 2]."""
        pairs = [
            [a, b] for i, j in self.corrections.apart for a in self.rows[i] for b in self.rows[j]
        ]
        return np.array(pairs, np.int64).reshape(-1, 2)

    def together(self, labels: Ints) -> Ints:
        """Return labels that obey all corrections.

        Each set goes whole to the group that most of it is in; of two sets that must differ and
        meet in one group, the smaller one leaves it for a group of its own.
        """
        labels = labels.copy()
        home: dict[int, int] = {}
        for i in np.argsort([-len(rows) for rows in self.rows], kind="stable").tolist():
            rows = self.rows[i]
            if not rows:
                continue
            groups, counts = np.unique(labels[rows], return_counts=True)
            target = int(groups[np.lexsort((groups, -counts))[0]])
            if any(self.corrections.must_differ(i, j) for j, at in home.items() if at == target):
                target = self._free(labels, rows)
            labels[rows] = target
            home[i] = target
        return labels

    @staticmethod
    def _free(labels: Ints, rows: Sequence[int]) -> int:
        """Return a group that nobody is in: a face names its own, unless others stay there."""
        for row in rows:
            if not np.isin(np.flatnonzero(labels == row), rows).any() or labels[row] == row:
                others = np.setdiff1d(np.flatnonzero(labels == row), rows)
                if not len(others):
                    return row
        return int(labels.max()) + 1 + rows[0]
