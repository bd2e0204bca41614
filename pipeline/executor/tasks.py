"""Where the tasks of clustering, duplicates and the vector index run: here, or on Ray."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from pipeline.executor import environment
from pipeline.lake.checkpoints import Mapper, in_process

WhereRay = Literal["auto", "always", "never"]
logger = logging.getLogger(__name__)


def on_ray(choice: WhereRay, file_bytes: int, enough: float) -> bool:
    """Return whether the work is worth a Ray cluster: files of so many bytes are, where it may."""
    if choice != "auto":
        return choice == "always"
    return "RAY_ADDRESS" in os.environ or file_bytes > enough


@contextmanager
def mapper(ray: bool, gpus: float = 0) -> Iterator[Mapper]:
    """Give what runs tasks, with so many GPUs for each; a Ray cluster lasts as long as this."""
    if not ray:
        yield in_process
        return
    verbose = logger.isEnabledFor(logging.INFO)
    environment.prepare(verbose)
    from pipeline.executor.cluster import cluster

    with cluster(verbose):
        from pipeline.executor.ray_mapper import RayMapper

        yield RayMapper(gpus)
