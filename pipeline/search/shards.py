"""Shards of the index: which parts of a lake go into which, and writing their files."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.lake.store import LakeStore
from pipeline.search import training
from pipeline.search.settings import IVF_PQ, VectorIndexConfig, faiss
from pipeline.search.store import HALVES, ROWS, VECTORS, IndexStore, Shard
from pipeline.search.vectors import batches

# A shard at most this many times as large as what is added is merged with it, so that each face is
# written log N times and there are log N shards (as in log-structured trees, O'Neil et al. 1996).
ABSORB = 2


def plan(
    old: Sequence[Shard], live: Mapping[str, int], rows: Mapping[str, int],
    config: VectorIndexConfig, trained: str,
) -> tuple[list[Shard], list[Shard]]:  # fmt: skip
    """Return the shards that stay, and those that must be built.

    Args:
        old: the shards there are.
        live: bytes of each part of the lake by name.
        rows: faces of each part that is in no shard yet.
        config: how large shards may be.
        trained: file of the quantiser.
    """
    kept: list[Shard] = []
    unplaced = dict(rows)

    def dissolve(shard: Shard) -> None:
        gone = set(shard.gone(live))
        unplaced.update({n: r for n, (_, r) in shard.parts.items() if n not in gone})

    for shard in old:
        if shard.rows - shard.live_rows(live) > config.gone_share * shard.rows:
            dissolve(shard)
        else:
            kept.append(shard)
    if not unplaced:
        return kept, []
    for shard in sorted(kept, key=lambda one: (one.rows, one.name)):
        count = sum(unplaced.values())
        if shard.rows <= ABSORB * count and shard.rows + count <= config.shard_rows:
            dissolve(shard)
            kept.remove(shard)
    groups: list[list[str]] = [[]]
    for name in sorted(unplaced):
        if groups[-1] and sum(unplaced[n] for n in groups[-1]) + unplaced[name] > config.shard_rows:
            groups.append([])
        groups[-1].append(name)
    return kept, [shard_of({n: (live[n], unplaced[n]) for n in group}, trained) for group in groups]


def shard_of(parts: Mapping[str, tuple[int, int]], trained: str) -> Shard:
    """Return the shard of these parts, named by them and by the quantiser."""
    text = json.dumps([trained, list(parts.items())])
    key = hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
    return Shard(f"shard-{key}", sum(rows for _, rows in parts.values()), parts)


def build_shard(lake: LakeStore, shard: Shard, kind: str, trained: str) -> None:
    """Write the files of a shard; the rows come last, so that with them all files are there."""
    store = IndexStore(lake)
    if shard.name + ROWS in store.folder.files():
        return
    index = training.empty_index(store, trained)
    names: list[bytes] = []
    part_of = np.zeros(shard.rows, np.int32)
    halves = np.empty((shard.rows if kind == IVF_PQ else 0, index.d), np.float16)
    for number, part in enumerate(shard.parts):
        for face_ids, vectors in batches(lake, part):
            span = slice(len(names), len(names) + len(vectors))
            index.add(np.ascontiguousarray(vectors))
            names += [face.encode() for face in face_ids.to_pylist()]
            part_of[span] = number
            if kind == IVF_PQ:
                halves[span] = vectors
    width = max(map(len, names), default=1)
    rows = np.zeros(len(names), [("face_id", f"S{width}"), ("part", "i4")])
    rows["face_id"], rows["part"] = names, part_of
    folder = store.folder
    folder.publish_by(shard.name + VECTORS, lambda path: faiss().write_index(index, path))
    if kind == IVF_PQ:
        folder.publish_by(shard.name + HALVES, lambda path: _save(path, halves))
    folder.publish_by(shard.name + ROWS, lambda path: _save(path, rows))


def _save(path: str, array: npt.NDArray[Any]) -> None:
    with open(path, "wb") as file:  # np.save would add .npy to the name
        np.save(file, array)
