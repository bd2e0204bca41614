"""Who hears how a training goes: the progress of the caller, and TensorBoard."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.errors import ConfigError
from pipeline.lake.checkpoints import Progress
from pipeline.training.extra import extra
from pipeline.training.fit.loop import Tell
from pipeline.training.settings import NetworkConfig


@contextmanager
def told(config: NetworkConfig, progress: Progress) -> Iterator[Tell]:
    """Give what hears of each step and epoch.

    Raises:
        ConfigError: TensorBoard's writer is not installed, or its folder is remote.
    """
    writer = _writer(config.tensorboard)

    def tell(figures: dict[str, float], done: int, total: int) -> None:
        epoch, loss = int(figures["epoch"]), figures["loss"]
        text = f"epoch {epoch} of {config.epochs}, loss {loss:.4f}"
        if "faces_per_second" in figures:
            text += f", {figures['faces_per_second']:.0f} faces/s"
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


def _writer(folder: str | None) -> Any:
    if folder is None:
        return None
    if "://" in folder:
        raise ConfigError(f"--tensorboard {folder} must be a local folder; copy it afterwards")
    return extra("tensorboardX").SummaryWriter(folder)
