"""Tells which texts were seen before, however many there are."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from pipeline.lake.shelf import Array, Shelf

KEY = "S16"  # 128 bits: among 10^9 texts no two are the same
HELD_TEXTS = 2**18
# Texts of one file; a larger one would not be sorted in a little memory.
MOST_TEXTS = 2**22


class Seen:
    """A set of texts that grows on disk.

    Args:
        held_texts: how many are kept in memory.
    """

    def __init__(self, held_texts: int = HELD_TEXTS) -> None:
        self._held_texts = held_texts
        self._recent: set[bytes] = set()
        self._runs: list[Array] = []
        self._shelf = Shelf(0)
        self._files = 0

    def new(self, texts: Sequence[str]) -> list[bool]:
        """Return of each text whether it was never seen before, nor earlier in `texts`."""
        keys = np.array([_key(text) for text in texts], KEY)
        known = np.zeros(len(keys), bool)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, keys), len(run) - 1)
            known |= run[at] == keys
        self._shelf.let_go()
        fresh = []
        for key, was in zip(keys.tolist(), known.tolist(), strict=True):
            fresh.append(not was and key not in self._recent)
            self._recent.add(key)
        if len(self._recent) > self._held_texts:
            self._spill()
        return fresh

    def _spill(self) -> None:
        """Move what is held to a file, together with the last one while that is small."""
        keys = np.unique(np.array(list(self._recent), KEY))
        self._recent = set()
        while self._runs and len(keys) <= len(self._runs[-1]) <= MOST_TEXTS - len(keys):
            keys = np.unique(np.concatenate([keys, self._runs.pop()]))
        self._files += 1
        self._runs.append(self._shelf.keep(f"run-{self._files}", keys))


def _key(text: str) -> bytes:
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
