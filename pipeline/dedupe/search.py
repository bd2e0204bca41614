"""Finds all pairs of close hashes in tasks: as pictures are, and with one of them turned."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Bools, Bytes, Ints
from pipeline.dedupe.algorithms.banding import Band, best_bands, spread
from pipeline.dedupe.algorithms.dihedral import Turn, turned
from pipeline.dedupe.algorithms.hamming import Pairs, Sides, close_pairs
from pipeline.lake.checkpoints import Mapper, TaskRunner, Workspace

# Keys of one task: some seconds of work, some hundred megabytes.
TASK_KEYS = 1 << 26
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Pass:
    """One comparison of hashes with each other, or of one list with another.

    Attributes:
        name: of its files.
        turn: what was done to one side; None: nothing.
        numbers: of the hash in each row, int64.
        sides: which rows are compared with which.
        bands: how.
    """

    name: str
    turn: Turn | None
    numbers: Ints
    sides: Sides
    bands: tuple[Band, ...]


def find_pairs(
    work: Workspace,
    mapper: Mapper,
    hashes: Bytes,
    new: Bools,
    radius: int,
    ways: tuple[Turn | None, ...],
    progress: Progress,
    what: str,
) -> dict[Turn | None, Pairs]:
    """Return the pairs of close hashes, at least one of them new; rows are numbers of hashes.

    Args:
        work: where tasks leave their results.
        mapper: runs the tasks.
        hashes: uint8 [U, 32], all different.
        new: which have not been searched before.
        radius: bits.
        ways: what may have been done to one of two copies; None: nothing.
        progress: told of finished tasks.
        what: whose hashes they are, for the names of files.
    """
    found: dict[Turn | None, list[Pairs]] = {turn: [] for turn in ways}
    for one in plan_passes(work, hashes, new, radius, ways, what):
        tasks = [
            (one.name, radius, one.bands, number, share, one.sides)
            for number, band in enumerate(one.bands)
            for share in shares(band, one.sides, len(one.numbers))
        ]
        step = f"pairs-{one.name}"
        TaskRunner(work, mapper, progress).run(step, search, tasks)
        for i in range(len(tasks)):
            pairs = Pairs(**work.load(f"{step}-{i:05}"))
            ends = np.sort([one.numbers[pairs.first], one.numbers[pairs.second]], axis=0)
            apart = ends[0] != ends[1]  # a picture may look like itself in a mirror
            found[one.turn].append(Pairs(ends[0][apart], ends[1][apart], pairs.bits[apart]))
    return {turn: distinct(Pairs.join(parts)) for turn, parts in found.items()}


def plan_passes(
    work: Workspace,
    hashes: Bytes,
    new: Bools,
    radius: int,
    ways: tuple[Turn | None, ...],
    what: str,
) -> list[Pass]:
    """Leave the hashes of each comparison in files, and return what is to be compared."""
    passes: list[Pass] = []

    def add(turn: Turn | None, left: Ints, right: Ints, turn_left: bool, far: bool) -> None:
        if not len(left) or ((turn is not None or far) and not len(right)):
            return
        name = f"{what}-{len(passes):02}"
        rows = [hashes[left], hashes[right]]
        if turn is not None:
            rows[0 if turn_left else 1] = turned(rows[0 if turn_left else 1], turn)
        if f"hashes-{name}" not in work.names():
            work.save_large(f"hashes-{name}", spread(np.concatenate(rows)))
        sides = Sides(len(left) if len(right) else 0, far)
        choice = best_bands(
            radius, *((len(left), len(right)) if far else (len(left) + len(right),))
        )
        passes.append(Pass(name, turn, np.concatenate([left, right]), sides, choice))

    none = np.zeros(0, np.int64)
    fresh, known = np.flatnonzero(new), np.flatnonzero(~new)
    for turn in ways:
        add(turn, fresh, none if turn is None else fresh, False, False)
        add(turn, known, fresh, False, True)
        if turn is not None and not turn.mutual:  # the other way round is another picture
            add(turn, known, fresh, True, True)
    return passes


def shares(band: Band, sides: Sides, rows: int) -> list[tuple[int, int]]:
    """Return the ranges of keys that tasks take."""
    near, far = sides.reach(band)
    split = sides.split or rows
    keys = split * band.filed(near) + (rows - split) * band.filed(far)
    count = 1
    while keys > count * TASK_KEYS and count < 1 << band.width:
        count *= 2
    return [(i, count) for i in range(count)]


def search(
    work: Workspace,
    name: str,
    file: str,
    radius: int,
    bands: tuple[Band, ...],
    number: int,
    share: tuple[int, int],
    sides: Sides,
) -> None:
    """Leave the pairs that meet in a share of the keys of a band."""
    hashes = np.asarray(work.open_large(f"hashes-{file}"))
    pairs = close_pairs(hashes, radius, bands, number, share, sides)
    work.save(name, {"first": pairs.first, "second": pairs.second, "bits": pairs.bits})


def distinct(pairs: Pairs) -> Pairs:
    """Return each pair once, at its smaller distance, in order."""
    order = np.lexsort((pairs.bits, pairs.second, pairs.first))
    first, second, bits = pairs.first[order], pairs.second[order], pairs.bits[order]
    keep = np.ones(len(first), bool)
    keep[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return Pairs(first[keep], second[keep], bits[keep])
