"""Who hears how a training goes: the progress of the caller, and TensorBoard."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.errors import ConfigError
from pipeline.lake.checkpoints import Progress
from pipeline.training.fit.loop import Tell
from pipeline.training.settings import NetworkConfig


@contextmanager
def told(config: NetworkConfig, progress: Progress) -> Iterator[Tell]:
    """Give what hears of each step and epoch.

    Raises:
        ConfigError: TensorBoard's writer is not installed, or its folder is remote.
    """
    writer = _writer(config.tensorboard)
    begun, first = time.monotonic(), [-1]

    def tell(figures: dict[str, float], done: int, total: int) -> None:
        first[0] = done - 1 if first[0] < 0 else first[0]
        epoch, loss = int(figures["epoch"]), figures["loss"]
        text = f"epoch {epoch} of {config.epochs}, loss {loss:.4f}"
        if "faces_per_second" in figures:
            left = (time.monotonic() - begun) / (done - first[0]) * (total - done)
            text += f", {figures['faces_per_second']:.0f} faces/s, {_duration(left)} left"
        progress(text, done, total)
        if writer is not None:
            kind = "step" if "faces_per_second" in figures else "epoch"
            for name, value in figures.items():
                writer.add_scalar(f"{kind}/{name}", value, done)

    try:
        yield tell
    finally:
        if writer is not None:
            writer.close()


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def _writer(folder: str | None) -> Any:
    if folder is None:
        return None
    if "://" in folder:
        raise ConfigError(f"--tensorboard {folder} must be a local folder; copy it afterwards")
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise ConfigError("--tensorboard needs tensorboardX: pip install 'facelake[train]'") from (
            error
        )
    return SummaryWriter(folder)
