"""Heads that tell classes apart, in training only; the network is kept, the head is thrown away."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional

from pipeline.errors import ConfigError
from pipeline.training.objectives.margins import Margin

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

DEVIATION = 0.01  # of fresh centres, as in Partial FC
BLOCK = 1024  # fresh centres drawn at once


@dataclass(frozen=True)
class Options:
    """How a head learns.

    Attributes:
        rate: share of the classes that a step compares with, above 0, to 1.
        smoothing: share of the target that is spread evenly over those classes, from 0, below 1.
        seed: of fresh centres and of the classes that are drawn.
    """

    rate: float = 1.0
    smoothing: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise ConfigError(f"rate is {self.rate}; it must be above 0, and 1 at most")
        if not 0 <= self.smoothing < 1:
            raise ConfigError(f"smoothing is {self.smoothing}; it must be from 0, below 1")


class ClassHead(nn.Module):
    """Cross entropy of cosines to class centres with a margin, shared by the workers of a group.

    Worker r of W holds the centres of the classes r * ceil(C / W) and following. Features and
    targets of all workers are gathered, each compares them to its centres, and the softmax is
    joined by a maximum and by sums over the workers. All workers must call it together, with as
    many rows each. A wrapper that averages gradients over the workers must not hold it: each
    worker's centres are its own.

    Gradients, L being the mean loss of the global batch, which every worker returns:
    (a) features of a worker get W times the gradient of L with respect to them. The network's
    gradients, averaged over workers as DistributedDataParallel does, are then those of L.
    (b) centres of a worker get the gradient of L.

    With a rate below 1, in training mode, a step compares with rate * C classes only: all those of
    the global batch, and others drawn at random (An et al., "Partial FC", ICCVW 2021, and "Killing
    Two Birds with One Stone", CVPR 2022). `sample` names the step. The drawing depends on seed,
    step and global batch, not on the number of workers. Centres that are not drawn get a gradient
    of 0.

    Args:
        classes: how many, C.
        dimension: of the features, D.
        margin: cosines to logits.
        options: see there.
        group: the workers; None: one alone, without torch.distributed.

    Attributes:
        classes: how many, of all workers.
        rows: the classes whose centres this worker holds.
        centres: parameter [len(rows), D].
    """

    def __init__(
        self,
        classes: int,
        dimension: int,
        margin: Margin,
        options: Options | None = None,
        group: "ProcessGroup | None" = None,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.margin = margin
        self.options = options or Options()
        self.group = group
        self.step = 0
        rank, workers = 0, 1
        if group is not None:
            rank, workers = dist.get_rank(group), dist.get_world_size(group)
        share = -(-classes // workers)
        self.rows = range(min(rank * share, classes), min((rank + 1) * share, classes))
        self.centres = nn.Parameter(_fresh(self.rows, dimension, self.options.seed))

    def sample(self, step: int) -> None:
        """Set the step whose classes `forward` compares with."""
        self.step = step

    def forward(self, features: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss of the global batch, a scalar, equal on all workers.

        Args:
            features: of this worker, before normalisation, float [N, D].
            target: their classes, int64 [N]; one that is no class makes the loss NaN.
        """
        # half precision would round a logit of 64 to 0.25
        with torch.autocast(features.device.type, enabled=False):
            features = gather(features.to(self.centres.dtype), self.group)
            target = gather(target, self.group)
            chosen = self.chosen(target)
            held = chosen[(chosen >= self.rows.start) & (chosen < self.rows.stop)]
            centres: Tensor = self.centres
            if len(held) < len(self.rows):
                centres = centres.index_select(0, held - self.rows.start)
            cosine = functional.normalize(features) @ functional.normalize(centres).T
            column = _find(held, target)
            logits = self.margin(cosine, column, features.norm(dim=1))
            losses = self._losses(logits, column, len(chosen))
            known = (target >= 0) & (target < self.classes)
            loss: Tensor = torch.where(known, losses, torch.nan).mean()
            return loss

    @torch.no_grad()
    def chosen(self, target: Tensor) -> Tensor:
        """Return the classes to compare with, of all workers, int64 [K], rising.

        Args:
            target: classes of the global batch, int64 [N].
        """
        if self.options.rate == 1 or not self.training:
            return torch.arange(self.classes, device=target.device)
        # drawn on the CPU: the same on every device
        draw = torch.rand(self.classes, generator=_generator(self.options.seed, 1, self.step))
        draw = draw.to(target.device)
        draw[target.clamp(0, self.classes - 1)] = 2.0  # above every number that is drawn
        count = max(int((draw == 2).sum()), round(self.options.rate * self.classes))
        return draw.topk(count).indices.sort().values

    def _losses(self, logits: Tensor, column: Tensor, count: int) -> Tensor:
        """Return the cross entropy of each row [N] over `count` columns of all workers."""
        top = logits.new_full((len(logits),), -torch.inf)  # a worker may have no column
        if logits.shape[1]:
            top = logits.detach().amax(1)
        if self.group is not None:
            dist.all_reduce(top, dist.ReduceOp.MAX, self.group)
        logits = logits - top[:, None]
        own = logits.new_zeros(len(logits))
        if logits.shape[1]:
            own = logits.gather(1, column.clamp(min=0)[:, None])[:, 0] * (column >= 0)
        smoothing = self.options.smoothing
        every = logits.sum(1) if smoothing else torch.zeros_like(own)
        parts = torch.stack([logits.exp().sum(1), own, every])
        if self.group is not None:
            parts = _Sum.apply(parts, self.group)  # type: ignore[no-untyped-call]  # torch's
        total, own, every = parts
        losses: Tensor = total.log() - (1 - smoothing) * own - smoothing / count * every
        return losses


class SoftmaxHead(nn.Module):
    """A linear layer with bias and cross entropy; not shared, for some thousands of classes.

    Args:
        classes: how many.
        dimension: of the features, D.
        smoothing: share of the target that is spread evenly over all classes.
    """

    def __init__(self, classes: int, dimension: int, smoothing: float = 0.0) -> None:
        super().__init__()
        self.linear = nn.Linear(dimension, classes)
        self.smoothing = smoothing

    def forward(self, features: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss, a scalar, of features [N, D] and their classes, int64 [N]."""
        return functional.cross_entropy(
            self.linear(features), target, label_smoothing=self.smoothing
        )


def gather(rows: Tensor, group: "ProcessGroup | None") -> Tensor:
    """Return the rows [N, ...] of all W workers, [W * N, ...], in their order.

    Every worker must give as many rows. The gradient of a worker's rows is the sum of what all
    workers' results get, times W: where each computes one part of a loss, it is what
    DistributedDataParallel averages into the gradient of the whole. A loss that every worker
    computes whole must be divided by W first.
    """
    if group is None:
        return rows
    gathered: Tensor = _Gather.apply(rows, group)  # type: ignore[no-untyped-call]  # torch's
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, group: "ProcessGroup") -> Tensor:
        ctx.group = group
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size(group))]
        dist.all_gather(parts, rows.contiguous(), group)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        workers, rank = dist.get_world_size(ctx.group), dist.get_rank(ctx.group)
        total = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ctx.group)
        return total.chunk(workers)[rank] * workers, None


class _Sum(torch.autograd.Function):
    """The sum over workers; each worker's part gets the gradient of the sum."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: "ProcessGroup") -> Tensor:
        total = part.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def _find(held: Tensor, target: Tensor) -> Tensor:
    """Return where each target lies in rising numbers [K], or -1."""
    if not len(held):
        return torch.full_like(target, -1)
    at = torch.searchsorted(held, target).clamp(max=len(held) - 1)
    return torch.where(held[at] == target, at, -1)


def _generator(*seeds: int) -> torch.Generator:
    # PyTorch's generator heeds 32 bits of its seed: sums and shifts would clash
    (state,) = np.random.SeedSequence(seeds).generate_state(1)
    return torch.Generator().manual_seed(int(state))


def _fresh(rows: range, dimension: int, seed: int) -> Tensor:
    """Return these rows of the fresh centres of all classes, whoever holds the others."""
    parts = [torch.empty(0, dimension)]
    for block in range(rows.start // BLOCK, -(-rows.stop // BLOCK)):
        drawn = torch.randn(BLOCK, dimension, generator=_generator(seed, 0, block)) * DEVIATION
        first = block * BLOCK
        parts.append(drawn[max(rows.start - first, 0) : rows.stop - first])
    return torch.cat(parts)
