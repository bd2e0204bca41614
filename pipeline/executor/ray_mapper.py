"""Calls a function on many arguments as tasks of a Ray cluster."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray

from pipeline.executor.dataset import unwrapped

# Tasks handed ahead for each core, so that none waits; more would only hold arguments in memory.
AHEAD = 2
LARGE = 1 << 16


class RayMapper:
    """A `checkpoints.Mapper` whose calls are Ray tasks of one core and one thread.

    Args:
        gpus: of each task.
    """

    def __init__(self, gpus: float = 0) -> None:
        self.gpus = gpus

    def __call__(
        self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]
    ) -> Iterator[Any]:
        """Yield `function(*each)` in order; a worker that dies is replaced, and its unit redone.

        Raises:
            FacelakeError: what a unit raised, without Ray's wrapping.
        """
        remote = ray.remote(num_cpus=1, num_gpus=self.gpus, max_retries=3)(in_one_thread)
        cores = int(ray.cluster_resources().get("CPU", 1))
        shared: dict[int, Any] = {}  # large arrays that all units get are stored once
        waiting: deque[Any] = deque()
        try:
            for each in arguments:
                given = [store_once(argument, shared) for argument in each]
                waiting.append(remote.remote(function, *given))
                if len(waiting) >= AHEAD * cores:
                    yield ray.get(waiting.popleft())
            while waiting:
                yield ray.get(waiting.popleft())
        except ray.exceptions.RayError as error:
            raise unwrapped(error) from error
        finally:
            for reference in waiting:
                ray.cancel(reference, force=True)


def store_once(argument: Any, shared: dict[int, Any]) -> Any:
    """Return a reference to a large array, the same one for the same array."""
    if getattr(argument, "nbytes", 0) < LARGE:
        return argument
    if id(argument) not in shared:
        shared[id(argument)] = (ray.put(argument), argument)  # kept: an id may be used again
    return shared[id(argument)][0]


def in_one_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function with one torch thread: a task is given one core."""
    import torch

    torch.set_num_threads(1)
    return function(*arguments)
