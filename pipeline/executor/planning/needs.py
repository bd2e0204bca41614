"""Memory that a run needs, of its nodes and of its driver."""

from pipeline.executor.planning.figures import Figures
from pipeline.executor.resources import STORE_BYTES, STORE_BYTES_A_CORE, Sizing

# Without models: a Ray worker that reads or writes, and what it holds of photos or rows.
WORKER_BYTES = 250 * 2**20
# Ray's own processes on a node.
RAY_BYTES = 512 * 2**20
# The driver: Python, Ray and Arrow, before it knows of any photo.
DRIVER_BYTES = 400 * 2**20
# Measured at 10^6 names of 30 characters: a listed file is its name, size and id on the way to
# units of work, and once more when these are sent out.
LISTED_BYTES = 500
# The ledger of what a lake has: 61 bytes are kept on a node, 77 in the driver (see `ledger`), and
# while it is made, piece by piece, the pieces, the whole and its order are there at once (120
# measured between 3 * 10^5 and 2 * 10^6).
LEDGER_BYTES, LEDGER_MAKING_BYTES = 77, 125


def driver_bytes(photos: int, loose_share: float, in_lake: int) -> float:
    """Return the driver's memory; `in_lake` photos are in the lake already.

    The ledger is made first; what it took meanwhile is free again when files are listed.
    """
    listed = photos * loose_share * LISTED_BYTES
    return DRIVER_BYTES + max(in_lake * LEDGER_MAKING_BYTES, in_lake * LEDGER_BYTES + listed)


def node_bytes(figures: Figures, sizing: Sizing, nodes: int, cpus: int, in_lake: int) -> float:
    """Return the memory of a node: actors, tasks, the object store and Ray.

    Every node that reads has its own copy of the ledger in its object store.
    """
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
        + in_lake * LEDGER_BYTES
    )
