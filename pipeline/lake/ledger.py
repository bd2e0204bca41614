"""Which images a lake has already: compact, searchable, cheap to share between processes.

About 36 bytes an image: two halves of the id, the start of the content's hash, size, and the
number of the folder or archive it came from.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.lake.tombstones import NOTHING, Forgotten

COLUMNS = ("image_id", "shard", "sha256", "bytes", "error")


def halves(image_ids: Sequence[str]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Return ids of 32 hex digits as two columns uint64 [N]."""
    raw = np.frombuffer(bytes.fromhex("".join(image_ids)), dtype=">u8").reshape(-1, 2)
    return raw[:, 0].astype(np.uint64), raw[:, 1].astype(np.uint64)


def content_key(sha256: str | None) -> int:
    """Return the first 64 bits of a content hash, 0 for none."""
    return int(sha256[:16], 16) if sha256 else 0


def _empty_columns() -> tuple[npt.NDArray[Any], ...]:
    return tuple(
        np.zeros(0, kind) for kind in (np.uint64, np.uint64, np.uint64, np.int64, np.int32)
    )


def _columns(images: pa.Table, shard_numbers: dict[str, int]) -> tuple[npt.NDArray[Any], ...]:
    """Return halves of ids, content key, size and shard; new shards join `shard_numbers`."""
    high, low = halves(images["image_id"].to_pylist())
    content = np.array([content_key(h) for h in images["sha256"].to_pylist()], dtype=np.uint64)
    size = np.asarray(images["bytes"].combine_chunks().fill_null(-1), dtype=np.int64)
    shards = images["shard"].combine_chunks().dictionary_encode()
    numbers = [
        shard_numbers.setdefault(name, len(shard_numbers)) for name in shards.dictionary.to_pylist()
    ]
    places = np.asarray(shards.indices.fill_null(len(numbers)), dtype=np.int64)
    return high, low, content, size, np.array([*numbers, -1], np.int32)[places]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The images of a lake, sorted by id.

    Attributes:
        high, low: uint64 [N], the id.
        content: uint64 [N], first 64 bits of the sha256 of the bytes, 0 where there is none.
        size: int64 [N], encoded bytes, -1 where unknown.
        shard: int32 [N], index into `shards`.
        shards: folders, archives and tables that images came from.
        again: how many images were left out because they are to be read again.
        forgotten: images and faces that must not come back.
    """

    high: npt.NDArray[np.uint64]
    low: npt.NDArray[np.uint64]
    content: npt.NDArray[np.uint64]
    size: npt.NDArray[np.int64]
    shard: npt.NDArray[np.int32]
    shards: tuple[str, ...]
    again: int = 0
    forgotten: Forgotten = NOTHING

    def __len__(self) -> int:
        return len(self.high)

    @classmethod
    def from_tables(
        cls,
        tables: Iterable[pa.Table],
        retry: frozenset[str] = frozenset(),
        forgotten: Forgotten = NOTHING,
    ) -> "Ledger":
        """Build the ledger from pieces of `images`, columns `COLUMNS`, one at a time.

        An image takes half a kilobyte as Arrow's text and Python's objects, here a tenth of that:
        so the rows of a large lake are never all held as the former. Rows with an error code in
        `retry` are left out: such images count as new.
        """
        shard_numbers: dict[str, int] = {}
        pieces = [_empty_columns()]
        again = 0
        for images in tables:
            if retry:
                retried = pc.is_in(images["error"], pa.array(sorted(retry), pa.string()))
                again += pc.sum(retried).as_py() or 0
                images = images.filter(pc.invert(retried))
            pieces.append(_columns(images, shard_numbers))
        high, low, content, size, shard = (
            np.concatenate([piece[k] for piece in pieces]) for k in range(len(pieces[0]))
        )
        del pieces
        order = np.lexsort((low, high))
        return cls(
            high[order], low[order], content[order], size[order], shard[order],
            tuple(shard_numbers), again, forgotten,
        )  # fmt: skip

    @classmethod
    def empty(cls) -> "Ledger":
        """Return the ledger of a new lake."""
        return cls.from_tables([])

    def find(self, image_ids: Sequence[str]) -> npt.NDArray[np.int64]:
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

    def shard_of(self, row: int) -> str:
        """Return the folder, archive or table that the image in `row` came from."""
        index = int(self.shard[row])
        return self.shards[index] if index >= 0 else ""
