"""Looks for many byte strings at once in a file: a person has thousands of vectors and pictures."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

HEAD = 8
CHUNK = 1 << 20


class Needles:
    """Byte strings that are looked for, by their first eight bytes.

    Args:
        named: what a string is, and the string; those shorter than eight bytes are looked for one
            by one.
    """

    def __init__(self, named: Iterable[tuple[str, bytes]]) -> None:
        self._short: list[tuple[str, bytes]] = []
        self._by_head: dict[int, list[tuple[str, bytes]]] = defaultdict(list)
        for what, needle in named:
            if len(needle) < HEAD:
                self._short.append((what, needle))
            else:
                self._by_head[int.from_bytes(needle[:HEAD], "little")].append((what, needle))
        self._heads = np.array(sorted(self._by_head), np.uint64)
        # Most places are passed over by their first two bytes.
        self._starts = np.zeros(1 << 16, bool)
        self._starts[(self._heads & np.uint64(0xFFFF)).astype(np.int64)] = True

    def found_in(self, data: bytes) -> set[str]:
        """Return what is in a file."""
        found = {what for what, needle in self._short if needle in data}
        for at in self._candidates(data):
            head = int.from_bytes(data[at : at + HEAD], "little")
            found |= {what for what, needle in self._by_head[head] if data.startswith(needle, at)}
        return found

    def _candidates(self, data: bytes) -> Iterator[int]:
        """Yield where a file has the first eight bytes of a string."""
        if not len(self._heads):
            return
        whole = np.frombuffer(data, np.uint8)
        for start in range(0, max(0, len(whole) - HEAD + 1), CHUNK):
            piece = whole[start : start + CHUNK + HEAD - 1]
            yield from (start + self._in(piece)).tolist()

    def _in(self, piece: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        count = len(piece) - HEAD + 1
        first = piece[:count].astype(np.int64) | (piece[1 : count + 1].astype(np.int64) << 8)
        at = np.flatnonzero(self._starts[first])
        words = np.zeros(len(at), np.uint64)
        for byte in range(HEAD):
            words |= piece[at + byte].astype(np.uint64) << np.uint64(8 * byte)
        place = np.minimum(np.searchsorted(self._heads, words), len(self._heads) - 1)
        hits: npt.NDArray[np.int64] = at[self._heads[place] == words]
        return hits
