"""What a clustering found, and how sure of it one can be."""

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats64, Ints
from pipeline.clustering.algorithms.grid import Grid
from pipeline.clustering.algorithms.linkage import NOBODY
from pipeline.clustering.algorithms.odds import Odds
from pipeline.clustering.algorithms.tiers import CORE, Tiers
from pipeline.clustering.evidence import Confirmed
from pipeline.clustering.gather import Faces
from pipeline.clustering.groups_level import Groups

# Confidence is one half where a face is as near to others as to its person; a deviation of
# strangers away from that, it is 0.88.
SLOPE = 2.0


@dataclass(frozen=True)
class Outcome:
    """Persons are numbered 0 to P-1; faces as in `faces`.

    Attributes:
        tiers: of each face.
        person: of each face, or `NOBODY`, int64 [N].
        own, other: average cosine to it, the face itself included, and to the best other one.
        sizes: core faces of each person.
        means: of each person, grid vectors.
        past_person: person that each of the past became.
        groups: of faces, which the persons come from.
        person_of_group: person of each group.
        face_of_group: a face of each group; one of the past is its place behind the faces.
        confirmed: corrections.
        odds: of faces alone; None: not measured.
    """

    faces: Faces
    tiers: Tiers
    person: Ints
    own: Floats64
    other: Floats64
    sizes: Floats64
    means: Grid
    past_person: Ints
    groups: Groups
    person_of_group: Ints
    face_of_group: Ints
    confirmed: Confirmed
    odds: Odds | None


@dataclass(frozen=True)
class Certainty:
    """How sure each face's person is, NaN where it has none.

    Attributes:
        similarity: average cosine to the other faces of the person, float64 [N].
        confidence: from 0 to 1, float64 [N].
    """

    similarity: Floats64
    confidence: Floats64


def certainty(outcome: Outcome) -> Certainty:
    """Return how sure each face's person is.

    Confidence compares how far the face is above what it needs, and above the best other person,
    in deviations of strangers, with a logistic curve.
    """
    threshold = outcome.groups.threshold
    has_person = outcome.person != NOBODY
    size = np.ones(len(has_person))
    size[has_person] = outcome.sizes[outcome.person[has_person]]
    core = outcome.tiers.tier == CORE
    others = np.where(core, size - 1, size)
    with np.errstate(invalid="ignore", divide="ignore"):
        without = np.where(core, (outcome.own * size - 1) / others, outcome.own)
    similarity = np.where(has_person & (others > 0), np.clip(without, -1, 1), np.nan)
    needed = threshold.cosine(1, np.maximum(others, 1))
    best_other = np.nan_to_num(outcome.other, nan=-1.0)
    rival = np.fmax(best_other, needed)
    # Someone alone is sure to be alone as far as nobody else is near.
    gap = np.where(np.isnan(similarity), needed - best_other, similarity - rival)
    confidence = 1 / (1 + np.exp(-SLOPE * gap / threshold.sd))
    confidence[outcome.confirmed.faces] = 1.0
    return Certainty(similarity, np.where(has_person, confidence, np.nan))
