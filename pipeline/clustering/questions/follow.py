"""What follows from an answer by likeness: who clearly belongs to a person that was just joined."""

from collections.abc import Sequence

import numpy as np

from pipeline.arrays import Ints
from pipeline.clustering.algorithms.threshold import Threshold
from pipeline.clustering.questions.persons import NOBODY, Persons

# Joined persons must be more alike than clustering needs, and more than anybody else is, by so many
# deviations of strangers. Chosen on half of the development people, see docs/review.md.
MARGIN, LEAD = 0.1, 0.75
# Of one answer: more than anybody would look through.
MOST = 20


def followers_of(persons: Persons, joined: Sequence[int], apart: Ints) -> list[int]:
    """Return the slots of persons who join those of `joined`, the surest first.

    Only who did not resemble any of these enough before, and has no other name. Nobody follows who
    was told apart from one of them, or from one who followed, or whom a photo shows beside one.
    """
    group = list(joined)
    found: list[int] = []
    before = np.max([_gaps(persons, [one]) for one in group], axis=0)
    while len(found) < MOST:
        gaps = _gaps(persons, group)
        free = persons.asked.copy()
        free[group] = False
        names = {int(name) for name in persons.name[group]} - {NOBODY}
        if names:
            free &= (persons.name == NOBODY) | np.isin(persons.name, list(names))
        free &= (gaps >= MARGIN) & (before < MARGIN) & (persons.name == NOBODY)
        likely = np.flatnonzero(free)
        likely = likely[np.argsort(-gaps[likely], kind="stable")]
        for slot in likely.tolist():
            if _may_join(persons, slot, group, apart) and _leads(persons, slot, group, gaps[slot]):
                group.append(slot)
                found.append(slot)
                break
        else:
            break
    return found


def _gaps(persons: Persons, group: Sequence[int]) -> np.ndarray:
    """Return by how much everybody is more like a group than needed, in deviations, [S]."""
    weights = persons.counts[group]
    mean = (persons.means[group] * weights[:, None]).sum(axis=0) / max(1.0, weights.sum())
    return _gap(persons.clustering.threshold, persons.means @ mean.astype(np.float32),
                float(weights.sum()), persons.counts)  # fmt: skip


def _gap(threshold: Threshold, cosine: np.ndarray, size: float, counts: np.ndarray) -> np.ndarray:
    gaps: np.ndarray = (cosine.astype(np.float64) - threshold.cosine(size, counts)) / threshold.sd
    return gaps


def _may_join(persons: Persons, slot: int, group: Sequence[int], apart: Ints) -> bool:
    keys = persons.keys(np.array(group), np.full(len(group), slot))
    return not (np.isin(keys, apart).any() or np.isin(keys, persons.beside).any())


def _leads(persons: Persons, slot: int, group: Sequence[int], gap: float) -> bool:
    """Return whether somebody is clearly more like the group than like anybody else."""
    others = _gaps(persons, [slot])
    others[[slot, *group]] = -np.inf
    others[~persons.asked] = -np.inf
    return bool(gap - others.max(initial=-np.inf) >= LEAD)
