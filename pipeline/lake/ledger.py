"""Which images a lake has already: compact, searchable, cheap to share between processes.

About 100 bytes an image: its id, place, content and version of its file as hashes, its size, the
number of the folder or archive it came from, and the orders by place, content and folder. Those of
a large lake lie in files, see `shelf`.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Bools, Ints
from pipeline.lake.shelf import HELD_ROWS, Array, Shelf, Sorter, chunks
from pipeline.lake.tombstones import NOTHING, Forgotten

COLUMNS = ("image_id", "uri", "shard", "sha256", "bytes", "error", "file_version")
AGAIN, GONE = 1, 2
Keys = npt.NDArray[np.uint64]
ROW = np.dtype(
    [(name, np.uint64) for name in ("high", "low", "place", "content", "version")]
    + [("size", np.int64), ("shard", np.int32), ("state", np.uint8)]
)
# Folders whose links were followed that are kept in mind.
MOST_FOLDERS = 100_000
# A number, some numbers, or a slice of rows.
Rows = int | Ints | slice


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
            if len(self._real) >= MOST_FOLDERS:
                self._real.clear()
            self._real[shard] = os.path.realpath(shard or "/")
        return self._real[shard]

    def key(self, shard: str | None, uri: str) -> int:
        """Return the key of the image at `uri`, which lies in the folder or archive `shard`."""
        if shard is None:
            return text_key(uri)
        return text_key(self.real(shard).rstrip("/") + uri.removeprefix(shard.rstrip("/")))


def _rows(images: pa.Table, numbers: dict[str, int], places: Places) -> Array:
    """Return rows of `images` as ones of kind `ROW`; new shards join `numbers`."""
    rows = np.zeros(len(images), ROW)
    rows["high"], rows["low"] = halves(images["image_id"].to_pylist())
    uris, shards = images["uri"].to_pylist(), images["shard"].to_pylist()
    rows["place"] = [places.key(shard, uri) for shard, uri in zip(shards, uris, strict=True)]
    rows["content"] = [content_key(sha256) for sha256 in images["sha256"].to_pylist()]
    rows["version"] = [text_key(text) for text in images["file_version"].to_pylist()]
    rows["size"] = np.asarray(images["bytes"].combine_chunks().fill_null(-1), np.int64)
    rows["shard"] = [-1 if s is None else numbers.setdefault(s, len(numbers)) for s in shards]
    return rows


class Ledger:
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
        shelf: where the arrays lie.
    """

    high: Keys
    low: Keys
    place: Keys
    content: Keys
    version: Keys
    size: npt.NDArray[np.int64]
    shard: npt.NDArray[np.int32]
    state: npt.NDArray[np.uint8]

    def __init__(
        self, columns: dict[str, Array], shards: Sequence[str], forgotten: Forgotten, shelf: Shelf
    ) -> None:
        for name in ROW.names or ():
            setattr(self, name, columns[name])
        self.shards = shards
        self.forgotten = forgotten
        self.shelf = shelf

    def __len__(self) -> int:
        return len(self.high)

    @classmethod
    def from_tables(
        cls,
        tables: Iterable[pa.Table],
        retry: frozenset[str] = frozenset(),
        forgotten: Forgotten = NOTHING,
        gone: Iterable[pa.Table] = (),
        held_rows: int = HELD_ROWS,
    ) -> "Ledger":
        """Build the ledger from pieces of `images`, columns `COLUMNS`, one at a time.

        Rows with an error code in `retry` are to be read `AGAIN`; rows of `gone` are of images that
        are not there any more. More than `held_rows` go into files.
        """
        numbers: dict[str, int] = {}
        places = Places()
        codes = pa.array(sorted(retry), pa.string())
        shelf = Shelf(held_rows)
        sorter = Sorter(shelf, "rows", ROW, ("high", "low", "state"))
        for state, some in ((0, tables), (GONE, gone)):
            for images in some:
                rows = _rows(images, numbers, places)
                again = np.asarray(pc.is_in(images["error"], codes)) if retry else False
                rows["state"] = state | np.where(again, AGAIN, 0)
                sorter.add(rows)
        columns = sorter.columns({name: name for name in ROW.names or ()})
        return cls(columns, tuple(numbers), forgotten, shelf)

    @classmethod
    def empty(cls) -> "Ledger":
        """Return the ledger of a new lake."""
        return cls.from_tables([])

    @classmethod
    def open(cls, folder: str) -> "Ledger":
        """Return the ledger that another process of this machine has `shared` in a folder."""
        shelf = Shelf(folder=folder)
        shards, forgotten, ends = shelf.noted()
        columns = {name: shelf.there(name, ROW[name]) for name in ROW.names or ()}
        ledger = cls(columns, shards, forgotten, shelf)
        order = shelf.there("place-keys", np.uint64), shelf.there("place-rows", np.int64)
        ledger.__dict__["by_place"] = order
        ledger.__dict__["by_shard"] = ends, shelf.there("shard-rows", np.int64)
        return ledger

    def shared(self) -> str | None:
        """Return the folder for `open`, None where the arrays are in memory."""
        if self.shelf.folder is not None:
            assert len(self.by_place[0]) == len(self)
            self.shelf.note((self.shards, self.forgotten, self.by_shard[0]))
        return self.shelf.folder

    def mask(self, name: str) -> Bools:
        """Return a new array for a truth of each image, bool [N], all false."""
        return self.shelf.zeros(name, len(self), np.bool_)

    def pieces(self) -> Iterator[slice]:
        """Yield slices of rows, in order, to look at all of them a piece at a time."""
        for piece in chunks(len(self)):
            yield piece
            self.shelf.let_go()

    def where(self, chosen: Callable[[slice], Bools]) -> Ints:
        """Return the rows of which `chosen` says so, asked for a piece at a time."""
        found = [np.flatnonzero(chosen(piece)) + piece.start for piece in self.pieces()]
        return np.concatenate([np.zeros(0, np.int64), *found])

    @cached_property
    def by_place(self) -> tuple[Keys, Ints]:
        """Places in order, and the row of each; of two at one place the one that is there first."""
        pieces = ((_numbers(p), self.state[p] & GONE) for p in self.pieces())
        return self.shelf.sorted_by("place", self.place, pieces)

    @cached_property
    def by_content(self) -> tuple[Keys, Ints]:
        """Contents in order, and the row of each; images without are left out."""
        known = (_numbers(p)[self.content[p] != 0] for p in self.pieces())
        pieces = ((rows, np.zeros(len(rows), np.uint8)) for rows in known)
        return self.shelf.sorted_by("content", self.content, pieces)

    @cached_property
    def by_shard(self) -> tuple[Ints, Ints]:
        """Return where the rows of each shard end in the second array, and all rows by shard."""
        counts = np.zeros(len(self.shards) + 1, np.int64)
        for piece in self.pieces():
            counts += np.bincount(self.shard[piece] + 1, minlength=len(counts))
        ends = np.cumsum(counts)
        after = ends - counts
        rows = self.shelf.zeros("shard-rows", len(self), np.int64)
        for piece in self.pieces():
            shard = self.shard[piece] + 1
            order = np.argsort(shard, kind="stable")
            shard = shard[order]
            first = np.searchsorted(shard, shard)
            rows[after[shard] + np.arange(len(shard)) - first] = order + piece.start
            after += np.bincount(shard, minlength=len(counts))
        return ends, rows

    def is_gone(self, rows: Rows) -> Bools:
        """Return which of some images are not there any more, bool."""
        return (self.state[rows] & GONE) > 0

    def is_again(self, rows: Rows) -> Bools:
        """Return which of some images are to be read again, bool."""
        return (self.state[rows] & AGAIN) > 0

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

    def has(self, image_ids: Sequence[str]) -> Bools:
        """Return whether the lake has, or had, an image of each id, bool [M]."""
        return self.find(image_ids) >= 0

    def at(self, places: Sequence[int] | Keys) -> Ints:
        """Return the row of the image at each place, -1 where there is none.

        One that is gone is returned where no other has its place.
        """
        wanted = np.array(places, np.uint64)
        if not len(self):
            return np.full(len(wanted), -1, np.int64)
        keys, rows = self.by_place
        first = np.minimum(np.searchsorted(keys, wanted), len(self) - 1)
        return np.where(keys[first] == wanted, rows[first], -1)

    def with_content(self, content: int) -> Ints:
        """Return the rows of images with these bytes."""
        if not content:
            return np.zeros(0, np.int64)
        keys, rows = self.by_content
        ends = (np.searchsorted(keys, np.uint64(content), side) for side in ("left", "right"))
        return np.array(rows[slice(*ends)])

    def doubled(self) -> Ints:
        """Return the second and further rows of ids that have several."""

        def same(piece: slice) -> Bools:
            rows, before = _numbers(piece), np.maximum(_numbers(piece) - 1, 0)
            equal = (self.high[piece] == self.high[before]) & (self.low[piece] == self.low[before])
            return np.asarray(equal & (rows > 0))

        return self.where(same)

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
        ends, rows = self.by_shard
        pieces = [rows[ends[one] : ends[one + 1]] for one in shards]
        return np.concatenate([np.zeros(0, np.int64), *pieces])

    def shard_of(self, row: int) -> str:
        """Return the folder, archive or table that the image in `row` came from."""
        index = int(self.shard[row])
        return self.shards[index] if index >= 0 else ""

    def some(self, rows: Ints) -> "Ledger":
        """Return a small ledger of some rows, in memory."""
        rows = np.unique(rows)
        columns = {name: np.array(getattr(self, name)[rows]) for name in ROW.names or ()}
        numbers, columns["shard"] = np.unique(columns["shard"], return_inverse=True)
        shards = [self.shards[n] if n >= 0 else "" for n in numbers]
        columns["shard"] = columns["shard"].astype(np.int32)
        return Ledger(columns, shards, self.forgotten, Shelf())


def _numbers(piece: slice) -> Ints:
    return np.arange(piece.start, piece.stop)
