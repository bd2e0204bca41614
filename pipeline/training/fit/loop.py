"""The training of a network: epochs of steps, checkpoints, verification, the best network kept."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer

from pipeline.arrays import Floats64, Pixels
from pipeline.errors import TrainingError
from pipeline.storage.folder import Folder
from pipeline.training.data.batches import Batch, Faces, Item, MakeBatch, Order, items
from pipeline.training.data.crops import CropShards
from pipeline.training.fit.checkpoint import (
    Checkpoints,
    Progressed,
    own_state,
    restore_own,
    unpacked,
)
from pipeline.training.fit.objective import Learning
from pipeline.training.fit.optimiser import Mean, optimiser_of, rate_at
from pipeline.training.fit.team import Team
from pipeline.training.fit.verification import (
    HINT,
    Held,
    check_collapse,
    held_pairs,
    measured,
)
from pipeline.training.networks.build import DIMENSION, INPUTS, build, freeze
from pipeline.training.networks.network import Network
from pipeline.training.settings import NetworkConfig

# Makes the batches of items, ahead of their use and in their order.
Stream = Callable[[MakeBatch, Iterator[Item]], Iterator[Batch]]
# Hears of a step: figures by name, steps done, steps in all.
Tell = Callable[[dict[str, float], int, int], None]
HELD_BATCH = 64
DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Task:
    """What is trained on what; it pickles, so that workers anywhere can do it.

    Attributes:
        config: how.
        order: of the faces.
        shards: where the crops lie.
        train: faces to learn from.
        held: faces of people who are kept apart.
        classes: people in `train`.
        taught: numbers of the teacher's vectors; None without.
        init: weights to begin with, a state dict as `checkpoint.packed` makes it.
        checkpoints: folder and digest of them.
    """

    config: NetworkConfig
    order: Order
    shards: CropShards
    train: Faces
    held: Held
    classes: int
    taught: int | None
    init: bytes | None
    folder: Folder
    digest: str

    @property
    def checkpoints(self) -> Checkpoints:
        """Where checkpoints lie."""
        return Checkpoints(self.folder, self.digest)

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return self.order.steps(self.train)


class Fit:
    """One worker's part of a training.

    Args:
        task: what is to be done.
        team: the workers, this one among them.
        stream: makes batches.
        tell: hears of each step, on the leader.
    """

    def __init__(self, task: Task, team: Team, stream: Stream, tell: Tell) -> None:
        self.task, self.team, self.stream, self.tell = task, team, stream, tell
        config = task.config
        assert config.network is not None
        torch.manual_seed(task.order.seed)
        network = build(config.network)
        if task.init is not None:
            network.load_state_dict(unpacked(task.init))
        freeze(network, config.freeze)
        sizes = DIMENSION, task.taught
        learning = Learning(config, task.classes, sizes, team, task.order.seed)
        # NHWC is faster on CPUs, and what tensor cores want; the stubs of torch lack this keyword
        self.network: Network = network.to(team.device).to(  # type: ignore[call-overload]
            memory_format=torch.channels_last
        )
        self.learning = learning.to(team.device)
        self.mean = Mean(self.network, config.ema) if config.ema else None
        self.forward: Callable[[Tensor], Tensor] = (
            torch.compile(self.network) if config.compile else self.network
        )
        own = self.learning.own
        self.shared = [
            p for p in [*self.network.parameters(), *self.learning.parameters()]
            if p.requires_grad and not any(p is one for one in own)
        ]  # fmt: skip
        self.optimiser = optimiser_of(self.shared, config)
        self.own = own[0] if own else None
        self.own_optimiser: Optimizer | None = optimiser_of(own, config) if own else None
        self.scaler = torch.amp.GradScaler(
            team.device.type, enabled=config.train_precision == "float16"
        )
        self.made = MakeBatch(task.shards, task.train, config.augment, task.order.seed)
        self.pairs = held_pairs(task.held.person, task.order.seed) if len(task.held) else None
        self.at = Progressed()

    def run(self) -> Progressed:
        """Train to the end, or to where it stops early, and return what became of it.

        Raises:
            TrainingError: the loss is not finite, or the network takes all people for one.
            StorageError: a checkpoint cannot be written; the one before is kept.
        """
        self._resume()
        config, steps = self.task.config, self.task.steps
        while self.at.epoch < config.epochs and not self.at.stopped:
            self._epoch(steps)
            self._end_epoch(steps)
            self._save()
        return self.at

    def _epoch(self, steps: int) -> None:
        team, config = self.team, self.task.config
        self.network.train()
        mine = self.task.order.batch // self.task.order.chunk // team.size
        begun, seen = time.monotonic(), 0
        todo = items(self.task.train, self.task.order, self.at.epoch, team.rank, team.size)
        ahead = (item for item in todo if item.step >= self.at.step)
        batches = self.stream(self.made, ahead)
        while self.at.step < steps:
            number = self.at.epoch * steps + self.at.step
            loss = self._step(number, [next(batches) for _ in range(mine)])
            self.at.losses.append(loss)
            self.at.step += 1
            seen += self.task.order.batch
            if team.leads:
                rate = seen / (time.monotonic() - begun)
                figures = {"epoch": self.at.epoch + 1, "loss": loss, "faces_per_second": rate,
                           "learning_rate": rate_at(config, number, steps)}  # fmt: skip
                self.tell(figures, number + 1, steps * config.epochs)
            if self.at.step % config.checkpoint_steps == 0 and self.at.step < steps:
                self._save()

    def _step(self, number: int, batches: list[Batch]) -> float:
        """Learn from the chunks of a step, and return its loss over all workers."""
        config = self.task.config
        self._set_rate(rate_at(config, number, self.task.steps))
        self.learning.begin(number)
        self._zero()
        total = torch.zeros((), device=self.team.device)
        for k, batch in enumerate(batches):
            # dropout draws the same after a restart
            chunk = self.team.rank + k * self.team.size
            torch.manual_seed(hash((self.task.order.seed, number, chunk)) % 2**31)
            loss = self._loss(batch) / len(batches)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        self.team.average([total])
        value = float(total)
        if not np.isfinite(value):
            raise TrainingError(
                f"The loss of step {number + 1} is {value}; the training is stopped, and the last "
                f"checkpoint is kept: {HINT}"
            )
        self._move(number)
        return value

    def _loss(self, batch: Batch) -> Tensor:
        device, dtype = self.team.device, DTYPES[self.task.config.train_precision]
        x = self._input(batch.crops)
        target = torch.from_numpy(batch.target).to(device)
        teacher = None if batch.teacher is None else torch.from_numpy(batch.teacher).to(device)
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            features = self.forward(x)
        loss: Tensor = self.learning(features.float(), target, teacher)
        return loss

    def _move(self, number: int) -> None:
        """Bring the gradients of all workers together, and move the weights."""
        config, optimisers = self.task.config, self._optimisers()
        self.team.average(p.grad for p in self.shared if p.grad is not None)
        for one in optimisers:
            self.scaler.unscale_(one)
        if config.clip:
            squares = [p.grad.square().sum() for p in self.shared if p.grad is not None]
            total = torch.stack(squares).sum()
            if self.own is not None and self.own.grad is not None:
                total = total + self.team.sum(self.own.grad.square().sum())
            factor = (config.clip / (total.sqrt() + 1e-6)).clamp(max=1.0)
            for p in (*self.shared, *([] if self.own is None else [self.own])):
                if p.grad is not None:
                    p.grad.mul_(factor)
        for one in optimisers:
            self.scaler.step(one)
        self.scaler.update()
        self.learning.end()
        if self.mean is not None:
            self.mean.update(self.network, number)

    def _optimisers(self) -> list[Optimizer]:
        return [one for one in (self.optimiser, self.own_optimiser) if one is not None]

    def _set_rate(self, rate: float) -> None:
        for one in self._optimisers():
            for group in one.param_groups:
                group["lr"] = rate

    def _zero(self) -> None:
        for one in self._optimisers():
            one.zero_grad()

    def _input(self, crops: Pixels) -> Tensor:
        assert self.task.config.network is not None
        made = INPUTS[self.task.config.network]
        x = torch.from_numpy(crops).to(self.team.device).float()
        mean, std = (x.new_tensor(one) for one in (made.mean, made.std))
        # NHWC in memory, seen as NCHW
        return ((x - mean) / std).permute(0, 3, 1, 2)

    def _end_epoch(self, steps: int) -> None:
        """Verify, keep the network if it is the best one, and decide whether to go on."""
        self.team.average_statistics(self.network)
        network: Network = self.network if self.mean is None else self.mean.network
        figures: dict[str, float] = {"score": 0.0}
        if self.team.leads:
            figures = measured(self._embed(network), self.task.held, self.pairs)
        at, config = self.at, self.task.config
        score = self.team.from_leader(figures["score"])
        if at.epoch + 1 > config.warmup + 1:
            check_collapse(figures)
        better = score > at.best[1] or not len(self.task.held)
        at.best = (at.epoch, score) if better else at.best
        at.worse = 0 if better else at.worse + 1
        if better and self.team.leads:
            state = network.state_dict()
            self.task.checkpoints.save_best({name: one.cpu() for name, one in state.items()})
        figures |= {"epoch": at.epoch + 1, "loss": float(np.mean(at.losses[-steps:]))}
        at.history.append(figures)
        if self.team.leads:
            self.tell(figures, (at.epoch + 1) * steps, steps * config.epochs)
        at.stopped = config.patience is not None and at.worse >= config.patience
        at.epoch, at.step = at.epoch + 1, 0

    @torch.inference_mode()
    def _embed(self, network: Network) -> Floats64:
        """Return unit vectors of the held faces, float64 [N, D]."""
        network.eval()
        held, vectors = self.task.held, [np.zeros((0, DIMENSION))]
        places = np.stack([held.shard, held.row], axis=1)
        for crops in self.task.shards.batches(places, HELD_BATCH):
            features = network(self._input(crops))
            vectors.append(functional.normalize(features.double()).cpu().numpy())
        return np.concatenate(vectors)

    def _save(self) -> None:
        self.team.average_statistics(self.network)
        state: dict[str, Any] = {
            "network": self.network.state_dict(),
            "learning": {name: one for name, one in self.learning.state_dict().items()
                         if name != "head.centres"},
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
        }  # fmt: skip
        if self.mean is not None:
            state["mean"] = self.mean.network.state_dict()
        own = own_state(self.own_optimiser, self.own)
        self.task.checkpoints.save(self.team, state, own, self.at)

    def _resume(self) -> None:
        found = self.task.checkpoints.load()
        if found is None:
            return
        self.at, state, own = found
        self.network.load_state_dict(state["network"])
        self.learning.load_state_dict(state["learning"], strict=False)
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        if self.mean is not None:
            self.mean.network.load_state_dict(state["mean"])
        if self.own is not None and self.own_optimiser is not None and own[0]:
            head: Any = self.learning.head
            restore_own(self.own_optimiser, self.own, head.rows, own)
