"""Which images a lake has already: compact, searchable, cheap to share between processes.

About 60 bytes an image: its id, place, content and version of its file as hashes, its size, and the
number of the folder or archive it came from.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Bools, Ints
from pipeline.lake.tombstones import NOTHING, Forgotten

COLUMNS = ("image_id", "uri", "shard", "sha256", "bytes", "error", "file_version")
AGAIN, GONE = 1, 2
Keys = npt.NDArray[np.uint64]


def halves(image_ids: Sequence[str]) -> tuple[Keys, Keys]:
    """Return ids of 32 hex digits as two columns uint64 [N]."""
    raw = np.frombuffer(bytes.fromhex("".join(image_ids)), dtype=">u8").reshape(-1, 2)
    return raw[:, 0].astype(np.uint64), raw[:, 1].astype(np.uint64)


def content_key(sha256: str | None) -> int:
    """Return the first 64 bits of a content hash, 0 for none."""
    return int(sha256[:16], 16) if sha256 else 0


def text_key(text: str | None) -> int:
    """Return 64 bits that stand for a text, 0 for none."""
    if text is None:
        return 0
    return int.from_bytes(blake2b(text.encode(errors="replace"), digest_size=8).digest(), "little")


class Places:
    """Keys of the places of images: the same one whatever path led there.

    The links on the way to a local folder or archive are followed, each once.
    """

    def __init__(self) -> None:
        self._real: dict[str, str] = {}

    def real(self, shard: str) -> str:
        """Return a folder or archive with the links on its way followed; a URL as it is."""
        if "://" in shard:
            return shard
        if shard not in self._real:
            self._real[shard] = os.path.realpath(shard or "/")
        return self._real[shard]

    def key(self, shard: str | None, uri: str) -> int:
        """Return the key of the image at `uri`, which lies in the folder or archive `shard`."""
        if shard is None:
            return text_key(uri)
        return text_key(self.real(shard).rstrip("/") + uri.removeprefix(shard.rstrip("/")))


@dataclass(frozen=True)
class _Columns:
    """Columns of images; see `Ledger`."""

    high: Keys
    low: Keys
    place: Keys
    content: Keys
    version: Keys
    size: npt.NDArray[np.int64]
    shard: npt.NDArray[np.int32]
    state: npt.NDArray[np.uint8]


def _columns(images: pa.Table, numbers: dict[str, int], places: Places) -> _Columns:
    """Return rows of `images` as columns; new shards join `numbers`."""
    high, low = halves(images["image_id"].to_pylist())
    uris, shards = images["uri"].to_pylist(), images["shard"].to_pylist()
    place = [places.key(shard, uri) for shard, uri in zip(shards, uris, strict=True)]
    content = [content_key(sha256) for sha256 in images["sha256"].to_pylist()]
    version = [text_key(text) for text in images["file_version"].to_pylist()]
    shard = [-1 if one is None else numbers.setdefault(one, len(numbers)) for one in shards]
    return _Columns(
        high,
        low,
        np.array(place, np.uint64),
        np.array(content, np.uint64),
        np.array(version, np.uint64),
        np.asarray(images["bytes"].combine_chunks().fill_null(-1), np.int64),
        np.array(shard, np.int32),
        np.zeros(len(images), np.uint8),
    )


@dataclass(frozen=True)
class Ledger(_Columns):
    """The images of a lake, sorted by id.

    Attributes:
        high, low: uint64 [N], the id.
        place: uint64 [N], of `Places`.
        content: uint64 [N], first 64 bits of the sha256 of the bytes, 0 where there is none.
        version: uint64 [N], of the file that it was read from, 0 where nothing is known.
        size: int64 [N], encoded bytes, -1 where unknown.
        shard: int32 [N], index into `shards`.
        state: uint8 [N], `AGAIN` for those to be read again, `GONE` for those that are not there
            any more.
        shards: folders, archives and tables that images came from.
        forgotten: images and faces that must not come back.
    """

    shards: tuple[str, ...]
    forgotten: Forgotten = NOTHING

    def __len__(self) -> int:
        return len(self.high)

    @classmethod
    def from_tables(
        cls,
        tables: Iterable[pa.Table],
        retry: frozenset[str] = frozenset(),
        forgotten: Forgotten = NOTHING,
        gone: Iterable[pa.Table] = (),
    ) -> "Ledger":
        """Build the ledger from pieces of `images`, columns `COLUMNS`, one at a time.

        An image takes half a kilobyte as Arrow's text and Python's objects: so the rows of a large
        lake are never all held as such. Rows with an error code in `retry` are to be read `AGAIN`;
        rows of `gone` are of images that are not there any more.
        """
        numbers: dict[str, int] = {}
        places = Places()
        pieces = [_columns(_NO_IMAGES, numbers, places)]
        codes = pa.array(sorted(retry), pa.string())
        for state, some in ((0, tables), (GONE, gone)):
            for images in some:
                piece = _columns(images, numbers, places)
                again = np.asarray(pc.is_in(images["error"], codes)) if retry else False
                piece.state[:] = state | np.where(again, AGAIN, 0)
                pieces.append(piece)
        columns = {
            field.name: np.concatenate([getattr(piece, field.name) for piece in pieces])
            for field in fields(_Columns)
        }
        del pieces
        order = np.lexsort((columns["state"], columns["low"], columns["high"]))
        columns = {name: column[order] for name, column in columns.items()}
        return cls(**columns, shards=tuple(numbers), forgotten=forgotten)

    @classmethod
    def empty(cls) -> "Ledger":
        """Return the ledger of a new lake."""
        return cls.from_tables([])

    @cached_property
    def _by_place(self) -> Ints:
        # Of two at one place the one that is there comes first.
        return np.lexsort((self.state & GONE, self.place))

    @cached_property
    def _by_content(self) -> Ints:
        return np.argsort(self.content, kind="stable")

    @cached_property
    def _by_shard(self) -> Ints:
        return np.argsort(self.shard, kind="stable")

    @cached_property
    def gone(self) -> Bools:
        """Which images are not there any more, bool [N]."""
        return (self.state & GONE) > 0

    @cached_property
    def again(self) -> Bools:
        """Which images are to be read again, bool [N]."""
        return (self.state & AGAIN) > 0

    def find(self, image_ids: Sequence[str]) -> Ints:
        """Return the row of each id, -1 where the lake does not have it."""
        rows = np.full(len(image_ids), -1, dtype=np.int64)
        if not len(self) or not len(image_ids):
            return rows
        high, low = halves(image_ids)
        at = np.searchsorted(self.high, high)
        pending = np.arange(len(rows))
        # Ids that share their first 64 bits stand side by side: step until the half differs.
        while len(pending):
            inside = at[pending] < len(self)
            pending = pending[inside]
            same = self.high[at[pending]] == high[pending]
            pending = pending[same]
            hit = self.low[at[pending]] == low[pending]
            rows[pending[hit]] = at[pending[hit]]
            pending = pending[~hit]
            at[pending] += 1
        return rows

    def at(self, places: Sequence[int] | Keys) -> Ints:
        """Return the row of the image at each place, -1 where there is none.

        One that is gone is returned where no other has its place.
        """
        wanted = np.array(places, np.uint64)
        if not len(self):
            return np.full(len(wanted), -1, np.int64)
        order = self._by_place
        first = np.searchsorted(self.place, wanted, sorter=order)
        rows = order[np.minimum(first, len(self) - 1)]
        return np.where(self.place[rows] == wanted, rows, -1)

    def with_content(self, content: int) -> Ints:
        """Return the rows of images with these bytes."""
        if not content:
            return np.zeros(0, np.int64)
        return _equal(self.content, self._by_content, np.uint64(content))

    def doubled(self) -> Ints:
        """Return the second and further rows of ids that have several."""
        same = (self.high[1:] == self.high[:-1]) & (self.low[1:] == self.low[:-1])
        return np.flatnonzero(same) + 1

    def ids(self, rows: Iterable[int]) -> list[str]:
        """Return the ids of rows."""
        return [f"{self.high[row]:016x}{self.low[row]:016x}" for row in rows]

    def is_current(self, row: int, version: str | None, size: int = -1) -> bool:
        """Return whether the image in `row` need not be read: its file is the one that it was.

        `version` and `size` of the file are those of the listing, None and -1 where it says
        nothing. Where versions are not known, sizes decide.
        """
        if self.state[row]:
            return False
        if version is not None and self.version[row]:
            return int(self.version[row]) == text_key(version)
        return size < 0 or self.size[row] < 0 or int(self.size[row]) == size

    def rows_of(self, shards: Iterable[int]) -> Ints:
        """Return the rows that came from some folders or archives, by their numbers."""
        pieces = [_equal(self.shard, self._by_shard, np.int32(one)) for one in shards]
        return np.concatenate([np.zeros(0, np.int64), *pieces])

    def shard_of(self, row: int) -> str:
        """Return the folder, archive or table that the image in `row` came from."""
        index = int(self.shard[row])
        return self.shards[index] if index >= 0 else ""


def _equal(column: npt.NDArray[Any], order: Ints, value: np.generic) -> Ints:
    """Return the rows in which a column, sorted by `order`, has a value."""
    ends = (np.searchsorted(column, value, side, sorter=order) for side in ("left", "right"))
    return order[slice(*ends)]


_NO_IMAGES = pa.table(
    {name: pa.array([], pa.int64() if name == "bytes" else pa.string()) for name in COLUMNS}
)
