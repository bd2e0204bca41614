"""Gives read tasks the ledger: a copy of a small one; of a large one what a unit needs.

The files of a large ledger lie on the machine of the driver. Tasks there open them; tasks elsewhere
ask an actor that runs there, once a unit, and once a table of new images.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.arrays import Bools
from pipeline.lake.ledger import Ledger, Places
from pipeline.sources.plan import KnownShards, places_of
from pipeline.sources.units import Unit


class SharedLedger(Protocol):
    """A ledger that every node can ask."""

    def of(self, unit: Unit) -> Ledger:
        """Return a ledger that knows all that the lake has of a unit."""


def share(ledger: Ledger) -> SharedLedger:
    """Return what read tasks are given; needs a cluster."""
    folder = ledger.shared()
    if folder is None:
        return Whole(ray.put(ledger))
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    keeper = _Keeper.options(scheduling_strategy=here).remote(folder)  # type: ignore[attr-defined]
    return InParts(folder, keeper)


@dataclass(frozen=True)
class Whole:
    """A ledger that each node holds; `reference` is Ray's."""

    reference: Any

    def of(self, unit: Unit) -> Ledger:
        """Return all of it."""
        ledger: Ledger = ray.get(self.reference)
        return ledger


@dataclass(frozen=True)
class InParts:
    """A ledger in files; `keeper` is the actor beside its `folder`."""

    folder: str
    keeper: Any

    def of(self, unit: Unit) -> Ledger:
        """Return the ledger if its files are here, else what it knows of the unit."""
        if os.path.isdir(self.folder):
            return opened(self.folder)
        part: Ledger = ray.get(self.keeper.part.remote(unit))
        return _Part(part, self.keeper)


class _Part(Ledger):
    """Some rows of a ledger whose ids `keeper` knows."""

    def __init__(self, part: Ledger, keeper: Any) -> None:
        self.__dict__.update(part.__dict__)
        self.keeper = keeper

    def has(self, image_ids: Sequence[str]) -> Bools:
        """Return whether the lake has, or had, an image of each id, bool [M]."""
        known: Bools = ray.get(self.keeper.has.remote(list(image_ids)))
        return known


@lru_cache(maxsize=1)
def opened(folder: str) -> Ledger:
    """Return the ledger in a folder, opened once by each process."""
    return Ledger.open(folder)


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, max_concurrency=4)
class _Keeper:
    def __init__(self, folder: str) -> None:
        self.ledger = Ledger.open(folder)
        self.places = Places()
        self.shards = KnownShards(self.ledger, self.places)

    def part(self, unit: Unit) -> Ledger:
        """Return the rows of a unit's images, gone ones as well."""
        if unit.kind == "files":
            rows = self.ledger.at(places_of(unit.base, unit.names, self.places))
            return self._some(rows[rows >= 0])
        return self._some(self.shards.rows(unit, gone=True))

    def _some(self, rows: Any) -> Ledger:
        part = self.ledger.some(np.asarray(rows, np.int64))
        self.ledger.shelf.let_go()
        return part

    def has(self, image_ids: list[str]) -> Bools:
        """Return whether the lake has, or had, an image of each id."""
        return self.ledger.has(image_ids)
