"""Chooses a sample of photos spread over all inputs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from pipeline.sources.units import Plan, Unit

# Shards that are opened at most: a tar is read from its start to reach the photos inside.
MAX_SHARDS = 16


@dataclass(frozen=True, slots=True)
class Portion:
    """Photos that belong to the sample.

    Attributes:
        unit: loose files: those of the sample alone; or a shard, whose photos are drawn when it
            is read.
        wanted: how many photos.
        holds: photos that they are chosen from; of a shard estimated.
        stands_for: as how many shards a shard counts, by bytes, where not all are opened.
    """

    unit: Unit
    wanted: int
    holds: int
    stands_for: float = 1.0


def spread(count: int, wanted: int, rng: np.random.Generator) -> list[int]:
    """Return numbers below `count`: all, or one from each of `wanted` equal parts."""
    if wanted >= count:
        return list(range(count))
    edges = [i * count // wanted for i in range(wanted + 1)]
    return [int(rng.integers(low, high)) for low, high in pairwise(edges)]


def choose(plan: Plan, wanted: int, rng: np.random.Generator) -> list[Portion]:
    """Return where about `wanted` photos of a plan come from.

    Where more than `MAX_SHARDS` would be opened, that many are, spread as well.
    """
    holds = [estimated(unit, plan.image_bytes) for unit in plan.units]
    ends = np.cumsum(holds)
    picked: dict[int, list[int]] = {}
    for position in spread(sum(holds), wanted, rng):
        index = int(np.searchsorted(ends, position, side="right"))
        picked.setdefault(index, []).append(position - (int(ends[index]) - holds[index]))
    files = [i for i in picked if plan.units[i].kind == "files"]
    portions = _of_files(plan, [(plan.units[i], picked[i]) for i in files])
    shards = [i for i in picked if plan.units[i].kind != "files"]
    number = sum(len(picked[i]) for i in shards)
    opened = [shards[k] for k in spread(len(shards), MAX_SHARDS, rng)]
    every = sum(_bytes(unit) for unit in plan.units if unit.kind != "files")
    stands_for = every / max(1, sum(_bytes(plan.units[i]) for i in opened))
    ends_opened = np.cumsum([0, *(len(picked[i]) for i in opened)])
    shares = np.diff(ends_opened * number // max(1, int(ends_opened[-1]))).tolist()
    for index, share in zip(opened, shares, strict=True):
        # A sample of the whole input takes a shard whole, however wrong the estimate is.
        share = max(share, wanted) if wanted >= sum(holds) else share
        portions.append(Portion(plan.units[index], share, holds[index], stands_for))
    return portions


def estimated(unit: Unit, image_bytes: int) -> int:
    """Return about how many photos a unit holds: at least one."""
    if unit.kind == "files":
        return len(unit.names)
    return max(1, _bytes(unit) // max(1, image_bytes))


class Reservoir:
    """Draws photos from a stream of unknown length, each as likely as any other.

    Vitter, "Random sampling with a reservoir", ACM TOMS 11 (1985), algorithm R.

    Args:
        wanted: photos that are kept.
        limit: photos after which the stream is left.
    """

    def __init__(self, wanted: int, limit: float, rng: np.random.Generator) -> None:
        self.kept: list[dict[str, object] | None] = [None] * wanted
        self.limit = limit
        self.passed = 0
        self._rng = rng
        self._slot = 0

    @property
    def is_enough(self) -> bool:
        """Whether the limit is reached."""
        return self.passed >= self.limit

    def draws(self) -> bool:
        """Return whether the next photo of the stream is drawn; `keep` is for it then."""
        wanted = len(self.kept)
        early = self.passed < wanted
        self._slot = self.passed if early else int(self._rng.integers(0, self.passed + 1))
        self.passed += 1
        return self._slot < wanted

    def keep(self, row: dict[str, object]) -> None:
        """Keep what was drawn, in the place of another."""
        self.kept[self._slot] = row


def _bytes(unit: Unit) -> int:
    return max(1, sum(unit.sizes))


def _of_files(plan: Plan, chosen: Sequence[tuple[Unit, list[int]]]) -> list[Portion]:
    """Return one portion for each base, so that remote files are fetched together as in a run."""
    merged: dict[str, Unit] = {}
    for unit, at in chosen:
        names = tuple(unit.names[k] for k in at)
        sizes = tuple(unit.sizes[k] for k in at)
        before = merged.get(unit.base)
        if before is not None:
            names, sizes = (*before.names, *names), (*before.sizes, *sizes)
        merged[unit.base] = replace(unit, names=names, sizes=sizes, versions=(), salted=frozenset())
    drawn = sum(len(unit.names) for unit in merged.values())
    return [
        Portion(unit, len(unit.names), round(plan.images * len(unit.names) / drawn))
        for unit in merged.values()
    ]
