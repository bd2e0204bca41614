"""A face that is still alone joins a person when the odds are that it is one of the pictures.

This comes late in a clustering, when people are known: only then can be measured how faces compare
with their own person, and how with others.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats64, Ints
from pipeline.clustering.algorithms.grid import UNIT, Grid, similarity
from pipeline.clustering.algorithms.linkage import NOBODY
from pipeline.clustering.algorithms.odds import Odds, choose, measure
from pipeline.clustering.algorithms.threshold import Threshold
from pipeline.clustering.gather import Faces
from pipeline.clustering.shards import mix

SAMPLE_OWN = 20_000
# Of faces alone and of people: 4 million pairs.
SAMPLE_ALONE = SAMPLE_PEOPLE = 2000
# An average over fewer people is no measure of how much a face resembles anybody: those that are
# missing are taken to be as similar to it as strangers on average.
LEAST_PEOPLE = 20
CHUNK = 50_000


@dataclass(frozen=True)
class Assignment:
    """Core faces and the people they belong to.

    Attributes:
        faces: of the run.
        core: rows of the core faces, int64 [N].
        person: person of each core face, int64 [N].
        sizes, means: of the people, float64 [P] and grid vectors [P, D].
    """

    faces: Faces
    core: Ints
    person: Ints
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

    def sample(self, places: Ints, size: int) -> Ints:
        """Return a fixed random sample of places in `core`."""
        mixed = mix(self.faces.rank[self.core[places]])
        return places[np.argsort(mixed, kind="stable")[:size]]

    def vectors(self, places: Ints) -> Grid:
        """Return the grid vectors of places in `core`."""
        return self.faces.vectors(self.core[places])

    def everybody(self) -> Grid:
        """Return the mean of all people's means, a grid vector [1, D]."""
        people = self.several
        total = np.zeros((1, self.means.shape[1]), np.int64)
        for start in range(0, len(people), CHUNK):
            total += self.means[people[start : start + CHUNK]].sum(axis=0, dtype=np.int64)
        return np.rint(total / len(people)).astype(np.int16)


def measure_odds(people: Assignment, threshold: Threshold) -> Odds | None:
    """Return the odds of a lake, None if the threshold is fixed or too little is known."""
    several = len(people.several)
    if threshold.fixed is not None or not several:
        return None
    if several < LEAST_PEOPLE and threshold.own is None:
        return None
    spread = float(threshold.spread(1, np.inf))
    prior = threshold.own and (threshold.own[0] / spread, threshold.own[1] / spread)
    return measure(own(people, threshold), strangers(people, threshold), prior)


def join_singles(
    people: Assignment, near: Callable[[Ints], Ints], threshold: Threshold, odds: Odds,
    fixed: Ints, apart: Ints,
) -> Ints:  # fmt: skip
    """Return the person of each core face, int64 [N].

    Every face is judged by the people as they were before the step, so that order does not matter.

    Args:
        people: before the step.
        near: returns who are candidates for places in `core`, `NOBODY` for none, int64 [N, C].
        threshold: of groups.
        odds: of this lake.
        fixed: faces that stay where they are.
        apart: pairs of faces that one photo shows side by side, int64 [C, 2].
    """
    person, alone = people.person.copy(), people.alone
    several = len(people.several)
    if not several:
        return person
    people_alone = int((people.sizes == 1).sum())
    everybody = people.everybody()
    movable = alone[~np.isin(people.core[alone], fixed)]
    beside = _beside(apart, people, movable)
    for start in range(0, len(movable), CHUNK):
        places = movable[start : start + CHUNK]
        vectors = people.vectors(places)
        average, candidates = similarity(vectors, everybody), near(places)
        z = np.full(candidates.shape, -np.inf)
        pictures = np.zeros(z.shape)
        for column, to in enumerate(candidates.T):
            repeated = (candidates[:, :column] == to[:, None]).any(axis=1)
            at = np.flatnonzero((to != NOBODY) & ~repeated & (people.sizes[to] >= 2))
            at = at[~np.isin(places[at] * len(people.sizes) + to[at], beside)]
            cosine = similarity(vectors[at], people.means[to[at]])
            pictures[at, column] = people.sizes[to[at]]
            z[at, column] = above(cosine, average[at], several, pictures[at, column], threshold)
        chosen = choose(odds.of(z, pictures, people_alone))
        joins = np.flatnonzero(chosen != NOBODY)
        person[places[joins]] = candidates[joins, chosen[joins]]
    return person


def above(
    cosine: Floats64, average: Floats64, people: int, pictures: Floats64, threshold: Threshold
) -> Floats64:
    """Return by how many deviations a face resembles a person more than the others on average."""
    z: Floats64 = cosine - others(cosine, average, people, threshold.mean)
    return z / threshold.spread(1, pictures)


def others(cosine: Floats64, average: Floats64, people: int, strangers: float) -> Floats64:
    """Return how a face resembles the people beside one, on average."""
    missing = max(0, LEAST_PEOPLE - people)
    rest: Floats64 = average * people - cosine + missing * strangers
    return rest / (people - 1 + missing)


def own(people: Assignment, threshold: Threshold) -> Floats64:
    """Return how a sample of faces resemble the others of their person."""
    places = people.sample(np.flatnonzero(people.sizes[people.person] >= 3), SAMPLE_OWN)
    vectors = people.vectors(places)
    person = people.person[places]
    size = people.sizes[person]
    whole = similarity(vectors, people.means[person])
    average = similarity(vectors, people.everybody())
    beside = others(whole, average, len(people.several), threshold.mean)
    z: Floats64 = (whole * size - 1) / (size - 1) - beside
    return z / threshold.spread(1, size - 1)


def strangers(people: Assignment, threshold: Threshold) -> Floats64:
    """Return how a sample of faces alone resemble a sample of people."""
    rank = people.faces.rank
    first = np.full(len(people.sizes), len(rank))
    np.minimum.at(first, people.person, rank[people.core])
    several = people.several
    sample = several[np.argsort(mix(first[several]), kind="stable")[:SAMPLE_PEOPLE]]
    vectors = people.vectors(people.sample(people.alone, SAMPLE_ALONE))
    average = similarity(vectors, people.everybody())
    products = vectors.astype(np.float32) @ people.means[sample].astype(np.float32).T
    cosine = products.astype(np.float64) / UNIT
    z = above(cosine, average[:, None], len(several), people.sizes[sample], threshold)
    return z.reshape(-1)


def _beside(apart: Ints, people: Assignment, movable: Ints) -> Ints:
    """Return keys, place x people + person, of people whom a photo shows beside a movable face."""
    place = np.full(len(people.faces.rank), NOBODY)
    place[people.core] = np.arange(len(people.core))
    pairs = place[np.concatenate([apart, apart[:, ::-1]])]
    pairs = pairs[np.isin(pairs[:, 0], movable) & (pairs[:, 1] != NOBODY)]
    keys: Ints = pairs[:, 0] * len(people.sizes) + people.person[pairs[:, 1]]
    return keys
