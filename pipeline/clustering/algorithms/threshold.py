"""What similarity two groups need to be one person: from the lake's own impostor pairs.

Cosines of random pairs follow a normal distribution closely. A comparison of two single faces at
threshold t has FMR(t) = 1 - Phi((t - mean) / sd); each of N faces meets N others, so the threshold
is set where N x FMR(t) is a small constant, and rises with N. The average cosine of two groups
varies less than that of two faces, because what is due to single pictures averages out:

    variance(a, b) = sd^2 (identity + picture (1/a + 1/b) + rest / (a b))

so that the same rate of false merges allows groups a lower threshold: pairs of people differ by
`identity`, a picture from its person's mean by `picture`.
"""

from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Floats64, Ints

# Expected false neighbours of a face at the threshold of two single faces.
FALSE_NEIGHBOURS = 0.05
# In a small lake a face meets few strangers, but the tail of their similarities is heavier than a
# normal one (families, and one light for all), so a lake counts as at least so many faces, and
# groups. Chosen on half of LFW's development people, see docs/people.md.
LEAST_FACES, LEAST_GROUPS = 1500, 150
# Shares of variance; the third, of what only this pair of pictures shares, is what remains.
IDENTITY, PICTURE = 0.50, 0.25
# Pairs that the prior of the model card counts as, beside those of the lake.
PRIOR_PAIRS = 2000
PRIOR_MEAN, PRIOR_SD = 0.1, 0.1
NORMAL = NormalDist()


@dataclass(frozen=True)
class Threshold:
    """The similarity that two groups of given sizes need.

    Attributes:
        mean, sd: of the cosine of two faces of different people.
        z: how many deviations above the mean is enough to merge.
        extra: how many more two single faces need, and two groups of several.
        own: mean and deviation of the cosine of a face to many others of its person, above the
            average of other people, by the model's card; None: not known.
        identity, picture: shares of the variance, see above.
        fixed: a similarity to use instead, whatever the sizes; None: there is none.
    """

    mean: float
    sd: float
    z: float
    identity: float = IDENTITY
    picture: float = PICTURE
    fixed: float | None = None
    extra: float = 0.0
    own: tuple[float, float] | None = None

    def spread(self, a: npt.ArrayLike, b: npt.ArrayLike) -> Floats64:
        """Return the deviation of the average cosine of groups of sizes `a` and `b`."""
        # Copies of one picture count as less than one face; together they are one.
        first, second = (1 / np.maximum(np.asarray(n, np.float64), 1) for n in (a, b))
        rest = 1 - self.identity - 2 * self.picture
        share = self.identity + self.picture * (first + second) + rest * first * second
        values: Floats64 = self.sd * np.sqrt(share)
        return values

    def standardise(self, cosine: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> Floats64:
        """Return by how many deviations a cosine exceeds that of different people."""
        values: Floats64
        if self.fixed is not None:  # then z is of the fixed threshold, whatever the sizes
            values = (np.asarray(cosine, np.float64) - self.mean) / self.sd
        else:
            values = (np.asarray(cosine, np.float64) - self.mean) / self.spread(a, b)
            values -= self._extra(a, b)
        return values

    def cosine(self, a: npt.ArrayLike = 1, b: npt.ArrayLike = 1) -> Floats64:
        """Return the similarity that groups of sizes `a` and `b` need."""
        if self.fixed is not None:
            return np.full(np.broadcast(a, b).shape, self.fixed)
        return self.mean + (self.z + self._extra(a, b)) * self.spread(a, b)

    def _extra(self, a: npt.ArrayLike, b: npt.ArrayLike) -> Floats64:
        return np.where((np.asarray(a) < 2) == (np.asarray(b) < 2), self.extra, 0.0)

    @property
    def floor(self) -> float:
        """The lowest similarity that any two groups may merge at."""
        return float(min(self.cosine(np.inf, np.inf), self.cosine(1, np.inf)))

    def at(self, z: float) -> "Threshold":
        """Return the threshold at another number of deviations."""
        return replace(self, z=z)

    def false_neighbours(self, cosine: float, faces: int) -> float:
        """Return the expected number of strangers that a face resembles as much."""
        return faces * NORMAL.cdf(-(cosine - self.mean) / self.sd)


def calibrate(
    cosines: Floats64,
    faces: int,
    prior: tuple[float, float] = (PRIOR_MEAN, PRIOR_SD),
    fixed: float | None = None,
) -> Threshold:
    """Return the threshold of a lake from the cosines of random pairs of its faces.

    Few of the pairs may be of one person: mean and deviation come from the lower half, after the
    share that lies too high for strangers was set aside.

    Args:
        cosines: float64 [P]; none for a lake of one face.
        faces: how many there are to be clustered.
        prior: mean and deviation from the model's card; they count as `PRIOR_PAIRS` pairs.
        fixed: a similarity to use instead.
    """
    mean, sd = impostors(cosines) if len(cosines) else prior
    weight = len(cosines) / (len(cosines) + PRIOR_PAIRS)
    mean = weight * mean + (1 - weight) * prior[0]
    sd = weight * sd + (1 - weight) * prior[1]
    z = deviations(max(faces, LEAST_FACES))
    if fixed is not None:
        z = (fixed - mean) / sd
    return Threshold(mean, sd, z, fixed=fixed)


def deviations(others: int) -> float:
    """Return how far above strangers `FALSE_NEIGHBOURS` of `others` are expected by chance."""
    return -NORMAL.inv_cdf(FALSE_NEIGHBOURS / others)


def impostors(cosines: Floats64) -> tuple[float, float]:
    """Return mean and deviation of the strangers among random pairs."""
    ordered = np.sort(cosines)
    share = 0.0  # of pairs of one person
    for _ in range(10):
        middle, low = np.quantile(ordered, [0.5 * (1 - share), 0.158655 * (1 - share)])
        sd = max(float(middle - low), 1e-4)
        above = 1 - np.searchsorted(ordered, middle + 3 * sd) / len(ordered)
        new = float(np.clip(above - NORMAL.cdf(-3) * (1 - share), 0, 0.9))
        if abs(new - share) < 1e-4:
            break
        share = new
    return float(middle), sd


def curve(threshold: Threshold, cosines: Floats64, faces: int) -> list[dict[str, Any]]:
    """Return for a range of similarities the modelled and the counted share of pairs above."""
    ordered = np.sort(cosines)
    rows = []
    for t in np.arange(0.1, 0.8, 0.05):
        counted = 1 - np.searchsorted(ordered, t) / max(1, len(ordered))
        rows.append(
            {
                "similarity": round(float(t), 2),
                "fmr_model": NORMAL.cdf(-(float(t) - threshold.mean) / threshold.sd),
                "pairs_above": float(counted),
                "false_neighbours": threshold.false_neighbours(float(t), faces),
            }
        )
    return rows


def describe(threshold: Threshold) -> dict[str, Any]:
    """Return the threshold for a run's manifest."""
    sizes: Ints = np.array([1, 2, 5, 20, 100])
    return asdict(threshold) | {
        "single_faces": float(threshold.cosine()),
        "equal_groups": {str(n): round(float(threshold.cosine(n, n)), 4) for n in sizes.tolist()},
    }
