"""Shards: which parts of a lake go together, and the files that are made of them."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.lake import Lake
from pipeline.search import training
from pipeline.search.settings import IVF_PQ, VectorIndexConfig, faiss
from pipeline.search.store import HALVES, REFERENCE, ROWS, VECTORS, IndexStore, Shard
from pipeline.search.topk import TopK
from pipeline.search.vectors import batches

# Recall is measured on the ten nearest; one more, for a face is its own nearest.
NEAREST = 10
# A shard at most this many times as large as what is added is built again together with it: each
# face is written log N times, and the number of shards stays log N (as in log-structured trees,
# O'Neil et al. 1996).
ABSORB = 2
EXTRA_REFERENCES = 4


def plan(
    old: Sequence[Shard], live: Mapping[str, int], rows: Mapping[str, int],
    config: VectorIndexConfig, trained: str,
) -> tuple[list[Shard], list[Shard]]:  # fmt: skip
    """Return the shards that stay, and those that must be built.

    Args:
        old: the shards there are.
        live: name to bytes of the parts of the lake.
        rows: faces of the parts that are in no shard.
        config: how large shards may be.
        trained: file of the quantiser.
    """
    kept: list[Shard] = []
    fresh = dict(rows)

    def dissolve(shard: Shard) -> None:
        gone = set(shard.gone(live))
        fresh.update({n: r for n, (_, r) in shard.parts.items() if n not in gone})

    for shard in old:
        if shard.rows - shard.live_rows(live) > config.gone_share * shard.rows:
            dissolve(shard)
        else:
            kept.append(shard)
    if not fresh:
        return kept, []
    for shard in sorted(kept, key=lambda one: (one.rows, one.name)):
        count = sum(fresh.values())
        if shard.rows <= ABSORB * count and shard.rows + count <= config.shard_rows:
            dissolve(shard)
            kept.remove(shard)
    groups: list[list[str]] = [[]]
    for name in sorted(fresh):
        if groups[-1] and sum(fresh[n] for n in groups[-1]) + fresh[name] > config.shard_rows:
            groups.append([])
        groups[-1].append(name)
    return kept, [shard_of({n: (live[n], fresh[n]) for n in group}, trained) for group in groups]


def shard_of(parts: Mapping[str, tuple[int, int]], trained: str) -> Shard:
    """Return the shard of these parts, named by them and by the quantiser."""
    text = json.dumps([trained, list(parts.items())])
    key = hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
    return Shard(f"shard-{key}", sum(rows for _, rows in parts.values()), parts)


def build_shard(lake: Lake, shard: Shard, kind: str, trained: str) -> None:
    """Write the files of a shard, the last of which says that all are there."""
    store = IndexStore(lake)
    if shard.name + REFERENCE in store.folder.files():
        return
    shared = training.load(store, trained)
    index = shared.empty()
    # each query finds itself; and what is found may be gone one day
    top = TopK(shared.queries, NEAREST + 1 + EXTRA_REFERENCES)
    names: list[bytes] = []
    part_of: list[np.ndarray] = []
    halves = np.empty((shard.rows if kind == IVF_PQ else 0, shared.queries.shape[1]), np.float16)
    for number, part in enumerate(shard.parts):
        for face_ids, vectors in batches(lake, part):
            if kind == IVF_PQ:
                halves[len(names) : len(names) + len(vectors)] = vectors
            index.add(np.ascontiguousarray(vectors))
            top.add(part, face_ids, vectors)
            names += [face.encode() for face in face_ids.to_pylist()]
            part_of.append(np.full(len(vectors), number, np.int32))
    rows = np.zeros(
        len(names), [("face_id", f"S{max(map(len, names), default=1)}"), ("part", "i4")]
    )
    rows["face_id"] = names
    rows["part"] = np.concatenate([np.zeros(0, np.int32), *part_of])
    folder = store.folder
    folder.publish_by(shard.name + VECTORS, lambda path: faiss().write_index(index, path))
    folder.publish_by(shard.name + ROWS, lambda path: _save(path, rows))
    if kind == IVF_PQ:
        folder.publish_by(shard.name + HALVES, lambda path: _save(path, halves))
    folder.publish(shard.name + REFERENCE, _reference(top))


def _save(path: str, array: np.ndarray) -> None:
    with open(path, "wb") as file:  # np.save would add .npy to the name
        np.save(file, array)


def _reference(top: TopK) -> bytes:
    """Return the exact nearest faces of the shard to each query, best first."""
    width = max(map(len, top.hits), default=0)
    similarity = np.full((len(top.hits), width), -np.inf)
    faces = [[b""] * width for _ in top.hits]
    parts = [[b""] * width for _ in top.hits]
    for row, hits in enumerate(top.hits):
        for column, hit in enumerate(hits):
            similarity[row, column] = hit.similarity
            faces[row][column], parts[row][column] = hit.face_id.encode(), hit.part.encode()
    buffer = io.BytesIO()
    np.savez(buffer, similarity=similarity, faces=np.array(faces, np.bytes_),
             parts=np.array(parts, np.bytes_))  # fmt: skip
    return buffer.getvalue()
