"""Small lakes of made-up faces for clustering."""

import hashlib

import numpy as np

from pipeline.lake.store import LakeStore
from pipeline.people.store import People
from tests.support.synthetic import Archive, write_lake


def archive(people=12, each=6, seed=0, dimension=128):
    """Return vectors and labels of people who are each seen as often."""
    label = np.repeat(np.arange(people), each)
    return Archive(dimension, seed).faces(label), label


def two_people(each, within=0.61, across=0.36, seed=0):
    """Return vectors of two people who look alike, `each` of one and then of the other.

    Cosines are `within` inside each half and `across` from one to the other.
    """
    random = np.random.default_rng(seed)
    noise = np.linalg.qr(random.standard_normal((128, 2 * each + 3)))[0].T
    both, apart = across**0.5, (within - across) ** 0.5
    halves = [both * noise[-1] + apart * noise[side - 3] for side in (0, 1)]
    own = (1 - within) ** 0.5 * noise[: 2 * each]
    return (np.repeat(halves, each, axis=0) + own).astype(np.float32)


def face_id(name):
    return f"{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}-0"


def make(folder, vectors, names=None):
    """Write a lake of one face a photo."""
    write_lake(folder, vectors, names or [f"f{i}" for i in range(len(vectors))])
    return People(LakeStore(str(folder)))


def persons(people):
    """Return the person of each face id."""
    rows = people.clusters(["face_id", "person_id"]).to_pydict()
    return dict(zip(rows["face_id"], rows["person_id"], strict=True))


def partition(people):
    """Return the groups as a set of sets of face ids."""
    groups = {}
    for face, person in persons(people).items():
        groups.setdefault(person if person else face, set()).add(face)
    return {frozenset(group) for group in groups.values()}
