"""Runs a small job in one worker process: Ray would take longer to start than the work takes.

The stages are those that Ray runs, and the driver does not run them either: a crash in native code
ends the worker alone. Then what is left is done on Ray.
"""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline import errors
from pipeline.config import IndexConfig, PoolConfig
from pipeline.executor.resources import IMAGES_PER_ACTOR, Sizing, size
from pipeline.executor.work import Job
from pipeline.imaging.memory import MALLOC
from pipeline.lake.ledger import Ledger
from pipeline.sources.units import Plan

# Ray takes as long to start as one process takes for as many photos of 12 megapixels.
MOST_IMAGES = 2 * IMAGES_PER_ACTOR
MOST_BYTES = 512 * 2**20
MODULE = "pipeline.executor.single_worker"
NVIDIA = Path("/dev/nvidiactl")


class WorkerLostError(Exception):
    """The worker's process ended before its work did."""


def suits(config: IndexConfig, plan: Plan) -> bool:
    """Return whether a plan is small, and nobody asked for Ray, its actors or a GPU."""
    ray = sys.modules.get("ray")
    asked = "RAY_ADDRESS" in os.environ or (ray is not None and ray.is_initialized())
    pools, default = config.pools, PoolConfig()
    workers = ("detect_actors", "embed_actors", "detect_gpus", "embed_gpus")
    return (
        not asked
        and all(getattr(pools, name) == getattr(default, name) for name in workers)
        and (config.device == "cpu" or (config.device == "auto" and not NVIDIA.exists()))
        and plan.estimated_images() <= MOST_IMAGES
        and plan.bytes <= MOST_BYTES
    )


def sizing(config: IndexConfig, plan: Plan) -> Sizing:
    """Return one worker of each kind."""
    sized = size(
        os.cpu_count() or 1,
        0,
        config.pools,
        device="cpu",
        images=plan.estimated_images(),
        image_bytes=plan.image_bytes,
    )
    return replace(sized, detect_actors=1, embed_actors=1, read_tasks=1, write_tasks=1)


def run(job: Job, plan: Plan, ledger: Ledger, verbose: bool = False) -> Iterator[Mapping[str, Any]]:
    """Process the plan, yielding one row of `stages.write.RESULT` a published part.

    Raises:
        FacelakeError: what a stage raised.
        WorkerLostError: the worker is gone; what it has published is whole.
    """
    with subprocess.Popen(  # noqa: S603  # our own interpreter and module
        [sys.executable, "-P", "-m", MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if verbose else subprocess.DEVNULL,
        env=_environment(),
        start_new_session=True,  # a terminal's Ctrl-C is for the driver
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            try:
                known = ledger.shared() or ledger
                pickle.dump((job, list(plan.units), known), worker.stdin)
                worker.stdin.flush()  # it stays open: the worker ends when the driver does
            except BrokenPipeError:
                pass
            for line in worker.stdout:
                kind, value = json.loads(line)
                if kind == "done":
                    return
                if kind == "error":
                    raise getattr(errors, value[0])(value[1])
                yield value
        finally:
            worker.kill()
    raise WorkerLostError(f"it ended with status {worker.returncode}")


def _environment() -> dict[str, str]:
    # -P keeps the current folder out; an empty entry of sys.path means that folder
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return {**MALLOC, **os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
