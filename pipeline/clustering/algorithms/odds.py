"""Whether a face seen once is one of the people: the odds, from how the lake's own faces compare.

A threshold asks how often strangers look so much alike, and nothing else. Whether a face alone
belongs to a person depends as well on how often that person's pictures look so little like the
others, on how many pictures of the person there are, and on how many strangers there are to be
taken for one:

    odds = pictures of the person x own(z) / (faces alone x strangers(z))

`own` and `strangers` are normal densities of the similarity z, measured on faces that have people
and on faces that have none. Blurred faces resemble everybody less, or more: a face's similarity
counts from its own average to people (Z-norm; Auckenthaler, Carey, Lloyd-Thomas, Digital Signal
Processing 10, 2000).
"""

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats64, Ints
from pipeline.clustering.algorithms.linkage import NOBODY
from pipeline.clustering.algorithms.threshold import NORMAL, impostors

# Fewer say too little of a density's tail to join anybody by it.
LEAST_OWN, LEAST_STRANGERS = 100, 2000
# Of the similarities of strangers, which are counted in deviations from their average.
STRANGERS = (0.0, 1.0)
# Below the middle of a normal distribution lies one deviation down to here.
ONE_DEVIATION = NORMAL.cdf(-1)


@dataclass(frozen=True)
class Odds:
    """How the faces of a lake resemble people, their own and others.

    Attributes:
        own_mean, own_sd: of faces to the others of their person, in deviations of strangers.
        strangers_mean, strangers_sd: of faces alone to people.
    """

    own_mean: float
    own_sd: float
    strangers_mean: float
    strangers_sd: float

    def of(self, z: Floats64, pictures: Floats64, alone: int) -> Floats64:
        """Return the odds that faces belong to persons, float64 like `z`.

        Args:
            z: similarities above each face's average, in deviations; -inf where impossible.
            pictures: how many each person has.
            alone: faces without a person.
        """
        # Each density is trusted between the two means alone: beyond them, more is not less.
        inside = np.clip(z, self.strangers_mean, self.own_mean)
        own = ((inside - self.own_mean) / self.own_sd) ** 2 / 2 + np.log(self.own_sd)
        strangers = ((inside - self.strangers_mean) / self.strangers_sd) ** 2 / 2
        strangers += np.log(self.strangers_sd)
        ratio = np.exp(np.minimum(strangers - own, 500))
        odds: Floats64 = np.where(z > self.strangers_mean, pictures / max(1, alone) * ratio, 0.0)
        return odds


def measure(
    own: Floats64, strangers: Floats64, prior: tuple[float, float] | None = None
) -> Odds | None:
    """Return the odds of a lake, None where too little is known or nobody stands out.

    Args:
        own: similarities of faces to the others of their person; lower half: what lies far above
            are copies.
        strangers: of faces alone to people, few of which may be their own.
        prior: mean and deviation of `own` from the model's card; they count as `LEAST_OWN` faces
            beside those of the lake. None: the lake must have enough itself.
    """
    if prior is None and (len(own) < LEAST_OWN or len(strangers) < LEAST_STRANGERS):
        return None
    mean, sd = impostors(strangers) if len(strangers) else STRANGERS
    own_mean, own_sd = STRANGERS
    if len(own):
        own_mean, low = np.quantile(own, [0.5, ONE_DEVIATION]).tolist()
        own_sd = max(own_mean - low, 1e-4)
    if prior is not None:
        own_mean, own_sd = _mixed((own_mean, own_sd), len(own), prior, LEAST_OWN)
        mean, sd = _mixed((mean, sd), len(strangers), STRANGERS, LEAST_STRANGERS)
    return Odds(own_mean, own_sd, mean, sd) if own_mean > mean else None


def _mixed(
    measured: tuple[float, float], count: int, prior: tuple[float, float], counts: int
) -> tuple[float, float]:
    share = count / (count + counts)
    mean, sd = (share * m + (1 - share) * p for m, p in zip(measured, prior, strict=True))
    return mean, sd


def choose(odds: Floats64) -> Ints:
    """Return for each face the column of the person it is more likely than all else together.

    Args:
        odds: of each face to its candidates, against being nobody's, float64 [N, C].
    """
    if not odds.shape[1]:
        return np.full(len(odds), NOBODY, np.int64)
    best = odds.argmax(axis=1)
    top = odds[np.arange(len(odds)), best]
    rest = odds.sum(axis=1) - top
    chosen: Ints = np.where(top > 1 + rest, best, NOBODY)
    return chosen
