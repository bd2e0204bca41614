"""The workers that train one network together; one alone needs no torch.distributed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch import distributed as dist

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Team:
    """One worker among several.

    Attributes:
        rank: of this worker, from 0.
        size: how many there are.
        group: of torch.distributed; None for one alone.
        device: where this worker computes.
    """

    rank: int = 0
    size: int = 1
    group: "ProcessGroup | None" = None
    device: torch.device = CPU

    @property
    def leads(self) -> bool:
        """Whether this worker writes and tells."""
        return self.rank == 0

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by their means over the workers, in one exchange."""
        several = list(tensors)
        if self.group is None or not several:
            return
        flat = torch.cat([one.detach().reshape(-1).float() for one in several])
        dist.all_reduce(flat, group=self.group)
        flat /= self.size
        start = 0
        with torch.no_grad():
            for one in several:
                one.copy_(flat[start : start + one.numel()].view_as(one))
                start += one.numel()

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over the workers."""
        if self.group is None:
            return value
        total = value.clone()
        dist.all_reduce(total, group=self.group)
        return total

    def from_leader(self, value: float) -> float:
        """Return the number that the leader has."""
        if self.group is None:
            return value
        tensor = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(tensor, 0, group=self.group)
        return float(tensor)

    def wait(self) -> None:
        """Wait until all workers are here."""
        if self.group is not None:
            dist.barrier(group=self.group)

    def average_statistics(self, network: nn.Module) -> None:
        """Make the running statistics of batch norms the same on all workers."""
        self.average(one for one in network.buffers() if one.is_floating_point())
