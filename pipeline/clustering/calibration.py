"""The threshold of a lake, measured on pairs of its own faces."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.arrays import Ints
from pipeline.clustering.algorithms.grid import similarity
from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.clustering.algorithms.threshold import (
    PRIOR_MEAN,
    PRIOR_SD,
    Threshold,
    calibrate,
    curve,
)
from pipeline.clustering.gather import Faces
from pipeline.clustering.past import Past
from pipeline.clustering.shards import mix
from pipeline.lake.store import LakeStore
from pipeline.models.cards.card import card_of

SAMPLE_FACES, SAMPLE_SHIFTS = 20_000, 25


@dataclass(frozen=True)
class Calibration:
    """The threshold of two single faces, and its curve as the manifest shows it."""

    threshold: Threshold
    curve: list[dict[str, Any]]


def calibrate_lake(
    lake: LakeStore, faces: Faces, core: Ints, past: Past, config: ClusterConfig
) -> Calibration:
    """Measure strangers on pairs of a sample; a run that adds keeps what was measured."""
    total = len(core) + past.core_faces
    models = lake.models()
    card = card_of(models.embedder) if models else None
    figures = card.thresholds if card else {}
    own = (figures["own_mean"], figures["own_sd"]) if "own_mean" in figures else None
    if past.impostors:
        threshold = calibrate(np.zeros(0), total, past.impostors, config.threshold)
        return Calibration(replace(threshold, own=own), past.curve)
    prior = (figures.get("impostor_mean", PRIOR_MEAN), figures.get("impostor_sd", PRIOR_SD))
    sample = core[np.argsort(mix(faces.rank[core]), kind="stable")[:SAMPLE_FACES]]
    vectors = faces.vectors(sample)
    shifts = range(1, min(SAMPLE_SHIFTS, len(sample) - 1) + 1)
    cosines = [similarity(vectors, np.roll(vectors, shift, axis=0)) for shift in shifts]
    values = np.concatenate([np.zeros(0), *cosines])
    threshold = calibrate(values, total, prior, config.threshold)
    return Calibration(replace(threshold, own=own), curve(threshold, values, total))
