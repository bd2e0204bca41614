"""How many actors a cluster gets, and of what size."""

from dataclasses import dataclass

from pipeline.config import MAX_PART_IMAGES, MIN_PART_IMAGES, PoolConfig
from pipeline.errors import ResourceError

# One core runs one detector and one embedder, single-threaded, that take turns as the photos
# demand. So a node gets as many detectors as cores, also one that joins later, and embedders have
# what is left. Reading and writing mostly wait, and take none: actors of a node that is lost start
# again elsewhere, and would leave them nothing.
DETECT_CPUS, EMBED_CPUS = 0.9, 0.05
DECODE_CPUS = 1.0  # of a decoding task where decoding is apart
# Two detectors and two embedders share a GPU, so that one computes while the other prepares.
DETECT_GPUS, EMBED_GPUS = 0.3, 0.2
# A block is what one task is handed: about as many images as a detector takes at once, in bounds
# that keep small photos from making a flood of blocks and large ones from filling the store.
BLOCK_IMAGES = 32
# Blocks that one stage hands on in a dataset, of which the driver keeps 3 KB each, of all stages,
# and loose files of its units. Of a large run blocks are larger, so that actors seldom start again,
# which takes some seconds.
EPOCH_BLOCKS, EPOCH_FILES = 2**15, 2**20
LARGE_RUN, LARGE_BLOCK_IMAGES = 2**20, 128
MIN_BLOCK_BYTES, MAX_BLOCK_BYTES = 2**20, 32 * 2**20
# Fewer images than this are not worth another pair of processes that start for seconds.
IMAGES_PER_ACTOR = 24
# Ray would take a third of the memory for blocks in flight, and Ray Data would fill it by reading
# ahead. What keeps a core's workers busy is some blocks of at most 32 MB each.
STORE_BYTES, STORE_BYTES_A_CORE = 256 * 2**20, 128 * 2**20


@dataclass(frozen=True, slots=True)
class Sizing:
    """What each stage gets.

    Attributes:
        detect_actors, detect_most: to start with, and at most where nodes join; embed likewise.
        detect_cpus, detect_gpus: of one actor; the others likewise.
        decode_apart: decode in tasks of its own, because detectors hold a GPU.
    """

    detect_actors: int
    detect_most: int
    detect_cpus: float
    detect_gpus: float
    embed_actors: int
    embed_most: int
    embed_cpus: float
    embed_gpus: float
    read_tasks: int
    write_tasks: int
    decode_apart: bool
    part_images: int
    block_bytes: int
    cpus: float

    def workers(self) -> dict[str, int]:
        """Return how many processes work for each stage at most, unless nodes join."""
        actors = self.detect_actors * self.detect_cpus + self.embed_actors * self.embed_cpus
        free = (self.cpus - actors + 1e-6) // DECODE_CPUS
        return {
            "read": self.read_tasks,
            "decode": max(1, int(free)) if self.decode_apart else self.detect_actors,
            "detect": self.detect_actors,
            "embed": self.embed_actors,
            "write": self.write_tasks,
        }


def block_images(images: int) -> int:
    """Return about how many images a block holds, of a run over so many."""
    return BLOCK_IMAGES if images < LARGE_RUN else LARGE_BLOCK_IMAGES


def part_images(pools: PoolConfig, images: int) -> int:
    """Return how many images a part of the lake gets, of about `images` in the run."""
    return pools.part_images or min(MAX_PART_IMAGES, max(MIN_PART_IMAGES, images // 64))


def size(
    cpus: float, gpus: float, pools: PoolConfig, *, device: str, images: int, image_bytes: int
) -> Sizing:
    """Choose pools for a cluster of `cpus` and `gpus`; what `pools` sets is kept.

    `images` is about how many there are to read, `image_bytes` the mean of their encoded sizes.

    Raises:
        ResourceError: GPUs were asked for that the cluster does not have.
    """
    if device == "cuda" and gpus <= 0:
        raise ResourceError(
            "--device cuda, but the Ray cluster has no GPU; start it with GPUs or use --device cpu"
        )
    on_gpu = gpus > 0 and device != "cpu"
    detect_gpus = pools.detect_gpus if pools.detect_gpus is not None else DETECT_GPUS * on_gpu
    embed_gpus = pools.embed_gpus if pools.embed_gpus is not None else EMBED_GPUS * on_gpu
    default = max(1, round(2 * gpus)) if on_gpu else max(1, int(cpus))
    # A node with many GPUs and few CPUs gets fewer, not an error about what nobody asked for.
    default = min(default, int((cpus + 1e-6) / (DETECT_CPUS + EMBED_CPUS)))
    worth = -(-images // IMAGES_PER_ACTOR)
    default = max(1, min(default, worth))
    detect_actors = pools.detect_actors or default
    embed_actors = pools.embed_actors or default
    wanted_gpus = detect_actors * detect_gpus + embed_actors * embed_gpus
    wanted_cpus = detect_actors * DETECT_CPUS + embed_actors * EMBED_CPUS
    if wanted_gpus > gpus + 1e-6 or wanted_cpus > cpus + 1e-6:
        raise ResourceError(
            f"{detect_actors} detect and {embed_actors} embed actors need {wanted_cpus:.1f} CPUs "
            f"and {wanted_gpus:.1f} GPUs, the cluster has {cpus:.0f} and {gpus:.0f}; lower "
            "--detect-actors, --embed-actors or their --detect-gpus, --embed-gpus"
        )
    return Sizing(
        detect_actors=detect_actors,
        detect_most=pools.detect_actors or max(default, worth),
        detect_cpus=DETECT_CPUS,
        detect_gpus=detect_gpus,
        embed_actors=embed_actors,
        # Ray Data sets the resources of growth aside for the later stage first: with more, it
        # would keep from detectors what a small node brings.
        embed_most=pools.embed_actors or 2 * default,
        embed_cpus=EMBED_CPUS,
        embed_gpus=embed_gpus,
        read_tasks=max(1, int(cpus) // 2),
        write_tasks=max(1, int(cpus) // 4),
        # Its tasks take a whole CPU each; where none is left, detectors decode.
        decode_apart=detect_gpus > 0 and wanted_cpus + DECODE_CPUS <= cpus + 1e-6,
        part_images=part_images(pools, images),
        block_bytes=min(MAX_BLOCK_BYTES, max(MIN_BLOCK_BYTES, block_images(images) * image_bytes)),
        cpus=cpus,
    )
