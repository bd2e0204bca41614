"""What speaks for and against two faces being one person, beside their vectors."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pipeline.arrays import Floats32, Floats64, Ints
from pipeline.clustering.algorithms.grid import UNIT, Grid
from pipeline.clustering.algorithms.linkage import FORBIDDEN, NOBODY
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
            cosine = own @ own.T / UNIT
            first, second = np.triu_indices(len(rows), 1)
            if (cosine[first, second] >= COLLAGE_COSINE).sum() >= COLLAGE_PAIRS:
                continue
            apart = (cosine[first, second] < MIRROR_COSINE) & (
                _iou(box[rows[first]], box[rows[second]]) < SAME_FACE_IOU
            )
            pairs.append(np.stack([rows[first[apart]], rows[second[apart]]], axis=1))
    return np.concatenate([np.zeros((0, 2), np.int64), *pairs])


def _iou(a: Floats32, b: Floats32) -> Floats32:
    """Return the overlap of boxes, row by row, float32 [N]."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = [np.prod(np.clip(x[:, 2:] - x[:, :2], 0, None), axis=1) for x in (a, b)]
    iou: Floats32 = common / np.maximum(areas[0] + areas[1] - common, 1e-9)
    return iou


class Confirmed:
    """Corrections in terms of the faces of a run.

    Args:
        corrections: what people said.
        row_of: number of each face id that the run knows.
    """

    def __init__(self, corrections: Corrections, row_of: Mapping[str, int]) -> None:
        self.corrections = corrections
        self.rows: list[list[int]] = [
            sorted(row_of[face] for face in one.faces if face in row_of) for one in corrections.sets
        ]
        names = sorted({one.name for one in corrections.sets if one.name is not None})
        self.names = {name: i for i, name in enumerate(names)}

    def person(self, faces: int) -> Ints:
        """Return the number of each face's name, `NOBODY` where it has none, int64 [N]."""
        person = np.full(faces, NOBODY, np.int64)
        for one, rows in zip(self.corrections.sets, self.rows, strict=True):
            if one.name is not None:
                person[rows] = self.names[one.name]
        return person

    def forbidden(self) -> Ints:
        """Return pairs of faces that must not be one person, int64 [C, 2]."""
        pairs = [
            [a, b] for i, j in self.corrections.apart for a in self.rows[i] for b in self.rows[j]
        ]
        return np.array(pairs, np.int64).reshape(-1, 2)

    def together(self, labels: Ints) -> Ints:
        """Return labels that obey all corrections, whatever the machine found.

        Each set goes whole to the group that most of it is in; of two sets that must differ and
        meet in one group, the smaller one leaves it for a group of its own.
        """
        labels = labels.copy()
        home: dict[int, int] = {}
        for i in np.argsort([-len(rows) for rows in self.rows], kind="stable").tolist():
            rows = self.rows[i]
            if not rows:
                continue
            found, counts = np.unique(labels[rows], return_counts=True)
            target = int(found[np.lexsort((found, -counts))[0]])
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


def all_against(conflicts: Ints, forbidden: Ints) -> tuple[Ints, Floats64]:
    """Return both kinds of pairs, and how much each speaks against."""
    return (
        np.concatenate([conflicts, forbidden]),
        np.concatenate([np.ones(len(conflicts)), np.full(len(forbidden), FORBIDDEN)]),
    )
