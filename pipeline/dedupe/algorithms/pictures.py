"""The pictures of an archive as a search for copies sees them: columns, no pixels."""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Bools, Bytes, Floats64, Ints

# Of a SHA-256, enough to tell 10^9 files apart (chance of one collision: 10^-21).
SHORT = 16
# Rows compared at once.
CHUNK_ROWS = 1 << 16


@dataclass(frozen=True)
class Pictures:
    """Columns of N pictures; those without encoded bytes are not among them.

    Attributes:
        image_id: bytes of the id, uint8 [N, 16].
        sha: start of the hash of the encoded bytes, uint8 [N, 16].
        pixels: start of the hash of the pixels, zeros where it could not be decoded, [N, 16].
        phash, inner, turnable: perceptual hashes, uint8 [N, 32].
        has_phash, has_inner: whether they mean something; the first speaks for `turnable` too.
        area: width times height; 0 where it could not be decoded.
        width, height, bytes: as in `images`.
        least_bytes: of the smallest file with the same pixels.
        sharpness: NaN where unknown.
        taken_ms: time of capture in milliseconds, NaN where unknown.
        camera: number of the make and model, 0 where unknown.
        stem: number of the file's name without folder, ending and marks of a copy.
        place: number of the place, the same for a file that was indexed twice.
        damaged_rows: rows of pixels that the file lacks, int64 [N].
        holds_more: whether the file holds more than was looked at.
        path_length: characters of the place.
        reference: whether it lies where everything is kept.
    """

    image_id: Bytes
    sha: Bytes
    pixels: Bytes
    phash: Bytes
    inner: Bytes
    turnable: Bytes
    has_phash: Bools
    has_inner: Bools
    width: Ints
    height: Ints
    bytes: Ints
    least_bytes: Ints
    sharpness: Floats64
    taken_ms: Floats64
    camera: npt.NDArray[np.uint64]
    stem: npt.NDArray[np.uint64]
    place: npt.NDArray[np.uint64]
    damaged_rows: Ints
    holds_more: Bools
    path_length: Ints
    reference: Bools

    def __len__(self) -> int:
        return len(self.image_id)

    @cached_property
    def area(self) -> Ints:
        """Width times height; 0 where it could not be decoded."""
        return self.width * self.height

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of the columns."""
        return [f.name for f in fields(cls)]

    @classmethod
    def join(cls, parts: list["Pictures"]) -> "Pictures":
        """Return several, at least one, as one."""
        return cls(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in cls.names()})

    def take(self, rows: Ints | Bools) -> "Pictures":
        """Return some rows."""
        return Pictures(**{n: getattr(self, n)[rows] for n in self.names()})

    def copy(self) -> "Pictures":
        """Return the same pictures in memory, whatever file they were mapped from."""
        return self.take(np.arange(len(self)))


def numbered(rows: Bytes) -> Ints:
    """Return for each row of bytes [N, B] a number, the same for equal rows, int64 [N].

    B is a multiple of 8. Numbers are dense and follow the order of the rows' values.
    """
    if not len(rows):
        return np.zeros(0, np.int64)
    words = np.ascontiguousarray(rows).view(np.uint64)
    order = np.lexsort(words.T)
    changes = np.zeros(len(rows), bool)
    for start in range(1, len(rows), CHUNK_ROWS):  # in pieces: they are copies
        piece = words[order[start - 1 : start + CHUNK_ROWS]]
        changes[start : start + CHUNK_ROWS] = (piece[1:] != piece[:-1]).any(axis=1)
    numbers = np.empty(len(rows), np.int64)
    numbers[order] = np.cumsum(changes)
    return numbers


def places_of(rows: Bytes, among: Bytes) -> Ints:
    """Return the place of each row of bytes among others, -1 where it is not there, int64 [N]."""
    number = numbered(np.concatenate([among, rows]))
    place = np.full(int(number.max()) + 1 if len(number) else 0, -1, np.int64)
    place[number[: len(among)]] = np.arange(len(among))
    return place[number[len(among) :]]


def pixel_classes(pictures: Pictures) -> Ints:
    """Return a number for each picture, the same for those with the same pixels or bytes.

    One that could not be decoded has the pixels of its copy that could.
    """
    by_bytes = numbered(pictures.sha)
    decoded = pictures.pixels.any(axis=1)
    by_pixels = numbered(pictures.pixels)
    count = by_bytes.max() + 1 if len(by_bytes) else 0
    of_bytes = np.full(count, -1, np.int64)
    of_bytes[by_bytes[decoded]] = by_pixels[decoded]
    pixels_of = of_bytes[by_bytes]
    largest = by_pixels.max() + 1 if len(by_pixels) else 0
    _, dense = np.unique(
        np.where(pixels_of >= 0, pixels_of, largest + by_bytes), return_inverse=True
    )
    return dense.astype(np.int64)


@dataclass(frozen=True)
class Hashes:
    """The different hashes of an archive.

    Attributes:
        values: uint8 [U, 32].
        picture, number: which picture has which hash, int64 [M] each.
    """

    values: Bytes
    picture: Ints
    number: Ints

    @classmethod
    def of(cls, rows: Bytes, picture: Ints) -> "Hashes":
        """Return the hash of each of some pictures."""
        number = numbered(rows)
        values = np.empty((int(number.max()) + 1 if len(number) else 0, rows.shape[1]), np.uint8)
        values[number] = rows
        return cls(values, picture, number)

    def new(self, first_new: int) -> Bools:
        """Return which hashes none of the pictures before the first new one has."""
        new = np.ones(len(self.values), bool)
        new[self.number[self.picture < first_new]] = False
        return new
