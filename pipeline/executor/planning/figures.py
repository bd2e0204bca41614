"""Mean costs of one photo, with intervals, from a sample."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.arrays import Floats64
from pipeline.executor.planning.timing import Span

STAGES = ("read", "decode", "detect", "embed", "write")
BOOTSTRAPS = 2000
INTERVAL_PERCENT = 95


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that one process needs, apart from `shared`.

    Attributes:
        detect, embed: an actor that holds the model, at its peak.
        decoder: the process that decodes for it.
        shared: libraries in memory, once a node.
    """

    detect: int
    embed: int
    decoder: int
    shared: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Photos that went through all stages, in one thread.

    Attributes:
        cpu_s, wall_s: by stage, float64 [N] each; a call's time is shared among its photos by
            what they weigh in it: pixels when searched, faces when embedded.
        weights: float64 [N], photos of the inputs that each stands for.
        bytes, pixels, faces: float64 [N]; pixels are 0 where there is an error.
        errors: photos by error code.
        image_row_bytes, face_row_bytes: Parquet bytes of a row of `images`, of `faces`.
        part_bytes: Parquet bytes of both files of a part beside its rows.
        sample_s: seconds that it took, loading of the models included.
        device: that detected and embedded, "cpu" or "cuda".
    """

    cpu_s: Mapping[str, Floats64]
    wall_s: Mapping[str, Floats64]
    weights: Floats64
    bytes: Floats64
    pixels: Floats64
    faces: Floats64
    errors: Counter[str]
    image_row_bytes: float
    face_row_bytes: float
    part_bytes: float
    memory: Memory
    sample_s: float
    device: str

    def __len__(self) -> int:
        return len(self.bytes)

    @property
    def archive(self) -> int:
        """About how many photos the inputs hold."""
        return max(1, round(float(self.weights.sum())))

    def mean(self, values: Floats64) -> float:
        """Return the mean of `values` over the inputs."""
        return float(np.average(values, weights=self.weights))

    def percentile(self, values: Floats64, percent: float) -> float:
        """Return a percentile of `values` over the inputs."""
        return float(np.percentile(values, percent, weights=self.weights, method="inverted_cdf"))


@dataclass(frozen=True, slots=True)
class Figures:
    """One photo of an archive, on average.

    Attributes:
        stages: seconds of each stage.
        factor: the ends of the interval of a photo's processor seconds, as multiples of the mean.
        bytes: encoded.
        faces: found.
        image_row_bytes, face_row_bytes, part_bytes, memory: as of `Sample`.
        device: that `detect` and `embed` were measured on.
    """

    stages: Mapping[str, Span]
    factor: tuple[float, float]
    bytes: float
    faces: float
    image_row_bytes: float
    face_row_bytes: float
    part_bytes: float
    memory: Memory
    device: str = "cpu"

    def cpu_s(self, *stages: str) -> float:
        """Return processor seconds of these stages, or of all."""
        return sum(self.stages[name].cpu_s for name in stages or STAGES)

    def scaled(self, factor: float) -> "Figures":
        """Return the same with every second times `factor`."""
        spans = {n: Span(s.cpu_s * factor, s.wall_s * factor) for n, s in self.stages.items()}
        return replace(self, stages=spans)


def figures(sample: Sample, seed: int = 0) -> Figures:
    """Return means over a sample that is not empty."""
    total = sum((sample.cpu_s[name] for name in STAGES), np.zeros(len(sample)))
    low, high = interval(total, sample.weights, seed)
    mean = max(sample.mean(total), 1e-12)
    return Figures(
        {n: Span(sample.mean(sample.cpu_s[n]), sample.mean(sample.wall_s[n])) for n in STAGES},
        (low / mean, high / mean),
        sample.mean(sample.bytes),
        sample.mean(sample.faces),
        sample.image_row_bytes,
        sample.face_row_bytes,
        sample.part_bytes,
        sample.memory,
        sample.device,
    )


def interval(values: Floats64, weights: Floats64, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the weighted mean.

    Photos are drawn again, with repetition, each with the weight that it has.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(values), (BOOTSTRAPS, len(values)))
    means = (values * weights)[drawn].sum(axis=1) / weights[drawn].sum(axis=1)
    outside = (100 - INTERVAL_PERCENT) / 2
    low, high = np.percentile(means, [outside, 100 - outside])
    return float(low), float(high)
