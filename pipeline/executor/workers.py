"""Workers that compute together on Ray Train, and batches that Ray Data makes for them."""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import ray
from ray.data import DataContext
from ray.util.queue import Empty, Queue

from pipeline.errors import FacelakeError, ResourceError
from pipeline.executor.dataset import pool, unwrapped
from pipeline.executor.environment import quiet_stderr
from pipeline.storage.scratch import scratch

# Given to each worker: its rank, how many there are, whether it has a GPU, and whom to tell.
Work = Callable[[int, int, bool, Callable[..., None]], Any]
POLL_S = 0.2
RESTARTS = 3
MOST_BLOCKS = 2000
logger = logging.getLogger(__name__)


def together(work: Work, workers: int, gpus: bool | None, tell: Callable[..., None]) -> Any:
    """Run `work` in several processes that torch.distributed joins, and return what the first does.

    Where a worker's process is lost the others are ended, and all begin again, some times: `work`
    goes on from what it has saved.

    Args:
        work: it pickles.
        workers: how many.
        gpus: whether each has a GPU, else a core; None: if there are enough.
        tell: called here with what the workers tell.

    Raises:
        ResourceError: the cluster has too few cores or GPUs.
        FacelakeError: what `work` raised.
    """
    if gpus is None:
        gpus = ray.cluster_resources().get("GPU", 0) >= workers
    kind = "GPU" if gpus else "CPU"
    there = int(ray.cluster_resources().get(kind, 0))
    if there < workers:
        raise ResourceError(f"{workers} workers need as many {kind}s, the cluster has {there}")
    for attempt in range(RESTARTS + 1):
        outcome = _once(work, workers, gpus, tell)
        if "refused" in outcome:
            raise outcome["refused"]
        if "error" not in outcome:
            return outcome["result"]
        if attempt == RESTARTS or not died(outcome["error"]):
            raise unwrapped(outcome["error"]) from outcome["error"]
        logger.warning("a worker was lost; all begin again from the last checkpoint")


def _once(work: Work, workers: int, gpus: bool, tell: Callable[..., None]) -> dict[str, Any]:
    """Run the workers once, and return by name what came of it: result, refused, error."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    queue: Any = Queue()
    outcome: dict[str, Any] = {}
    with scratch() as folder:
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"work": work, "queue": queue, "gpu": gpus},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus),
            run_config=RunConfig(name="facelake", storage_path=folder),
        )
        thread = threading.Thread(target=_fit, args=(trainer, outcome), daemon=True)
        thread.start()
        while thread.is_alive() or not queue.empty():
            try:
                kind, value = queue.get(timeout=POLL_S)
            except Empty:
                continue
            if kind == "told":
                tell(*value)
            else:
                outcome.setdefault(kind, value)
        thread.join()
    queue.shutdown()
    return outcome


def _fit(trainer: Any, outcome: dict[str, Any]) -> None:
    try:
        with quiet_stderr():
            trainer.fit()
    except Exception as error:
        outcome["error"] = error


def died(error: Exception) -> bool:
    """Return whether training failed because a worker's process or its node was lost."""
    failures = getattr(error, "worker_failures", {}).values()
    return any(
        isinstance(one, ray.exceptions.RayError)
        or type(one).__name__.startswith("WorkerHealthCheck")
        # what the others see of it
        or any(word in str(one).lower() for word in ("gloo", "nccl", "connection"))
        for one in failures
    )


def _worker(config: dict[str, Any]) -> None:
    from ray.train import get_context

    context, queue = get_context(), config["queue"]
    leads = context.get_world_rank() == 0

    def tell(*value: Any) -> None:
        if leads:
            queue.put(("told", value))

    try:
        workers = context.get_world_size()
        result = config["work"](context.get_world_rank(), workers, config["gpu"], tell)
    except FacelakeError as error:
        queue.put(("refused", error))
        raise  # the other workers wait for this one, and are ended
    if leads:
        queue.put(("result", result))


def stream(make: Any, items: Iterator[Any], workers: int) -> Iterator[dict[str, Any]]:
    """Yield what `make.rows` gives for each item, in order, made on cores that are free.

    Args:
        make: pickles; `rows` maps columns of one item to columns of one batch.
        items: dataclasses of numbers and arrays.
        workers: that stream at once, and share the free cores.
    """
    cores = int(ray.cluster_resources().get("CPU", 1))
    context = DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    rows = [vars(item) for item in items]
    if not rows:
        return
    blocks = min(len(rows), MOST_BLOCKS)
    actors = max(1, (cores - workers) // workers)
    dataset = ray.data.from_items(rows, override_num_blocks=blocks)
    dataset = dataset.map_batches(
        _Maker, fn_constructor_args=(make,), batch_size=1, batch_format="numpy",
        compute=pool(actors), num_cpus=1,
    )  # fmt: skip
    for batch in dataset.iter_batches(batch_size=1, prefetch_batches=2, batch_format="numpy"):
        yield {name: np.array(value[0]) for name, value in batch.items()}  # torch writes to them


def spare_cores(workers: int) -> bool:
    """Return whether the cluster has a core for each worker's batches beside its own."""
    return int(ray.cluster_resources().get("CPU", 1)) >= 2 * workers


class _Maker:
    def __init__(self, make: Any) -> None:
        self.make = make

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = self.make.rows(batch)
        return made
