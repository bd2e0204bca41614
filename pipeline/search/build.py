"""Builds the vector index of a lake: what is new becomes shards, what has gone goes."""

import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from pipeline.errors import ConfigError, LakeMismatchError
from pipeline.lake import Lake
from pipeline.search import training
from pipeline.search.reader import Reader
from pipeline.search.settings import FLAT, VectorIndexConfig, faiss
from pipeline.search.shards import NEAREST, build_shard, plan
from pipeline.search.store import REFERENCE, IndexStore, Manifest, Shard
from pipeline.search.vectors import models_of, rows_of, sizes_of
from pipeline.workspace import Mapper, in_process

# Trained for so many faces, cells are too large or too few for more than four times as many.
RETRAIN = 4
# A sample of 5,000 neighbours misjudges 0.95 by 0.003; three times that is added to the aim.
AIM_ABOVE = 0.01


class Build:
    """One run of building; who calls holds the lake's lock.

    Args:
        lake: to index.
        config: how.
        mapper: runs the shards.
        run_id: of the run.
        progress: is told step, done and total.
    """

    def __init__(
        self,
        lake: Lake,
        config: VectorIndexConfig | None = None,
        mapper: Mapper = in_process,
        run_id: str = "search-index",
        progress: Callable[[str, int, int], None] = lambda *_: None,
    ) -> None:
        self.lake = lake
        self.store = IndexStore(lake)
        self.config = config or VectorIndexConfig()
        self.mapper = mapper
        self.run_id = run_id
        self.progress = progress

    def run(self) -> Manifest:
        """Bring the index up to date and return its manifest.

        Raises:
            ConfigError: FAISS is missing, or the lake has no faces.
            LakeMismatchError: the index has vectors of another model.
        """
        faiss()
        began = time.monotonic()
        models = models_of(self.lake)
        live = sizes_of(self.lake)
        old = self._old(models.embedder)
        known = old.covered(live) if old else set()
        fresh = rows_of(self.lake, [name for name in live if name not in known])
        counts = fresh | {
            name: rows for shard in (old.shards if old else ())
            for name, (_, rows) in shard.parts.items() if name in known
        }  # fmt: skip
        total = sum(counts.values())
        if not total:
            raise ConfigError(f"{self.lake.folder.url} has no faces; there is nothing to index")
        kind = self.config.kind_for(total)
        cells = 0 if kind == FLAT else self.config.cells_for(total)
        if old is not None and self._retrain(old, kind, cells, total):
            old, fresh = None, counts
        if old is None:
            self.progress("training", 0, 1)
            trained = training.train(
                self.lake, counts, live, kind, cells, self.config, models.dimension
            )
        else:
            trained, cells = old.trained, old.cells
        kept, wanted = plan(old.shards if old else (), live, fresh, self.config, trained)
        arguments = [(self.lake, shard, kind, trained) for shard in wanted]
        for done, _ in enumerate(self.mapper(build_shard, arguments), start=1):
            self.progress("shards", done, len(wanted))
        shards = (*kept, *wanted)
        manifest = Manifest(
            self.run_id, models.embedder, models.dimension, kind, trained,
            old.trained_rows if old else total, cells, 0, None, {}, 0,
            sum(shard.rows for shard in shards), 0.0, shards,
            {"faiss": faiss().__version__},
        )  # fmt: skip
        manifest = self._measured(manifest, live)
        manifest = replace(manifest, seconds=round(time.monotonic() - began, 3))
        self.store.publish(manifest)
        return manifest

    def _old(self, embedder: str) -> Manifest | None:
        if self.config.full:
            return None
        old = self.store.manifest()
        if old is not None and old.embedder != embedder:
            raise mismatch(self.lake, old.embedder, embedder)
        return old

    def _retrain(self, old: Manifest, kind: str, cells: int, total: int) -> bool:
        if old.kind != kind or (self.config.cells and old.cells != cells):
            return True
        return kind != FLAT and total > RETRAIN * old.trained_rows

    def _measured(self, manifest: Manifest, live: Mapping[str, int]) -> Manifest:
        """Return the manifest with the fewest cells that reach the recall, and the recall."""
        self.progress("measuring", 0, 1)
        shared = training.load(self.store, manifest.trained)
        own = [face.decode() for face in shared.query_ids.tolist()]
        truth = nearest(self.store, manifest.shards, live, own)
        reader = Reader(self.store, manifest, live)
        recalls: dict[int, float] = {}

        def recall(probes: int) -> float:
            found = reader.search(shared.queries, NEAREST + 1, probes).hits
            mine = [{hit.face_id for hit in hits if hit.face_id != face}
                    for hits, face in zip(found, own, strict=True)]  # fmt: skip
            hit = sum(len(a & b) for a, b in zip(mine, truth, strict=True))
            recalls[probes] = round(hit / max(1, sum(map(len, truth))), 4)
            return recalls[probes]

        probes = fewest(recall, manifest.cells, min(1.0, self.config.recall + AIM_ABOVE))
        measured = any(truth)
        return replace(
            manifest,
            nprobe=probes,
            recall=recalls[probes] if measured else None,
            recalls={str(n): recalls[n] for n in sorted(recalls)} if measured else {},
            queries=len(own) if measured else 0,
        )


def fewest(recall: Callable[[int], float], cells: int, target: float) -> int:
    """Return the fewest cells, within a quarter, with which the recall is reached; 0 for flat."""
    if not cells:
        recall(0)
        return 0
    low, probes = 0, 1
    while recall(probes) < target and probes < cells:
        low, probes = probes, min(cells, 2 * probes)
    for _ in range(2):
        middle = (low + probes) // 2
        if middle in (low, probes):
            break
        if recall(middle) >= target:
            probes = middle
        else:
            low = middle
    return probes


def nearest(
    store: IndexStore, shards: Sequence[Shard], live: Mapping[str, int], own: Sequence[str]
) -> list[set[str]]:
    """Return the exact nearest faces to each query, itself left out, as the shards noted them."""
    best: list[list[tuple[float, str]]] = [[] for _ in own]
    for shard in shards:
        gone = set(shard.gone(live))
        with np.load(io.BytesIO(store.folder.read(shard.name + REFERENCE))) as file:
            columns = [file[key].tolist() for key in ("similarity", "faces", "parts")]
        for query, (scores, faces, parts) in enumerate(zip(*columns, strict=True)):
            best[query] += [
                (-score, face.decode())
                for score, face, part in zip(scores, faces, parts, strict=True)
                if part and part.decode() not in gone and face.decode() != own[query]
            ]
    return [{face for _, face in sorted(found)[:NEAREST]} for found in best]


def mismatch(lake: Lake, theirs: str, mine: str) -> LakeMismatchError:
    """Return the error for an index of another model."""
    return LakeMismatchError(
        f"The index of {lake.folder.url} was made of vectors of {theirs}, the lake has those of "
        f"{mine}; make it again: facelake search-index {lake.folder.url} --full"
    )
