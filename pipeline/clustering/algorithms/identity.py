"""Person ids that survive: each new group inherits the id of the old one it overlaps most."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.arrays import Floats64, Ints

CONFIRMED_WEIGHT = 1000.0


def transfer(
    groups: Ints, before: Sequence[str | None], weights: Floats64, pinned: Mapping[int, str]
) -> dict[int, str]:
    """Return the ids that groups inherit; the others get new ones.

    Pairs of an old id and a new group are taken by the weight of the faces they share, heaviest
    first, each id and each group once: a person who was split keeps the id on the larger side,
    persons who were joined keep that of the larger one.

    Args:
        groups: new group of each face, int64 [N].
        before: its person id in the run before, None for new faces.
        weights: what it counts, float64 [N]; confirmed faces `CONFIRMED_WEIGHT`.
        pinned: groups whose id somebody's correction decides.
    """
    result = dict(pinned)
    taken = set(pinned.values())
    had_id = np.array([person is not None for person in before], bool)
    if not had_id.any():
        return result
    names = sorted({person for person in before if person is not None})
    number = {name: i for i, name in enumerate(names)}
    old = np.array([number[person] for person in before if person is not None])
    keys, inverse = np.unique(groups[had_id] * len(names) + old, return_inverse=True)
    shared = np.bincount(inverse, weights=weights[had_id])
    for at in np.lexsort((keys, -shared)):
        group, name = int(keys[at] // len(names)), names[keys[at] % len(names)]
        if group not in result and name not in taken:
            result[group] = name
            taken.add(name)
    return result


def new_id(face_id: str, taken: set[str]) -> str:
    """Return an id that nobody has, 16 hex digits, from the first face of a new person."""
    for salt in range(1_000_000):
        name = hashlib.blake2b(f"{face_id}/{salt}".encode(), digest_size=8).hexdigest()
        if name not in taken:
            return name
    raise AssertionError("unreachable: a million ids of one face are taken")
