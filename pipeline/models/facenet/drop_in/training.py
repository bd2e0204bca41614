"""The training helpers of facenet-pytorch: an epoch, its metrics and its line of progress."""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sized
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError

Metrics = Mapping[str, Callable[[Tensor, Tensor], Tensor]]
One = TypeVar("One")
Other = TypeVar("Other")


class Logger:
    """Keeps one line of progress on the terminal: the loss and the metrics.

    Args:
        mode: first word of the line.
        length: batches of the epoch; after the last one the line ends.
        calculate_mean: sums are given; shows them divided by the number of batches so far.
    """

    def __init__(self, mode: str, length: int, calculate_mean: bool = False) -> None:
        self.mode = mode
        self.length = length
        self.calculate_mean = calculate_mean

    def __call__(self, loss: Tensor, metrics: Mapping[str, Tensor], i: int) -> None:
        """Show loss and metrics after batch `i`, which counts from 0."""
        batches = i + 1 if self.calculate_mean else 1
        values = [("loss", loss), *metrics.items()]
        shown = " | ".join(f"{name}: {value / batches:9.4f}" for name, value in values)
        end = "\n" if i + 1 == self.length else ""
        sys.stdout.write(f"\r{self.mode} | {i + 1:5d}/{self.length:<5d}| {shown}{end}")
        sys.stdout.flush()


class BatchTimer:
    """A metric: the time since the last batch, or since it was made.

    Args:
        rate: batches, or samples, a second; otherwise seconds.
        per_sample: of a sample, not of a batch.
    """

    def __init__(self, rate: bool = True, per_sample: bool = True) -> None:
        self.start = time.perf_counter()
        self.rate = rate
        self.per_sample = per_sample

    def __call__(self, y_pred: Tensor, y: Tensor) -> Tensor:
        """Return the time, a scalar; of the arguments only the number of rows counts."""
        now = time.perf_counter()
        elapsed, self.start = max(now - self.start, 1e-9), now
        if self.per_sample:
            elapsed /= len(y_pred)
        return torch.tensor(1 / elapsed if self.rate else elapsed)


def accuracy(logits: Tensor, y: Tensor) -> Tensor:
    """Return the share of rows whose highest logit [N, C] is that of their class [N], a scalar."""
    return (logits.argmax(dim=1) == y).float().mean()


def pass_epoch(  # noqa: PLR0913  # the published signature
    model: nn.Module,
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    loader: Iterable[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: Any = None,
    batch_metrics: Metrics | None = None,
    show_running: bool = True,
    device: str | torch.device = "cpu",
    writer: Any = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Train for an epoch if the model is in training mode, otherwise evaluate; show the progress.

    Args:
        model: on `device` already.
        loss_fn: of predictions and targets.
        loader: batches of inputs and targets, with a length.
        optimizer: needed for training.
        scheduler: its step follows an epoch of training.
        batch_metrics: functions of predictions and targets by name; by default the samples a
            second, "time".
        show_running: show means so far, otherwise the values of each batch.
        device: where batches go.
        writer: a `SummaryWriter` of TensorBoard with the attributes `iteration`, which training
            counts up, and `interval`: it gets every `interval`-th batch of training, and the means
            of an evaluation.

    Returns:
        The loss and the metrics, means over the batches, scalars on the CPU.

    Raises:
        ConfigError: no batches, or training without an optimizer.
    """
    if not isinstance(loader, Sized) or not len(loader):
        raise ConfigError("the loader gives no batches, or does not tell how many; give it data")
    if model.training and optimizer is None:
        raise ConfigError("the model is in training mode: give an optimizer, or call model.eval()")
    metrics = {"time": BatchTimer()} if batch_metrics is None else batch_metrics
    mode = "Train" if model.training else "Valid"
    show = Logger(mode, len(loader), calculate_mean=show_running)
    total, sums = torch.zeros(()), dict.fromkeys(metrics, torch.zeros(()))
    for i, (x, y) in enumerate(loader):
        loss, values = _pass_batch(model, loss_fn, (x.to(device), y.to(device)), optimizer, metrics)
        if writer is not None and model.training:
            if writer.iteration % writer.interval == 0:
                _write(writer, mode, loss, values)
            writer.iteration += 1
        total = total + loss
        sums = {name: sums[name] + value for name, value in values.items()}
        show(*((total, sums) if show_running else (loss, values)), i)
    if model.training and scheduler is not None:
        scheduler.step()
    mean, means = total / (i + 1), {name: value / (i + 1) for name, value in sums.items()}
    if writer is not None and not model.training:
        _write(writer, mode, mean, means)
    return mean, means


def _pass_batch(
    model: nn.Module,
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    batch: tuple[Tensor, Tensor],
    optimizer: torch.optim.Optimizer | None,
    metrics: Metrics,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss and the metrics of a batch, on the CPU."""
    x, y = batch
    with torch.set_grad_enabled(model.training):
        predicted = model(x)
        loss = loss_fn(predicted, y)
    if model.training and optimizer is not None:
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
        optimizer.zero_grad()
    values = {name: metric(predicted, y).detach().cpu() for name, metric in metrics.items()}
    return loss.detach().cpu(), values


def _write(writer: Any, mode: str, loss: Tensor, values: Mapping[str, Tensor]) -> None:
    for name, value in (("loss", loss), *values.items()):
        writer.add_scalars(name, {mode: value}, writer.iteration)


def collate_pil(x: Iterable[tuple[One, Other]]) -> tuple[list[One], list[Other]]:
    """Return pairs as two lists: for loaders of PIL images, which do not stack."""
    pairs = list(x)
    return [one for one, _ in pairs], [other for _, other in pairs]
