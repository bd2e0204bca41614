"""What a clustering found, and how sure of it one can be."""

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats64, Ints
from pipeline.clustering.algorithms.linkage import NOBODY
from pipeline.clustering.algorithms.threshold import Threshold
from pipeline.clustering.algorithms.tiers import CORE
from pipeline.clustering.evidence import Confirmed
from pipeline.clustering.gather import Faces

# Confidence is one half where a face is as near to others as to its person; a deviation of
# strangers away from that, it is 0.88.
SLOPE = 2.0


@dataclass(frozen=True)
class Outcome:
    """Persons are numbered 0 to P-1; faces as in `faces`.

    Attributes:
        tier, reasons: of each face.
        of: person of each face, or `NOBODY`.
        own, other: average cosine to it, the face itself included, and to the best other one.
        sizes: core faces of each person.
        means: of each person, grid vectors.
        old: person that each of the past became.
        level: threshold of groups.
        merges: doubtful joins: group, group, cosine, needed.
        to_person, nearest, group_means, group_counts, group_faces: of the groups they came from.
        confirmed: corrections.
    """

    faces: Faces
    tier: np.ndarray
    reasons: list[str | None]
    of: Ints
    own: Floats64
    other: Floats64
    sizes: Floats64
    means: np.ndarray
    old: Ints
    level: Threshold
    merges: Floats64
    to_person: Ints
    nearest: Ints
    group_means: np.ndarray
    group_counts: Floats64
    group_faces: Ints
    confirmed: Confirmed


def certainty(outcome: Outcome) -> tuple[Floats64, Floats64]:
    """Return each face's average cosine to the others of its person, and its confidence.

    Confidence compares how far the face is above what it needs, and above the best other person,
    in deviations of strangers, with a logistic curve.
    """
    mine = outcome.of != NOBODY
    size = np.where(
        mine, outcome.sizes[np.where(mine, outcome.of, 0)] if len(outcome.sizes) else 1, 1
    )
    core = outcome.tier == CORE
    others = np.where(core, size - 1, size)
    with np.errstate(invalid="ignore", divide="ignore"):
        without = np.where(core, (outcome.own * size - 1) / others, outcome.own)
    similar = np.where(mine & (others > 0), np.clip(without, -1, 1), np.nan)
    needed = outcome.level.cosine(1, np.maximum(others, 1))
    rival = np.fmax(np.nan_to_num(outcome.other, nan=-1.0), needed)
    # Someone alone is sure to be alone as far as nobody else is near.
    gap = np.where(np.isnan(similar), needed - np.nan_to_num(outcome.other, nan=-1.0),
                   similar - rival)  # fmt: skip
    confidence = 1 / (1 + np.exp(-SLOPE * gap / outcome.level.sd))
    for rows in outcome.confirmed.rows:
        confidence[rows] = 1.0
    return similar, np.where(mine, confidence, np.nan)
