"""Workers that compute together on Ray Train, and batches that Ray Data makes for them."""

import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import ray
from ray.data import DataContext
from ray.util.queue import Empty, Queue

from pipeline.errors import FacelakeError, ResourceError
from pipeline.executor.dataset import pool, unwrapped
from pipeline.executor.environment import quiet_stderr
from pipeline.storage.scratch import scratch

T = TypeVar("T")
# Given to each worker: its rank, how many there are, and what tells the caller of figures.
Work = Callable[[int, int, Callable[..., None]], Any]
POLL_S = 0.2
RESTARTS = 3


def together(work: Work, workers: int, gpus: bool, tell: Callable[..., None]) -> Any:
    """Run `work` in several processes that torch.distributed joins, and return what the first does.

    A worker that dies takes the others with it, and all begin again: `work` goes on from what it
    has saved.

    Args:
        work: it pickles.
        workers: how many.
        gpus: whether each has a GPU, else a core.
        tell: called here with what the workers tell.

    Raises:
        ResourceError: the cluster has too few cores or GPUs.
        FacelakeError: what `work` raised.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    kind = "GPU" if gpus else "CPU"
    there = int(ray.cluster_resources().get(kind, 0))
    if there < workers:
        raise ResourceError(f"{workers} workers need as many {kind}s, the cluster has {there}")
    queue: Any = Queue()
    with scratch() as folder:
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"work": work, "queue": queue},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus),
            run_config=RunConfig(
                name="facelake", storage_path=folder,
                failure_config=FailureConfig(max_failures=RESTARTS),
            ),
        )  # fmt: skip
        outcome: dict[str, Any] = {}
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
                outcome[kind] = value
        thread.join()
    queue.shutdown()
    if "refused" in outcome:
        raise outcome["refused"]
    if "error" in outcome:
        raise unwrapped(outcome["error"]) from outcome["error"]
    return outcome["result"]


def _fit(trainer: Any, outcome: dict[str, Any]) -> None:
    try:
        with quiet_stderr():
            trainer.fit()
    except Exception as error:
        outcome["error"] = error


def _worker(config: dict[str, Any]) -> None:
    from ray.train import get_context

    context, queue = get_context(), config["queue"]
    leads = context.get_world_rank() == 0

    def tell(*value: Any) -> None:
        if leads:
            queue.put(("told", value))

    try:
        result = config["work"](context.get_world_rank(), context.get_world_size(), tell)
    except FacelakeError as error:
        # beginning again would not help
        queue.put(("refused", error))
        return
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
    actors = max(1, (cores - workers) // workers)
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    dataset = dataset.map_batches(
        _Maker, fn_constructor_args=(make,), batch_size=1, batch_format="numpy",
        compute=pool(actors), num_cpus=1,
    )  # fmt: skip
    for batch in dataset.iter_batches(batch_size=1, prefetch_batches=2, batch_format="numpy"):
        yield {name: np.asarray(value[0]) for name, value in batch.items()}


def spare_cores(workers: int) -> bool:
    """Return whether the cluster has a core for each worker's batches beside its own."""
    return int(ray.cluster_resources().get("CPU", 1)) >= 2 * workers


class _Maker:
    def __init__(self, make: Any) -> None:
        self.make = make

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = self.make.rows(batch)
        return made
