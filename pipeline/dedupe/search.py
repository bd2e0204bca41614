"""Finds all pairs of close hashes in tasks: as pictures are, and with one of them turned."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Bools, Bytes, Ints
from pipeline.dedupe.algorithms.banding import BITS, WORD, Band, Words, best_bands, spread
from pipeline.dedupe.algorithms.dihedral import Turn, turned
from pipeline.dedupe.algorithms.hamming import Comparison, Pairs, Sides, close_pairs
from pipeline.dedupe.algorithms.pictures import CHUNK_ROWS
from pipeline.lake.checkpoints import TaskRunner, Workspace

# Keys of one task: some seconds of work, some hundred megabytes.
TASK_KEYS = 1 << 28


@dataclass(frozen=True)
class HashSearch:
    """A search for close hashes.

    Attributes:
        name: whose hashes they are, for the names of files.
        hashes: uint8 [U, 32], all different.
        new: which have not been searched before.
        radius: bits.
        turns: what may have been done to one of two copies; None: nothing.
    """

    name: str
    hashes: Bytes
    new: Bools
    radius: int
    turns: tuple[Turn | None, ...] = (None,)


@dataclass(frozen=True)
class Pass:
    """One comparison of hashes with each other, or of one list with another.

    Attributes:
        name: of its files.
        turn: what was done to one side; None: nothing.
        numbers: of the hash in each row, int64.
        comparison: how.
    """

    name: str
    turn: Turn | None
    numbers: Ints
    comparison: Comparison


def find_pairs(tasks: TaskRunner, search: HashSearch) -> dict[Turn | None, Pairs]:
    """Return the pairs of close hashes, at least one of them new; rows are numbers of hashes."""
    parts: dict[Turn | None, list[Pairs]] = {turn: [] for turn in search.turns}
    for search_pass in plan_passes(tasks.workspace, search):
        units = [
            (search_pass.name, search_pass.comparison, number, share)
            for number, band in enumerate(search_pass.comparison.bands)
            for share in shares(band, search_pass.comparison.sides, len(search_pass.numbers))
        ]
        step = f"pairs-{search_pass.name}"
        tasks.run(step, search_band, units)
        for i in range(len(units)):
            pairs = Pairs(**tasks.workspace.load(f"{step}-{i:05}"))
            ends = np.sort(
                [search_pass.numbers[pairs.first], search_pass.numbers[pairs.second]], axis=0
            )
            apart = ends[0] != ends[1]  # a picture may look like itself in a mirror
            parts[search_pass.turn].append(Pairs(ends[0][apart], ends[1][apart], pairs.bits[apart]))
    return {turn: distinct(Pairs.join(pairs)) for turn, pairs in parts.items()}


def plan_passes(workspace: Workspace, search: HashSearch) -> list[Pass]:
    """Leave the hashes of each comparison in files, and return what is to be compared."""
    passes: list[Pass] = []

    def add(turn: Turn | None, left: Ints, right: Ints, turn_left: bool, far: bool) -> None:
        if not len(left) or ((turn is not None or far) and not len(right)):
            return
        name = f"{search.name}-{len(passes):02}"
        if f"hashes-{name}" not in workspace.names():
            ways = (turn if turn_left else None, None if turn_left else turn)
            words = spread_pieces(search.hashes, tuple(zip((left, right), ways, strict=True)))
            workspace.save_large(f"hashes-{name}", words)
        sides = Sides(len(left) if len(right) else 0, far)
        sizes = (len(left), len(right)) if far else (len(left) + len(right),)
        comparison = Comparison(search.radius, best_bands(search.radius, *sizes), sides)
        passes.append(Pass(name, turn, np.concatenate([left, right]), comparison))

    none = np.zeros(0, np.int64)
    new, old = np.flatnonzero(search.new), np.flatnonzero(~search.new)
    for turn in search.turns:
        add(turn, new, none if turn is None else new, False, False)
        add(turn, old, new, False, True)
        if turn is not None and not turn.mutual:  # the other way round is another picture
            add(turn, old, new, True, True)
    return passes


def spread_pieces(hashes: Bytes, sides: Sequence[tuple[Ints, Turn | None]]) -> Words:
    """Return some rows of hashes, turned, one side after the other, as `spread` does."""
    words = np.empty((sum(len(rows) for rows, _ in sides), BITS // WORD), np.uint64)
    first = 0
    for rows, turn in sides:
        for start in range(0, len(rows), CHUNK_ROWS):  # in pieces: they are copies
            piece = hashes[rows[start : start + CHUNK_ROWS]]
            words[first : first + len(piece)] = spread(turned(piece, turn) if turn else piece)
            first += len(piece)
    return words


def shares(band: Band, sides: Sides, rows: int) -> list[tuple[int, int]]:
    """Return the ranges of keys that tasks take."""
    near, far = sides.reach(band)
    split = sides.split or rows
    keys = split * band.filed(near) + (rows - split) * band.filed(far)
    count = 1
    while keys > count * TASK_KEYS and count < 1 << band.width:
        count *= 2
    return [(i, count) for i in range(count)]


def search_band(
    workspace: Workspace,
    name: str,
    file: str,
    comparison: Comparison,
    number: int,
    share: tuple[int, int],
) -> None:
    """Leave the pairs that meet in a share of the keys of a band."""
    hashes = np.asarray(workspace.open_large(f"hashes-{file}"))
    workspace.save(name, vars(close_pairs(hashes, comparison, number, share)))


def distinct(pairs: Pairs) -> Pairs:
    """Return each pair once, at its smaller distance, in order."""
    order = np.lexsort((pairs.bits, pairs.second, pairs.first))
    first, second, bits = pairs.first[order], pairs.second[order], pairs.bits[order]
    keep = np.ones(len(first), bool)
    keep[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return Pairs(first[keep], second[keep], bits[keep])
