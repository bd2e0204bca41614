"""Finds what makes the pictures of a lake copies of each other, on top of an earlier search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.arrays import Bools, Ints
from pipeline.dedupe.algorithms.dihedral import Turn, turns
from pipeline.dedupe.algorithms.hamming import Pairs
from pipeline.dedupe.algorithms.pictures import Hashes, Pictures, places_of
from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.crops import find_crops
from pipeline.dedupe.duplicates import Duplicates
from pipeline.dedupe.gather import binary, hexes
from pipeline.dedupe.groups import Evidence, HashPairs, plain_hashes, turnable_hashes
from pipeline.dedupe.search import HashSearch, distinct, find_pairs
from pipeline.dedupe.similar import Similarity, find_similar
from pipeline.imaging.phash import HASH_BYTES
from pipeline.lake.checkpoints import TaskRunner


@dataclass(frozen=True)
class Past:
    """The search before, as far as this one builds on it.

    Attributes:
        run_id: of it.
        parts: that it compared, and that are as they were.
        complete: whether these are all parts that it compared.
    """

    run_id: str
    parts: frozenset[str]
    complete: bool


@dataclass(frozen=True)
class EvidenceSearch:
    """The pictures of a lake, and what is needed to compare them.

    Attributes:
        duplicates: of the lake, with the pairs of the search before.
        config: settings.
        past: the search before, None: compare everything.
        tasks: runs them.
        parts: of each task, in the order of the pictures.
        pictures: all of them.
        first_new: number of pictures that the search before compared; they come first.
    """

    duplicates: Duplicates
    config: DedupeConfig
    past: Past | None
    tasks: TaskRunner
    parts: list[list[str]]
    pictures: Pictures
    first_new: int

    def evidence(self, classes: Ints, apart: Ints) -> Evidence:
        """Return the evidence; one picture of each class, the first, represents it."""
        first = np.zeros(len(classes), bool)
        first[np.unique(classes, return_index=True)[1]] = True
        kinds = turns(self.config.mirrored, self.config.rotated)
        plain = self._pairs("pictures", plain_hashes(self.pictures), (None,))
        # The second hash finds what the first misses, small photos most of all: not only turned.
        turned = self._pairs("turnable", turnable_hashes(self.pictures), (None, *kinds))
        similar = self._similar(first)
        return Evidence(plain, turned, self._crops(first), similar, apart)

    def _pairs(self, name: str, hashes: Hashes, turns: tuple[Turn | None, ...]) -> HashPairs:
        """Return the pairs of close hashes: those of the search before, and those of a new one."""
        search = HashSearch(
            name, hashes.values, hashes.new(self.first_new), self.config.radius, turns
        )
        pairs: Mapping[Turn | None, Pairs] = find_pairs(self.tasks, search)
        if self.past is not None:
            old = pairs_among(self.duplicates.pairs(), hashes, turns)
            pairs = {turn: distinct(Pairs.join([old[turn], pairs[turn]])) for turn in turns}
        return HashPairs(hashes, pairs)

    def _crops(self, chosen: Bools) -> Ints:
        """Return pairs of pictures, the second inside the first: those of before, and new ones.

        Which pictures are `chosen` stays, so that what an earlier run compared need not be
        compared again.
        """
        if not self.config.crops:
            return np.zeros((0, 2), np.int64)
        # Where pictures went, others represent their classes that were never compared.
        again = self.past is None or not self.past.complete
        new = np.full(len(self.pictures), again)
        new[self.first_new :] = True
        lake = self.duplicates.lake
        crops = find_crops(self.tasks, lake, self.parts, self.pictures, chosen, new)
        if again:
            return crops
        table = self.duplicates.crops()
        ends = [
            places_of(hexes(table[name]), self.pictures.image_id) for name in ("first", "second")
        ]
        old = np.stack(ends, axis=1)
        return np.unique(np.concatenate([old[(old >= 0).all(axis=1)], crops]), axis=0)

    def _similar(self, chosen: Bools) -> Ints:
        """Return pairs of pictures that are one by an image embedding, if one was named."""
        if self.config.model is None:
            return np.zeros((0, 2), np.int64)
        similarity = Similarity(self.config.model, self.config.model_cosine, self.config.licences)
        parts = [part for of_task in self.parts for part in of_task]
        lake = self.duplicates.lake
        return find_similar(self.tasks, lake, parts, self.pictures, chosen, similarity)


def pairs_among(
    table: pa.Table, hashes: Hashes, turns: Sequence[Turn | None]
) -> dict[Turn | None, Pairs]:
    """Return rows of `schema.HASH_PAIRS` as numbers of hashes; those of others are left out."""
    first, second = (
        places_of(binary(table[name], HASH_BYTES)[0], hashes.values) for name in ("first", "second")
    )
    bits = table["bits"].to_numpy().astype(np.int64)
    names = np.array(table["turn"].to_pylist(), object)
    present = (first >= 0) & (second >= 0)
    pairs = {}
    for turn in turns:
        rows = present & (names == (turn.name if turn else None))
        low, high = np.minimum(first, second)[rows], np.maximum(first, second)[rows]
        pairs[turn] = Pairs(low, high, bits[rows])
    return pairs
