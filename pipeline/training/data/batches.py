"""Which faces make up which batch, and the batches themselves.

What a batch holds depends on the seed, the epoch and its number alone. So a run that is resumed
goes on with the batches that it would have had, and several workers share the batches of one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Floats32, Ints, Pixels
from pipeline.errors import ConfigError
from pipeline.training.data.augment import augmented
from pipeline.training.data.crops import CropShards, decode
from pipeline.training.settings import Level

# Faces that are shuffled together: their shards are in memory at once, about 8 kB a face.
WINDOW = 200_000


@dataclass(frozen=True)
class Faces:
    """The faces of a training, [N] each.

    Attributes:
        shard, row: where the crop lies.
        target: number of the person, -1 for nobody.
    """

    shard: Ints
    row: Ints
    target: Ints

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True)
class Order:
    """How faces come into batches.

    Attributes:
        batch: faces of a step, of all workers together.
        chunk: faces that go through the network at once: batch norm and mining see these.
        images: of each person in a chunk; None: people as they come.
        seed: of everything that is drawn.
    """

    batch: int
    chunk: int
    images: int | None = None
    seed: int = 0

    def check_numbers(self, workers: int) -> None:
        """Refuse numbers that do not fit together, whatever the faces.

        Raises:
            ConfigError: says which one to change.
        """
        if self.batch % (self.chunk * workers):
            raise ConfigError(
                f"A batch of {self.batch} faces cannot be divided into chunks of {self.chunk} on "
                f"{workers} workers; give a --batch that is a multiple of {self.chunk * workers}"
            )
        if self.images is not None and self.chunk % self.images:
            raise ConfigError(
                f"A chunk of {self.chunk} faces cannot hold whole groups of {self.images}; give an "
                "--images-per-person that divides --chunk"
            )

    def check(self, faces: Faces, workers: int) -> None:
        """Refuse what does not fit together.

        Raises:
            ConfigError: says which number to change.
        """
        self.check_numbers(workers)
        if len(faces) < self.batch:
            raise ConfigError(
                f"There are {len(faces):,} faces to train on, fewer than a batch of {self.batch}; "
                "label more photos, or lower --batch and --chunk"
            )
        people = len(np.unique(faces.target))
        if self.images is not None and people < self.chunk // self.images:
            raise ConfigError(
                f"{people} people cannot fill a chunk of {self.chunk} faces with {self.images} of "
                "each; raise --images-per-person, or lower --chunk"
            )

    def steps(self, faces: Faces) -> int:
        """Return the steps of an epoch."""
        return len(faces) // self.batch

    def epoch(self, faces: Faces, number: int) -> Ints:
        """Return the faces of each step of an epoch, [steps, batch]."""
        random = np.random.default_rng((self.seed, 1, number))
        order = self._as_they_come(faces, random)
        if self.images is not None:
            order = self._grouped(faces.target, order, random)
        steps = self.steps(faces)
        return order[: steps * self.batch].reshape(steps, self.batch)

    def _as_they_come(self, faces: Faces, random: np.random.Generator) -> Ints:
        """Return all faces once, shuffled within windows of whole shards that are shuffled."""
        shards, counts = np.unique(faces.shard, return_counts=True)
        shuffled = random.permutation(len(shards))
        window = np.empty(len(shards), np.int64)
        window[shuffled] = np.cumsum(counts[shuffled]) // WINDOW
        of_face = window[np.searchsorted(shards, faces.shard)]
        return np.lexsort((random.random(len(faces)), of_face)).astype(np.int64)

    def _grouped(self, target: Ints, order: Ints, random: np.random.Generator) -> Ints:
        """Return faces so that each chunk has `images` of each of its people.

        People come in turn, all alike, however many faces they have; a person's faces too, and
        again when they are used up.
        """
        assert self.images is not None
        people, of_face = np.unique(target[order], return_inverse=True)
        by_person = np.argsort(of_face, kind="stable")
        starts = np.searchsorted(of_face[by_person], np.arange(len(people)))
        sizes = np.bincount(of_face)
        at_once = self.chunk // self.images
        chunks = len(order) // self.batch * self.batch // self.chunk
        turns: list[Ints] = []
        while sum(map(len, turns)) < chunks * at_once:
            turns.append(random.permutation(len(people))[: len(people) // at_once * at_once])
        chosen = np.concatenate(turns)[: chunks * at_once]
        seen = np.zeros(len(people), np.int64)
        rows = np.empty((len(chosen), self.images), np.int64)
        for k, person in enumerate(chosen.tolist()):
            take = (seen[person] + np.arange(self.images)) % sizes[person]
            rows[k] = order[by_person[starts[person] + take]]
            seen[person] += self.images
        return rows.ravel()


@dataclass(frozen=True)
class Item:
    """One chunk to make: its place in the training, and its faces.

    Attributes:
        epoch, step, chunk: its place.
        faces: rows of `Faces`, [M].
    """

    epoch: int
    step: int
    chunk: int
    faces: Ints


@dataclass(frozen=True)
class Batch:
    """A chunk, ready for the network.

    Attributes:
        crops: uint8 [M, S, S, 3], RGB, augmented.
        target: [M].
        teacher: vectors [M, T]; None where nobody teaches.
    """

    crops: Pixels
    target: Ints
    teacher: Floats32 | None


def items(faces: Faces, order: Order, epoch: int, worker: int, workers: int) -> Iterator[Item]:
    """Yield what one of several workers does in an epoch: its chunks of every step, in order."""
    for step, batch in enumerate(order.epoch(faces, epoch)):
        chunks = batch.reshape(-1, order.chunk)
        for k in range(worker, len(chunks), workers):
            yield Item(epoch, step, k, chunks[k])


class MakeBatch:
    """Reads, decodes and augments the faces of an item; keeps the shards that it has read.

    Args:
        shards: of the training.
        faces: all of them.
        level: of augmentation.
        seed: of what is drawn.
    """

    def __init__(self, shards: CropShards, faces: Faces, level: Level, seed: int) -> None:
        self.faces, self.level, self.seed = faces, level, seed
        at_once = -(-2 * WINDOW * len(np.unique(faces.shard)) // max(1, len(faces)))
        self._shards, self._read = shards, lru_cache(max(2, at_once))(shards.read)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the shards that it has read."""
        return MakeBatch, (self._shards, self.faces, self.level, self.seed)

    def __call__(self, item: Item) -> Batch:
        """Return the batch of an item."""
        pixels, vectors = [], []
        for face in item.faces.tolist():
            shard = self._read(int(self.faces.shard[face]))
            row = int(self.faces.row[face])
            pixels.append(decode(shard.crops[row]))
            if shard.teacher is not None:
                vectors.append(shard.teacher[row])
        random = np.random.default_rng((self.seed, 2, item.epoch, item.step, item.chunk))
        crops = augmented(np.stack(pixels), self.level, random)
        return Batch(crops, self.faces.target[item.faces], np.stack(vectors) if vectors else None)

    def rows(self, batch: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Do the same for Ray Data: a block of one item in, one with its batch out."""
        epoch, step, chunk = (int(batch[name][0]) for name in ("epoch", "step", "chunk"))
        item = Item(epoch, step, chunk, np.asarray(batch["faces"][0]))
        made = self(item)
        out: dict[str, npt.NDArray[Any]] = {"crops": made.crops[None], "target": made.target[None]}
        return out if made.teacher is None else out | {"teacher": made.teacher[None]}
