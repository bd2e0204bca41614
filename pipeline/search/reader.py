"""Searches a vector index: its files are mapped into memory, parts that are gone are left out."""

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Bytes, Floats32, Ints
from pipeline.errors import StorageError
from pipeline.search.settings import FLAT, IVF_PQ, faiss
from pipeline.search.store import HALVES, ROWS, VECTORS, IndexStore, Manifest, Shard
from pipeline.search.topk import Hit, TopK
from pipeline.storage.errors import storage_errors
from pipeline.storage.folder import Folder, is_local

# With codes of a byte for 8 numbers the order is rough: so many times `k` are compared exactly.
CANDIDATES = 10
LEAST_CANDIDATES = 100


@dataclass
class OpenShard:
    """A shard whose files are mapped.

    Attributes:
        index: of FAISS.
        rows: `face_id` of each row, and the number of its part.
        halves: float16 [rows, D] for exact re-ranking; None if the index holds the vectors itself.
        selector: of FAISS; None when all parts are still there.
    """

    shard: Shard
    index: Any
    rows: npt.NDArray[Any]
    halves: npt.NDArray[np.float16] | None
    selector: Any
    bits: Bytes | None  # the selector points into this array


class Reader:
    """An open index.

    Args:
        store: of the index.
        manifest: of the index to open.
        live: bytes of each part of the lake by name; faces of other parts are not found.

    Raises:
        StorageError: a file is missing or damaged.
    """

    def __init__(self, store: IndexStore, manifest: Manifest, live: Mapping[str, int]) -> None:
        self.manifest = manifest
        self.folder = store.folder
        if not is_local(store.folder.fs):
            prune_cache(store.folder, manifest.files())
        self.shards = [self._open(shard, live) for shard in manifest.shards if shard.rows]

    def _open(self, shard: Shard, live: Mapping[str, int]) -> OpenShard:
        library = faiss()
        path = local_path(self.folder, shard.name + VECTORS)
        with storage_errors("read", path):
            try:
                index = library.read_index(path, library.IO_FLAG_MMAP_IFC)
            except RuntimeError as error:
                raise StorageError(
                    f"{path} cannot be read ({str(error).splitlines()[-1].strip()}); make the "
                    "index again with facelake search-index --full"
                ) from error
            rows = np.load(local_path(self.folder, shard.name + ROWS), mmap_mode="r")
            halves = None
            if self.manifest.kind == IVF_PQ:
                halves = np.load(local_path(self.folder, shard.name + HALVES), mmap_mode="r")
        bits = selector = None
        if gone := set(shard.gone(live)):
            kept = np.array([name not in gone for name in shard.parts])[rows["part"]]
            bits = np.packbits(kept, bitorder="little")
            selector = library.IDSelectorBitmap(bits)
        return OpenShard(shard, index, rows, halves, selector, bits)

    def search(self, queries: Floats32, k: int, nprobe: int | None = None) -> TopK:
        """Return the `k` most similar faces that the index finds for each query, float32 [Q, D].

        Similarities are those of half floats, within 0.001 of the exact ones.
        """
        top = TopK(queries, k)
        for shard in self.shards:
            similarity, rows = self._search(shard, top.queries, k, nprobe or self.manifest.nprobe)
            parts = list(shard.shard.parts)
            for query in range(len(rows)):
                valid = rows[query] >= 0  # FAISS fills up with -1
                at = shard.rows[rows[query][valid]]
                top.merge(query, [
                    Hit(-score, face.decode(), parts[part])
                    for score, face, part in zip(
                        similarity[query][valid].tolist(), at["face_id"].tolist(),
                        at["part"].tolist(), strict=True)
                ])  # fmt: skip
        return top

    def _search(
        self, shard: OpenShard, queries: Floats32, k: int, nprobe: int
    ) -> tuple[npt.NDArray[np.floating], Ints]:
        library = faiss()
        # FAISS takes any of equal similarities: ask for a few more, so that the face id can decide.
        wanted = min(k + 8, shard.shard.rows)
        if self.manifest.kind == FLAT:
            parameters = library.SearchParameters(sel=shard.selector)
        else:
            parameters = library.SearchParametersIVF(sel=shard.selector, nprobe=nprobe)
        if shard.halves is None:
            result: tuple[Any, Any] = shard.index.search(queries, wanted, params=parameters)
            return result
        wanted = min(max(CANDIDATES * k, LEAST_CANDIDATES), shard.shard.rows)
        rows = shard.index.search(queries, wanted, params=parameters)[1]
        similarity = np.full(rows.shape, -np.inf, np.float32)
        for query, vector in enumerate(queries):
            valid = rows[query] >= 0
            similarity[query, valid] = shard.halves[rows[query][valid]].astype(np.float32) @ vector
        return similarity, rows

    def locate(self, face_ids: Sequence[str], live: Mapping[str, int]) -> dict[str, str]:
        """Return the part of each face; faces that are not indexed are left out."""
        wanted = np.array([face.encode() for face in face_ids], np.bytes_)
        part_of: dict[str, str] = {}
        for shard in self.shards:
            parts, gone = list(shard.shard.parts), set(shard.shard.gone(live))
            for row in shard.rows[np.isin(shard.rows["face_id"], wanted)]:
                if parts[row["part"]] not in gone:
                    part_of[row["face_id"].decode()] = parts[row["part"]]
        return part_of


def local_path(folder: Folder, name: str) -> str:
    """Return the path of a file on this machine; a remote one is fetched once."""
    if is_local(folder.fs):
        return folder.path(name)
    path = cache_folder(folder) / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{name}.{uuid4().hex}")
        with storage_errors("read", f"{folder.url}/{name}"):
            try:
                folder.attempt(lambda: folder.fs.get_file(folder.path(name), str(aside)))
                os.replace(aside, path)
            finally:
                aside.unlink(missing_ok=True)
    return str(path)


def cache_folder(folder: Folder) -> Path:
    """Return the folder on this machine that keeps the files of a remote index."""
    home = os.environ.get("FACELAKE_HOME")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "facelake"
    key = hashlib.blake2b(folder.url.encode(), digest_size=12).hexdigest()
    return (Path(home) if home else cache) / "index" / key


def prune_cache(folder: Folder, names: set[str]) -> None:
    """Remove all files of a remote index but `names` from the cache."""
    if cache_folder(folder).is_dir():
        for path in cache_folder(folder).iterdir():
            if path.name not in names and not path.name.startswith("."):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
