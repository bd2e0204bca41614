"""Open-set identification: who of a gallery is this, or nobody of it?

Protocol and names as in the IJB benchmarks (Maze et al., "IARPA Janus Benchmark C", ICB 2018) and
ISO/IEC 19795-1. A search of a known person is missed where the right one is not first, or scores
below the threshold: their share is the FNIR. A search of somebody unknown errs where anybody
reaches the threshold: the FPIR. Rank 1 and CMC are closed-set: known people, no threshold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.arrays import Bools, Floats64, Ints
from pipeline.errors import ConfigError
from pipeline.evaluation.measures.bootstrap import intervals
from pipeline.evaluation.measures.curves import Curve, Sweep, leave_out_unresolved

FPIRS = (0.01, 0.1)
CMC_RANKS = 20
# rows of the table of similarities at once, bounds memory: 512 x 100,000 x 8 bytes = 400 MB
PROBES_AT_ONCE = 512
Template = Literal["mean", "best"]


@dataclass(frozen=True)
class Split:
    """Rows of the vectors: `gallery`, `known` (probes of people in it), `unknown` (of others)."""

    gallery: Ints
    known: Ints
    unknown: Ints


def split(person: Ints, unknown_share: float = 1.0, hold_out: float = 0.0, seed: int = 0) -> Split:
    """Divide photos into gallery and probes.

    Half of each person's photos (rounded down, at least one) are the gallery, the rest probes.
    Unknown are people with one photo, of them the share `unknown_share`, and the share
    `hold_out` of those with several, all drawn.

    Args:
        person: number of the person on each photo, int64 [N], from 0.
        unknown_share: of people with one photo, from 0 to 1.
        hold_out: of people with several, from 0 to 1.
        seed: of what is drawn.

    Raises:
        ConfigError: a share is out of range, or nobody has two photos.
    """
    for name, share in (("unknown", unknown_share), ("hold-out", hold_out)):
        if not 0 <= share <= 1:
            raise ConfigError(f"The share {name} is {share}; it must be from 0 to 1")
    random = np.random.default_rng(seed)
    counts = np.bincount(person)
    single, several = np.flatnonzero(counts == 1), np.flatnonzero(counts > 1)
    strangers = random.permutation(single)[: round(unknown_share * len(single))]
    held = random.permutation(several)[: round(hold_out * len(several))]
    members = np.setdiff1d(several, held)
    if not len(members):
        raise ConfigError(
            "Nobody in the gallery: it takes people with two or more photos (and fewer held out)"
        )
    order = random.permutation(len(person))
    order = order[np.argsort(person[order], kind="stable")]
    starts = np.cumsum(counts) - counts
    place = np.arange(len(order)) - starts[person[order]]  # of the photo among its person's
    inside = np.isin(person[order], members)
    first = inside & (place < counts[person[order]] // 2)
    unknown = np.isin(person, np.concatenate([strangers, held]))
    return Split(np.sort(order[first]), np.sort(order[inside & ~first]), np.flatnonzero(unknown))


@dataclass(frozen=True)
class Searches:
    """The results of searches.

    Attributes:
        top: score of the first candidate of each search, [N].
        rank: rank of the right person, int64 [N], from 1; 0 for the unknown. Of equal scores the
            right one comes last.
    """

    top: Floats64
    rank: Ints


def search(
    vectors: Floats64, person: Ints, gallery: Ints, probes: Ints, template: Template = "mean"
) -> Searches:
    """Search the gallery for each probe.

    Args:
        vectors: unit vectors [N, D].
        person: [N].
        gallery: rows that are searched.
        probes: rows that are searched for.
        template: a person scores as the unit mean of their vectors, or as the best of them.
    """
    rows = gallery[np.argsort(person[gallery], kind="stable")]
    people, starts = np.unique(person[rows], return_index=True)
    exemplars = vectors[rows]
    if template == "mean":
        exemplars = np.add.reduceat(exemplars, starts, axis=0)
        exemplars /= np.maximum(np.linalg.norm(exemplars, axis=1, keepdims=True), 1e-12)
    place = np.searchsorted(people, person[probes])
    mated = (place < len(people)) & (people[np.minimum(place, len(people) - 1)] == person[probes])
    top, rank = np.empty(len(probes)), np.zeros(len(probes), dtype=np.int64)
    for start in range(0, len(probes), PROBES_AT_ONCE):
        part = slice(start, start + PROBES_AT_ONCE)
        scores = vectors[probes[part]] @ exemplars.T
        if template == "best":
            scores = np.maximum.reduceat(scores, starts, axis=1)
        top[part] = scores.max(axis=1)
        at = np.flatnonzero(mated[part])
        own = scores[at, place[part][at]]
        rank[start + at] = (scores[at] >= own[:, None]).sum(axis=1)
    return Searches(top, rank)


@dataclass(frozen=True)
class Identification:
    """What was measured.

    Attributes:
        curve: `far` is the FPIR and 1 - `tar` the FNIR; None without unknown people.
        measures: rank_1, and fnir_at_fpir_0.01 ..., by name.
        thresholds: of each FPIR, by the same names.
        cmc: share of known probes whose person is among the first 1, 2 ... candidates.
        resolved: what limits each FPIR, where something does.
    """

    curve: Curve | None
    measures: Mapping[str, float]
    thresholds: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    cmc: Floats64
    resolved: Mapping[float, str]


def fnir_name(fpir: float) -> str:
    """Return the name of the measure FNIR at an FPIR."""
    return f"fnir_at_fpir_{fpir:g}"


def identification(
    searches: Searches, person: Ints, bootstrap: int = 1000, fpirs: Sequence[float] = FPIRS
) -> Identification:
    """Return the rates of searches, with intervals over the people searched for.

    Args:
        searches: N of them.
        person: number of the person on each probe, int64 [N].
        bootstrap: samples of the intervals; 0: none.
        fpirs: at which FNIR is reported.

    The gallery is the same in every sample.
    """
    is_known = searches.rank > 0
    first: Bools = searches.rank == 1
    _, units = np.unique(person, return_inverse=True)
    # A miss at rank 1 stays one at every threshold; NaN is a trial that is never accepted.
    scores = np.where(is_known & ~first, np.nan, searches.top)
    sweep = Sweep(scores, is_known) if 0 < is_known.sum() < len(is_known) else None

    def rates(curve: Curve | None, weights: Floats64) -> dict[str, float]:
        total = weights[is_known].sum()
        values = {"rank_1": float(weights[first].sum() / total) if total else float("nan")}
        if curve is not None:
            values |= {fnir_name(f): 1 - curve.tar_at_far(f)[0] for f in fpirs}
        return values

    def resampled(people: Floats64) -> dict[str, float]:
        weights = people[units]
        return rates(sweep.curve(weights) if sweep else None, weights)

    curve = sweep.curve() if sweep else None
    strangers = int((~is_known).sum())
    measures = rates(curve, np.ones(len(is_known)))
    bounds = intervals(resampled, int(units.max()) + 1, bootstrap)
    names = {fpir: fnir_name(fpir) for fpir in fpirs} if strangers else {}
    problems = leave_out_unresolved(names, strangers, "FNIR", measures, bounds)
    return Identification(
        curve,
        measures,
        {fnir_name(f): curve.tar_at_far(f)[1] for f in fpirs} if curve else {},
        bounds,
        np.array([(searches.rank[is_known] <= k).mean() for k in range(1, CMC_RANKS + 1)]),
        problems,
    )
