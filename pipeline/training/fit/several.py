"""A training by workers on Ray, each with a GPU or a core."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

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
    gpus = task.config.train_device == "cuda" or (
        task.config.train_device == "auto" and torch.cuda.is_available()
    )
    result: Progressed = together(_Part(task, gpus), task.config.workers, gpus, tell)
    return result


@dataclass(frozen=True)
class _Part:
    """What each worker does."""

    task: Task
    gpus: bool

    def __call__(self, rank: int, workers: int, tell: Callable[..., None]) -> Progressed:
        if not self.gpus:
            torch.set_num_threads(1)
        device = torch.device("cuda", torch.cuda.current_device()) if self.gpus else device_of(
            self.task.config
        )  # fmt: skip
        group = dist.group.WORLD if workers > 1 else None
        team = Team(rank, workers, group, device)
        return Fit(
            self.task, team, _Streamed(workers) if spare_cores(workers) else ahead, tell
        ).run()


@dataclass(frozen=True)
class _Streamed:
    """A `Stream` whose batches Ray Data makes."""

    workers: int

    def __call__(self, make: MakeBatch, todo: Iterator[Item]) -> Iterator[Batch]:
        for made in stream(make, todo, self.workers):
            yield _batch(made)


def _batch(made: dict[str, Any]) -> Batch:
    return Batch(made["crops"].copy(), made["target"].copy(), made.get("teacher"))
