"""Memory that a run needs, of its nodes and of its driver."""

from pipeline.executor.planning.figures import Figures
from pipeline.executor.resources import (
    EPOCH_BLOCKS,
    EPOCH_FILES,
    STORE_BYTES,
    STORE_BYTES_A_CORE,
    Sizing,
    block_images,
)

# Without models: a Ray worker that reads or writes, and what it holds of photos or rows.
WORKER_BYTES = 250 * 2**20
# Ray's own processes on a node.
RAY_BYTES = 512 * 2**20
# The driver: Python, Ray and Arrow, before it knows of any photo.
DRIVER_BYTES = 400 * 2**20
# Of each block that a stage hands on, until the dataset ends (measured at 8,000 blocks).
BLOCK_BYTES, STAGES = 3 * 2**10, 4
# A loose file of the units that are at work: its name, size and version, more than once.
LISTED_BYTES = 500
# On disk: a photo of the ledger with its orders (see `lake.ledger`), and a loose file to be read.
LEDGER_DISK_BYTES, LISTED_DISK_BYTES = 93, 100


def driver_bytes(photos: int, loose_share: float) -> float:
    """Return the driver's memory: it grows until a dataset has all the blocks that it may have."""
    blocks = min(photos / block_images(photos), EPOCH_BLOCKS)
    listed = min(photos * loose_share, EPOCH_FILES)
    return DRIVER_BYTES + blocks * STAGES * BLOCK_BYTES + listed * LISTED_BYTES


def driver_disk_bytes(photos: int, loose_share: float) -> float:
    """Return the room in the driver's temporary folder: a lake of `photos`, and as many listed."""
    return photos * (LEDGER_DISK_BYTES + loose_share * LISTED_DISK_BYTES)


def node_bytes(figures: Figures, sizing: Sizing, nodes: int, cpus: int) -> float:
    """Return the memory of a node: actors, tasks, the object store and Ray."""
    memory = figures.memory
    decoders = cpus if sizing.decode_apart else sizing.detect_actors / nodes
    return (
        RAY_BYTES
        + STORE_BYTES
        + STORE_BYTES_A_CORE * cpus
        + memory.shared
        + sizing.detect_actors / nodes * memory.detect
        + sizing.embed_actors / nodes * memory.embed
        + decoders * memory.decoder
        + (cpus if sizing.decode_apart else 0) * WORKER_BYTES
        + (sizing.read_tasks + sizing.write_tasks) / nodes * WORKER_BYTES
    )
