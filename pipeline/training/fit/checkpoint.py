"""Checkpoints of a training: whole or not at all, on any storage, for any number of workers.

`checkpoint.json` names the files of a step and is replaced last. Tensors are read without running
what a pickle may hold.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from pipeline.errors import ConfigError, StorageError
from pipeline.storage.folder import Folder
from pipeline.training.fit.team import Team

CARD, BEST = "checkpoint.json", "best.pt"


@dataclass
class Progressed:
    """How far a training has come.

    Attributes:
        epoch: the one that is under way, from 0.
        step: the next one in it.
        losses: of each step so far.
        history: figures of each epoch that is done.
        best: epoch of the best network, and its score; -1 before the first.
        worse: epochs since.
        stopped: whether nothing is left to do.
    """

    epoch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)
    best: tuple[int, float] = (-1, float("-inf"))
    worse: int = 0
    stopped: bool = False


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training; pickles as its folder.

    Attributes:
        folder: which holds nothing else.
        digest: of settings and data, which must not change on the way.
    """

    folder: Folder
    digest: str

    def check(self) -> None:
        """Refuse to go on with the checkpoint of another training.

        Raises:
            ConfigError: it has other settings, another network or other faces.
        """
        card = self._card()
        if card is not None and card["digest"] != self.digest:
            raise ConfigError(
                f"{self.folder.url} holds a training that is not finished, with other settings, "
                "another network or other faces; finish it with those, choose another --output, or "
                "remove that folder"
            )

    def save(self, team: Team, state: dict[str, Any], own: dict[str, Any], to: Progressed) -> None:
        """Write a checkpoint; all workers call it together.

        Args:
            team: the workers; the leader writes `state`.
            state: tensors that are the same on all workers.
            own: tensors of this worker alone.
            to: how far it has come.
        """
        name = f"{to.epoch:05}-{to.step:07}"
        mine = f"own-{name}-{team.rank:04}.pt"
        self.folder.publish(mine, packed(own))
        if team.leads:
            self.folder.publish(f"state-{name}.pt", packed(state))
        team.wait()
        if team.leads:
            files = [f"state-{name}.pt", *(f"own-{name}-{k:04}.pt" for k in range(team.size))]
            card = {"digest": self.digest, "files": files, "progress": vars(to)}
            self.folder.publish(CARD, json.dumps(card).encode())
            for other in [*self.folder.files(), *self.folder.temporary_files()]:
                if other not in (*files, CARD, BEST):
                    self.folder.remove(other)
        team.wait()

    def load(self) -> tuple[Progressed, dict[str, Any], list[dict[str, Any]]] | None:
        """Return progress, state, and what each worker had of its own; None at the beginning.

        Raises:
            ConfigError: see `check`.
            StorageError: it is damaged.
        """
        self.check()
        card = self._card()
        if card is None:
            return None
        state, *own = (_tensors(self.folder, name) for name in card["files"])
        progress = Progressed(**card["progress"])
        progress.best = (progress.best[0], progress.best[1])
        return progress, state, own

    def save_best(self, network: dict[str, Tensor]) -> None:
        """Write the weights of the best network so far."""
        self.folder.publish(BEST, packed(network))

    def best(self) -> dict[str, Tensor]:
        """Return the weights of the best network."""
        return _tensors(self.folder, BEST)

    def _card(self) -> dict[str, Any] | None:
        if not self.folder.exists(CARD):
            return None
        try:
            card: dict[str, Any] = json.loads(self.folder.read(CARD))
            return {name: card[name] for name in ("digest", "files", "progress")}
        except (ValueError, KeyError) as error:
            raise _damaged(self.folder, CARD) from error


def own_state(optimiser: Optimizer | None, parameter: Tensor | None) -> dict[str, Any]:
    """Return a worker's own rows, and what its optimiser knows of them."""
    if optimiser is None or parameter is None:
        return {}
    known = optimiser.state.get(parameter, {})
    return {"rows": parameter.detach().cpu()} | {
        name: value.cpu() for name, value in known.items() if isinstance(value, Tensor)
    }


def restore_own(
    optimiser: Optimizer, parameter: Tensor, rows: range, parts: list[dict[str, Any]]
) -> None:
    """Give a worker its rows of those that several had, be they as many workers or not."""
    for name in parts[0]:
        values = [part[name] for part in parts]
        whole = values[0] if values[0].dim() == 0 else torch.cat(values)[rows.start : rows.stop]
        if name == "rows":
            with torch.no_grad():
                parameter.copy_(whole)
        else:
            optimiser.state[parameter][name] = whole.to(parameter.device) if whole.dim() else whole


def packed(tensors: Mapping[str, Any]) -> bytes:
    """Return tensors as torch saves them."""
    buffer = io.BytesIO()
    torch.save(dict(tensors), buffer)
    return buffer.getvalue()


def unpacked(data: bytes) -> dict[str, Any]:
    """Return what `packed` made bytes of; nothing that they hold is run."""
    tensors: dict[str, Any] = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    return tensors


def _tensors(folder: Folder, name: str) -> dict[str, Any]:
    data = folder.read(name)
    try:
        return unpacked(data)
    # torch raises what its unpickler and its zip reader raise
    except Exception as error:
        raise _damaged(folder, name) from error


def _damaged(folder: Folder, name: str) -> StorageError:
    return StorageError(
        f"{folder.url}/{name} is damaged; remove that folder, and the training begins anew"
    )
