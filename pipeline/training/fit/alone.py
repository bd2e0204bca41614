"""A training by one worker, in this process."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from pipeline.errors import ConfigError, ResourceError
from pipeline.models.device import usable
from pipeline.training.data.batches import Batch, Item, MakeBatch
from pipeline.training.fit.checkpoint import Progressed
from pipeline.training.fit.loop import Fit, Task, Tell
from pipeline.training.fit.team import Team
from pipeline.training.settings import NetworkConfig

THREADS, AHEAD = 2, 4


def ahead(make: MakeBatch, todo: Iterator[Item]) -> Iterator[Batch]:
    """Make batches in threads, some ahead of their use; a `Stream`."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[Batch]] = deque()
        for item in todo:
            waiting.append(pool.submit(make, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def device_of(config: NetworkConfig) -> torch.device:
    """Return where to train.

    Raises:
        ResourceError: there is no such device.
        ConfigError: it cannot do float16.
    """
    wanted = config.train_device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cpu" and config.train_precision == "float16":
        raise ConfigError("--train-precision float16 needs a GPU; give bfloat16 or float32")
    return usable(wanted)


def fit_alone(task: Task, tell: Tell) -> Progressed:
    """Train in this process, on its GPU or all its cores.

    Raises:
        ResourceError: the device is not there, or its memory is too small.
    """
    try:
        return Fit(task, Team(device=device_of(task.config)), ahead, tell).run()
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"The GPU has too little memory for chunks of {task.order.chunk} faces; lower --chunk"
        ) from error
