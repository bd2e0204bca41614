"""A face that is still alone joins a person when the odds are that it is one of the pictures.

Late in a clustering, when people are known: only then can be measured how faces compare with their
own person, and how with others.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats64, Ints
from pipeline.clustering.algorithms.grid import UNIT, Grid, similarity
from pipeline.clustering.algorithms.linkage import NOBODY
from pipeline.clustering.algorithms.odds import Odds, choose, measure
from pipeline.clustering.algorithms.threshold import Threshold
from pipeline.clustering.gather import Faces, rows_of
from pipeline.clustering.shards import mix
from pipeline.lake.checkpoints import Workspace

SAMPLE_OWN = 20_000
# Of faces alone and of people: 4 million pairs.
SAMPLE_ALONE = SAMPLE_PEOPLE = 2000
# An average over fewer people is no measure of how much a face resembles anybody.
LEAST_PEOPLE = 20
CHUNK = 50_000


@dataclass(frozen=True)
class Known:
    """Faces and people before the step.

    Attributes:
        core: rows of the core faces, int64 [N].
        person: person of each of them, int64 [N].
        rank: of each face row; decides who is in a sample.
        sizes, means: of the people, float64 [P] and grid vectors [P, D].
    """

    core: Ints
    person: Ints
    rank: Ints
    sizes: Floats64
    means: Grid

    @property
    def several(self) -> Ints:
        """People of more than one picture."""
        return np.flatnonzero(self.sizes >= 2)

    @property
    def alone(self) -> Ints:
        """Places in `core` of the faces that are their person's only picture."""
        return np.flatnonzero(self.sizes[self.person] == 1)

    def everybody(self) -> Grid:
        """Return the mean of all people's means, a grid vector [1, D]."""
        people = self.several
        total = np.zeros((1, self.means.shape[1]), np.int64)
        for start in range(0, len(people), CHUNK):
            total += self.means[people[start : start + CHUNK]].sum(axis=0, dtype=np.int64)
        return np.rint(total / len(people)).astype(np.int16)


def measure_odds(work: Workspace, faces: Faces, known: Known, level: Threshold) -> Odds | None:
    """Return the odds of a lake, None where a threshold was asked for or too little is known."""
    if level.fixed is not None or len(known.several) < LEAST_PEOPLE:
        return None
    return measure(own(work, faces, known, level), strangers(work, faces, known, level))


def join_singles(
    work: Workspace, faces: Faces, known: Known, near: Ints, level: Threshold, odds: Odds,
    fixed: Ints, apart: Ints,
) -> Ints:  # fmt: skip
    """Return the person of each core face, int64 [N].

    Every face is judged by the people as they were before the step, so that order does not matter.

    Args:
        work: holds the vectors.
        faces: of the run.
        known: faces and people.
        near: people that are candidates for each core face, `NOBODY` for none, int64 [N, C].
        level: threshold of groups.
        odds: of this lake.
        fixed: faces that stay where they are.
        apart: pairs of faces that one photo shows side by side, int64 [C, 2].
    """
    person = known.person.copy()
    several = len(known.several)
    alone = known.alone
    if several < LEAST_PEOPLE:
        return person
    strange = int((known.sizes == 1).sum())
    everybody = known.everybody()
    movable = alone[~np.isin(known.core[alone], fixed)]
    beside = _beside(apart, known, movable)
    for start in range(0, len(movable), CHUNK):
        mine = movable[start : start + CHUNK]
        vectors = rows_of(work, faces, known.core[mine])
        average = similarity(vectors, everybody)
        z = np.full((len(mine), near.shape[1]), -np.inf)
        pictures = np.zeros(z.shape)
        for column in range(near.shape[1]):
            to = near[mine, column]
            again = (near[mine, :column] == to[:, None]).any(axis=1)
            at = np.flatnonzero((to != NOBODY) & ~again & (known.sizes[to] >= 2))
            at = at[~np.isin(mine[at] * len(known.sizes) + to[at], beside)]
            cosine = similarity(vectors[at], known.means[to[at]])
            pictures[at, column] = known.sizes[to[at]]
            z[at, column] = above(cosine, average[at], several, pictures[at, column], level)
        chosen = choose(odds.of(z, pictures, strange))
        joins = np.flatnonzero(chosen != NOBODY)
        person[mine[joins]] = near[mine[joins], chosen[joins]]
    return person


def above(
    cosine: Floats64, average: Floats64, people: int, pictures: Floats64, level: Threshold
) -> Floats64:
    """Return by how many deviations a face resembles a person more than the others on average."""
    others = (average * people - cosine) / (people - 1)
    z: Floats64 = (cosine - others) / level.spread(1, pictures)
    return z


def own(work: Workspace, faces: Faces, known: Known, level: Threshold) -> Floats64:
    """Return how a sample of faces resemble the others of their person."""
    rows = np.flatnonzero(known.sizes[known.person] >= 3)
    rows = rows[np.argsort(mix(known.rank[known.core[rows]]), kind="stable")[:SAMPLE_OWN]]
    vectors = rows_of(work, faces, known.core[rows])
    person = known.person[rows]
    size = known.sizes[person]
    whole = similarity(vectors, known.means[person])
    several = len(known.several)
    others = (similarity(vectors, known.everybody()) * several - whole) / (several - 1)
    without = (whole * size - 1) / (size - 1)
    z: Floats64 = (without - others) / level.spread(1, size - 1)
    return z


def strangers(work: Workspace, faces: Faces, known: Known, level: Threshold) -> Floats64:
    """Return how a sample of faces alone resemble a sample of people."""
    alone = known.alone
    alone = alone[np.argsort(mix(known.rank[known.core[alone]]), kind="stable")[:SAMPLE_ALONE]]
    first = np.full(len(known.sizes), len(known.rank))
    np.minimum.at(first, known.person, known.rank[known.core])
    people = known.several
    people = people[np.argsort(mix(first[people]), kind="stable")[:SAMPLE_PEOPLE]]
    vectors = rows_of(work, faces, known.core[alone])
    average = similarity(vectors, known.everybody())
    products = vectors.astype(np.float32) @ known.means[people].astype(np.float32).T
    cosine = products.astype(np.float64) / UNIT
    z = above(cosine, average[:, None], len(known.several), known.sizes[people], level)
    return z.reshape(-1)


def _beside(apart: Ints, known: Known, movable: Ints) -> Ints:
    """Return keys, place x people + person, of people whom a photo shows beside a movable face."""
    place = np.full(len(known.rank), NOBODY)
    place[known.core] = np.arange(len(known.core))
    pairs = place[np.concatenate([apart, apart[:, ::-1]])]
    pairs = pairs[np.isin(pairs[:, 0], movable) & (pairs[:, 1] != NOBODY)]
    keys: Ints = pairs[:, 0] * len(known.sizes) + known.person[pairs[:, 1]]
    return keys
