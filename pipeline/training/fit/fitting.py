"""Chooses who trains: this process alone, or workers on Ray."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.errors import ConfigError
from pipeline.lake.checkpoints import Progress
from pipeline.training.fit.alone import device_of, fit_alone
from pipeline.training.fit.checkpoint import Progressed
from pipeline.training.fit.loop import Task
from pipeline.training.fit.told import told
from pipeline.training.settings import NetworkConfig


@contextmanager
def fitting(
    config: NetworkConfig, on_ray: bool, progress: Progress
) -> Iterator[Callable[[Task], Progressed]]:
    """Give what does the task of a training.

    Args:
        config: of the training.
        on_ray: whether a Ray cluster is joined, on which it runs.
        progress: hears of it.

    Raises:
        ConfigError: several workers without Ray.
        ResourceError: the device is not there.
    """
    if config.workers > 1 and not on_ray:
        raise ConfigError("Several --workers need Ray; leave out --ray never")
    with told(config, progress) as tell:
        if not on_ray:
            device_of(config)
            yield lambda task: fit_alone(task, tell)
            return
        from pipeline.training.fit.several import fit_on_ray

        yield lambda task: fit_on_ray(task, tell)
