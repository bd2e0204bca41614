"""Predicts hours and bytes of a run on a cluster from the costs of one photo, by arithmetic."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.config import PoolConfig
from pipeline.executor.planning.figures import STAGES, Figures
from pipeline.executor.planning.needs import driver_bytes, driver_disk_bytes, node_bytes
from pipeline.executor.resources import DETECT_CPUS, EMBED_CPUS, Sizing, size

# Of the processor time of a node, the share that stages get; the rest goes to Ray's own processes,
# to cores that share caches and memory, and to actors that wait at the end. Two runs on two cores
# had 0.95 and more ("Planning" in docs/operations.md); many nodes end less evenly.
USABLE = 0.9
# Ray and the models start, whatever the archive: 15 photos take 18 s.
START_S = 15.0


@dataclass(frozen=True, slots=True)
class GpuRate:
    """What one GPU was measured to do alone.

    Attributes:
        images_per_s: photos searched for faces.
        faces_per_s: faces embedded.
    """

    images_per_s: float
    faces_per_s: float

    def seconds(self, faces: float) -> float:
        """Return seconds of a photo with so many faces."""
        return 1 / self.images_per_s + faces / self.faces_per_s


@dataclass(frozen=True, slots=True)
class Hardware:
    """A cluster of equal nodes.

    Attributes:
        cpus, gpus, memory_bytes: of one node.
        gpu: what a GPU does; None: not known, and GPUs are left out of account.
    """

    nodes: int
    cpus: int
    memory_bytes: int
    gpus: int = 0
    gpu: GpuRate | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether GPUs search and embed."""
        return self.gpus > 0 and self.gpu is not None


@dataclass(frozen=True, slots=True)
class Prediction:
    """What an archive of `photos` takes.

    Attributes:
        images_per_s, hours: with their 95 % intervals as far as the choice of the sample goes.
        limits: what each thing would allow alone, images/s.
        bottleneck: the lowest of them.
        core_hours: cores of the cluster, busy or not.
        output_bytes, parts: of the lake's images and faces; a part is two files.
        read_bytes_per_s, write_bytes_per_s: of a node.
        node_bytes: memory of a node, the driver's apart.
        driver_bytes: memory of the driver.
        driver_disk_bytes: of its temporary folder, for a run over a lake of so many photos.
    """

    photos: int
    images_per_s: float
    images_per_s_interval: tuple[float, float]
    hours: float
    hours_interval: tuple[float, float]
    limits: Mapping[str, float]
    bottleneck: str
    core_hours: float
    output_bytes: float
    parts: int
    read_bytes_per_s: float
    write_bytes_per_s: float
    node_bytes: float
    driver_bytes: float
    driver_disk_bytes: float
    sizing: Sizing

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)


def predict(
    figures: Figures, hardware: Hardware, photos: int, pools: PoolConfig, loose_share: float
) -> Prediction:
    """Predict a run over `photos`, of which `loose_share` are files of their own.

    Raises:
        ResourceError: `pools` asks for more than the hardware has.
    """
    sizing = size(
        hardware.nodes * hardware.cpus,
        hardware.nodes * hardware.gpus * hardware.on_gpu,
        pools,
        device="cuda" if hardware.on_gpu else "cpu",
        images=photos,
        image_bytes=int(figures.bytes),
    )
    limits = rates(figures, hardware, sizing)
    bottleneck = min(limits, key=limits.__getitem__)
    rate = limits[bottleneck]
    low, high = (
        min(rates(figures.scaled(factor), hardware, sizing).values())
        for factor in reversed(figures.factor)
    )
    hours, most, least = ((START_S + photos / each) / 3600 for each in (rate, low, high))
    parts = -(-photos // sizing.part_images)
    output = (
        photos * (figures.image_row_bytes + figures.faces * figures.face_row_bytes)
        + parts * figures.part_bytes
    )
    return Prediction(
        photos=photos,
        images_per_s=rate,
        images_per_s_interval=(low, high),
        hours=hours,
        hours_interval=(least, most),
        limits=limits,
        bottleneck=bottleneck,
        core_hours=hours * hardware.nodes * hardware.cpus,
        output_bytes=output,
        parts=parts,
        read_bytes_per_s=rate * figures.bytes / hardware.nodes,
        write_bytes_per_s=rate * output / photos / hardware.nodes,
        node_bytes=node_bytes(figures, sizing, hardware.nodes, hardware.cpus),
        driver_bytes=driver_bytes(photos, loose_share),
        driver_disk_bytes=driver_disk_bytes(photos, loose_share),
        sizing=sizing,
    )


def rates(figures: Figures, hardware: Hardware, sizing: Sizing) -> dict[str, float]:
    """Return images/s of the cluster as each thing would allow alone."""
    cores = hardware.nodes * hardware.cpus
    reserved = sizing.detect_actors * DETECT_CPUS + sizing.embed_actors * EMBED_CPUS
    seconds = {
        "reading": figures.stages["read"].wall_s / sizing.read_tasks,
        "writing": figures.stages["write"].wall_s / sizing.write_tasks,
    }
    if hardware.on_gpu:
        assert hardware.gpu is not None
        left = max(1.0, cores - reserved)
        seconds["GPUs"] = hardware.gpu.seconds(figures.faces) / (hardware.nodes * hardware.gpus)
        if sizing.decode_apart:
            seconds["decoding"] = figures.cpu_s("read", "decode", "write") / (USABLE * left)
        else:
            seconds["decoding"] = figures.cpu_s("decode") / sizing.detect_actors
    else:
        seconds["cores"] = figures.cpu_s() / (USABLE * cores)
        seconds["detect actors"] = figures.cpu_s("decode", "detect") / sizing.detect_actors
        seconds["embed actors"] = figures.cpu_s("embed") / sizing.embed_actors
    return {name: 1 / max(value, 1e-12) for name, value in seconds.items()}


@dataclass(frozen=True, slots=True)
class Feeding:
    """What keeps one GPU busy.

    Attributes:
        images_per_s: that the GPU takes; None where nobody measured it.
        core_images_per_s: that one core decodes.
        decode_cores: that decode for one GPU.
        cores: with those that read, write and stand behind the GPU's actors.
    """

    images_per_s: float | None
    core_images_per_s: float
    decode_cores: float | None
    cores: float | None


def feeding(figures: Figures, gpu: GpuRate | None) -> Feeding:
    """Return how many cores feed one GPU."""
    decode_s = max(figures.cpu_s("decode"), 1e-12)
    if gpu is None:
        return Feeding(None, USABLE / decode_s, None, None)
    rate = 1 / gpu.seconds(figures.faces)
    beside = 2 * (DETECT_CPUS + EMBED_CPUS)  # two of each actor share a GPU
    moving = rate * figures.cpu_s("read", "write") / USABLE
    decode_cores = rate * decode_s / USABLE
    return Feeding(rate, USABLE / decode_s, decode_cores, decode_cores + moving + beside)


def leading_stage(figures: Figures) -> tuple[str, float]:
    """Return the stage with the most processor time, and its share."""
    name = max(STAGES, key=figures.cpu_s)
    return name, figures.cpu_s(name) / max(figures.cpu_s(), 1e-12)
