"""One copy counts: faces of copied pictures join their person, but link and weigh nothing.

The copies are those that `facelake dedupe` found; a lake in which it has not run has none.
"""

import numpy as np
import pyarrow.compute as pc

from pipeline.arrays import Ints
from pipeline.clustering.algorithms.grid import similarity
from pipeline.clustering.algorithms.tiers import Tiers
from pipeline.clustering.gather import Faces
from pipeline.dedupe.duplicates import Duplicates

# The same face on two copies, however small or pale one of them is; two people on one photo are
# seldom as alike.
COPY_COSINE = 0.6
CHUNK = 65_536


def kept_photos(duplicates: Duplicates, image_id: np.ndarray) -> np.ndarray:
    """Return the image that is kept of each image's copies, itself where there are none.

    Args:
        duplicates: of the lake.
        image_id: bytes [N].
    """
    if duplicates.current() is None:
        return image_id
    rows = duplicates.table(["image_id", "group_id", "kind"])
    rows = rows.filter(pc.not_equal(rows["kind"], "burst"))
    ids = np.array(rows["image_id"].to_pylist(), dtype=image_id.dtype)
    groups = rows["group_id"].to_pylist()
    kept = {
        group: image
        for group, image, kind in zip(groups, ids, rows["kind"].to_pylist(), strict=True)
        if kind == "kept"
    }
    if not len(ids):
        return image_id
    instead = np.array([kept[group] for group in groups], dtype=image_id.dtype)
    order = np.argsort(ids)
    at = np.minimum(np.searchsorted(ids[order], image_id), len(ids) - 1)
    in_table = ids[order][at] == image_id
    return np.where(in_table, instead[order][at], image_id)


def copied_faces(faces: Faces, tiers: Tiers) -> Ints:
    """Return the core faces of copies whose face is core on the kept picture too."""
    core = tiers.core
    copy = core[faces.photo[core] != faces.image_id[core]]
    core = core[np.argsort(faces.image_id[core], kind="stable")]
    owner = faces.image_id[core]
    first = np.searchsorted(owner, faces.photo[copy], side="left")
    counts = np.searchsorted(owner, faces.photo[copy], side="right") - first
    one = np.repeat(copy, counts)
    other = core[np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())]
    copied = np.zeros(len(tiers.tier), bool)
    for start in range(0, len(one), CHUNK):
        part = slice(start, start + CHUNK)
        cosine = similarity(faces.vectors(one[part]), faces.vectors(other[part]))
        copied[one[part][cosine >= COPY_COSINE]] = True
    return np.flatnonzero(copied)
