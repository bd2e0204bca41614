"""A training by workers on Ray, each with a GPU or a core."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import distributed as dist

from pipeline.executor.workers import spare_cores, stream, together
from pipeline.training.data.batches import Batch, Item, MakeBatch
from pipeline.training.fit.alone import ahead, device_of
from pipeline.training.fit.checkpoint import Progressed
from pipeline.training.fit.loop import Fit, Task, Tell
from pipeline.training.fit.team import Team


def fit_on_ray(task: Task, tell: Tell) -> Progressed:
    """Train on the Ray cluster that is joined.

    Raises:
        ResourceError: it has too few cores or GPUs.
    """
    gpus = {"auto": None, "cpu": False, "cuda": True}[task.config.train_device]
    result: Progressed = together(_Part(task), task.config.workers, gpus, tell)
    return result


@dataclass(frozen=True)
class _Part:
    """What each worker does."""

    task: Task

    def __call__(self, rank: int, workers: int, gpu: bool, tell: Callable[..., None]) -> Progressed:
        task = self.task
        if not gpu:
            torch.set_num_threads(1)
            task = replace(task, config=replace(task.config, train_device="cpu"))
        group = dist.group.WORLD if workers > 1 else None
        team = Team(rank, workers, group, device_of(task.config))
        batches = _Streamed(workers) if spare_cores(workers) else ahead
        return Fit(task, team, batches, tell).run()


@dataclass(frozen=True)
class _Streamed:
    """A `Stream` whose batches Ray Data makes."""

    workers: int

    def __call__(self, make: MakeBatch, todo: Iterator[Item]) -> Iterator[Batch]:
        for made in stream(make, todo, self.workers):
            yield Batch(made["crops"], made["target"], made.get("teacher"))
