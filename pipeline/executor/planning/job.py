"""Predicting an archive: a sample is measured, and whole archives on a cluster are predicted."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from pipeline.config import IndexConfig
from pipeline.errors import ConfigError
from pipeline.executor.index import prepare_models
from pipeline.executor.planning.figures import Figures, Sample, figures
from pipeline.executor.planning.prediction import GpuRate, Hardware, Prediction, predict
from pipeline.executor.planning.sampling import choose
from pipeline.executor.progress import Watch
from pipeline.imaging import memory
from pipeline.lake.ledger import Ledger
from pipeline.lake.store import LakeStore
from pipeline.options import Option, check_bounds, require
from pipeline.sources.members import Report
from pipeline.sources.plan import check_columns, plan
from pipeline.storage.scratch import scratch

PHOTOS = ("1e6", "1e8", "1e9")
MAX_PHOTOS = 10**12
WHAT, CLUSTER = "what is predicted", "the cluster (this machine, where not given)"


@dataclass(frozen=True, slots=True)
class PlanConfig:
    """What is predicted, and for which cluster; numbers beyond the bounds are slips."""

    # fmt: off
    photos: Annotated[tuple[str, ...], Option(
        "sizes of archives, joined by commas; that of the inputs is always added", "N",
        group=WHAT)] = PHOTOS
    sample: Annotated[int, Option("photos to measure, from all over the inputs", "N", least=1,
        most=100_000, group=WHAT)] = 100
    seed: Annotated[int, Option("chooses them", "N", least=0, most=2**63, group=WHAT)] = 0
    nodes: Annotated[int, Option("nodes", "N", least=1, most=100_000, group=CLUSTER)] = 1
    cpus: Annotated[int | None, Option("cores of a node, as fast as here", "N", least=1,
        most=4096, group=CLUSTER)] = None
    memory_gb: Annotated[float | None, Option("of a node", "GB", least=0.1, most=100_000,
        group=CLUSTER)] = None
    gpus: Annotated[int | None, Option("of a node", "N", least=0, most=64, group=CLUSTER)] = None
    gpu_images_per_s: Annotated[float | None, Option(
        "photos that one GPU was measured to search a second; without it a GPU of this "
        "machine is measured", "X", least=1e-3, most=1e7, group=CLUSTER)] = None
    gpu_faces_per_s: Annotated[float | None, Option(
        "faces that one GPU was measured to embed a second", "X", least=1e-3, most=1e7,
        group=CLUSTER)] = None
    # fmt: on

    def __post_init__(self) -> None:
        """Check ranges."""
        check_bounds(self)
        photo_numbers(self.photos)
        require(
            (self.gpu_images_per_s is None) == (self.gpu_faces_per_s is None),
            "--gpu-images-per-s and --gpu-faces-per-s belong together: a GPU does both",
        )

    @property
    def gpu(self) -> GpuRate | None:
        """What one GPU was measured to do."""
        if self.gpu_images_per_s is None or self.gpu_faces_per_s is None:
            return None
        return GpuRate(self.gpu_images_per_s, self.gpu_faces_per_s)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was measured and predicted.

    Attributes:
        loose_share: of the photos, those that are files of their own.
        report: what reading had to say.
    """

    sample: Sample
    figures: Figures
    hardware: Hardware
    predictions: Sequence[Prediction]
    loose_share: float
    report: Report


def predict_archive(
    config: IndexConfig, settings: PlanConfig, measuring: Callable[[int], None] = lambda _: None
) -> Outcome:
    """Measure a sample of the inputs in this process, and predict archives from it.

    Starts no Ray and writes no lake. `measuring` is told about how many photos are measured.

    Raises:
        ConfigError: an input or a number that cannot be.
    """
    from pipeline.executor.planning.batches import batches
    from pipeline.executor.planning.measure import measure  # with all models and stages

    hardware = hardware_of(settings, config)
    inputs = plan(config.inputs, output="", ledger=Ledger.empty(), options=config.storage_options)
    check_columns(inputs, config.read.image_column, config.read.key_column)
    models = prepare_models(config, Watch())
    rng = np.random.default_rng(settings.seed)
    portions = choose(inputs, settings.sample, rng)
    measuring(sum(portion.wanted for portion in portions))
    memory.tune()
    # Where GPUs are asked for and nobody says what one does, one of this machine is asked.
    on_gpu = hardware.gpus > 0 and not hardware.gpu and config.device != "cpu" and local_gpus() > 0
    report = Report()
    device = "cuda" if on_gpu else "cpu"
    with scratch() as folder:
        lake = LakeStore(f"{folder}/lake")  # of the sample
        sample = measure(
            batches(portions, config, report, rng), config, models, lake, report, device
        )
    means = figures(sample, settings.seed)
    if on_gpu:
        hardware = with_gpu(hardware, means)
    loose_share = min(1.0, inputs.images / sample.archive)
    predictions = [
        predict(means, hardware, photos, config.pools, loose_share)
        for photos in sorted({sample.archive, *photo_numbers(settings.photos)})
    ]
    return Outcome(sample, means, hardware, predictions, loose_share, report)


def photo_numbers(texts: Sequence[str]) -> list[int]:
    """Return the numbers of photos that `--photos` names.

    Raises:
        ConfigError: one that is no number of photos.
    """
    numbers = []
    for word in ",".join(map(str, texts)).replace("_", "").split(","):
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not 1 <= value <= MAX_PHOTOS or value != int(value):
            raise ConfigError(
                f"--photos {word!r} is no number of photos; give whole ones from 1 to 1e12, such "
                f"as {','.join(PHOTOS)}"
            )
        numbers.append(int(value))
    return numbers


def hardware_of(settings: PlanConfig, config: IndexConfig) -> Hardware:
    """Return the cluster that is described; what is left out is this machine's.

    Raises:
        ConfigError: GPUs without a use.
    """
    # Python knows nothing of memory; Linux does.
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    cpus = len(os.sched_getaffinity(0)) if settings.cpus is None else settings.cpus
    memory_gb = memory_gb if settings.memory_gb is None else settings.memory_gb
    gpus = settings.gpus
    if gpus is None:
        gpus = 0 if config.device == "cpu" else max(local_gpus(), settings.gpu is not None)
    require(not gpus or config.device != "cpu", "--gpus with --device cpu: leave one of them out")
    return Hardware(settings.nodes, cpus, int(memory_gb * 1e9), gpus, settings.gpu)


def local_gpus() -> int:
    """Return how many GPUs this process can use."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def with_gpu(here: Hardware, means: Figures) -> Hardware:
    """Return the hardware with the rates of the GPU that the sample was measured on."""
    detect_s, embed_s = (means.stages[name].wall_s for name in ("detect", "embed"))
    # Without a face in the sample nothing was embedded, and the rate does not matter.
    faces_per_s = means.faces / embed_s if means.faces and embed_s > 0 else 1e7
    gpu = GpuRate(1 / max(detect_s, 1e-9), faces_per_s)
    return Hardware(here.nodes, here.cpus, here.memory_bytes, here.gpus, gpu)
