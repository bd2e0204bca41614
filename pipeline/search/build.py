"""Builds the vector index of a lake: new parts become shards, parts that are gone are dropped."""

import time
from collections.abc import Mapping
from dataclasses import replace

from pipeline.errors import ConfigError, LakeMismatchError
from pipeline.lake.checkpoints import Mapper, Progress, in_process
from pipeline.lake.store import LakeStore
from pipeline.search.measure import measure
from pipeline.search.reader import Reader
from pipeline.search.settings import FLAT, VectorIndexConfig, faiss
from pipeline.search.shards import build_shard, plan
from pipeline.search.store import IndexStore, Manifest
from pipeline.search.training import Recipe, train
from pipeline.search.vectors import rows_of, sizes_of

# Cells are trained for some number of faces; more than four times as many need new ones.
RETRAIN = 4
# Recall is measured again when there are a tenth more or fewer faces.
REMEASURE = 0.1


class Build:
    """One run of building; the caller holds the lake's lock.

    Args:
        lake: to index.
        config: how.
        mapper: runs the tasks that build shards.
        run_id: of the run.
        progress: called with step, done and total.
    """

    def __init__(
        self,
        lake: LakeStore,
        config: VectorIndexConfig | None = None,
        mapper: Mapper = in_process,
        run_id: str = "search-index",
        progress: Progress = lambda *_: None,
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
        models = self.lake.existing_models()
        live = sizes_of(self.lake)
        old = self._old(models.embedder)
        indexed = old.covered(live) if old else set()
        new_rows = rows_of(self.lake, [name for name in live if name not in indexed])
        counts = new_rows | {
            name: rows for shard in (old.shards if old else ())
            for name, (_, rows) in shard.parts.items() if name in indexed
        }  # fmt: skip
        total = sum(counts.values())
        if not total:
            raise ConfigError(f"{self.lake.folder.url} has no faces; there is nothing to index")
        kind = self.config.kind_for(total)
        cells = 0 if kind == FLAT else self.config.cells_for(total)
        if old is not None and self._retrain(old, kind, cells, total):
            old, new_rows = None, counts
        if old is None:
            self.progress("training", 0, 1)
            salt = self.run_id if self.config.full else ""
            recipe = Recipe(kind, cells, models.dimension, self.config.seed, salt)
            trained = train(self.lake, counts, live, recipe)
        else:
            trained, cells = old.trained, old.cells
        kept, to_build = plan(old.shards if old else (), live, new_rows, self.config, trained)
        arguments = [(self.lake, shard, kind, trained) for shard in to_build]
        for done, _ in enumerate(self.mapper(build_shard, arguments), start=1):
            self.progress("shards", done, len(to_build))
        shards = (*kept, *to_build)
        manifest = Manifest(
            self.run_id, models.embedder, models.dimension, kind, trained,
            old.trained_rows if old else total, cells, 0, self.config.recall, None, {}, 0, 0,
            sum(shard.rows for shard in shards), 0.0, shards,
            {"faiss": faiss().__version__},
        )  # fmt: skip
        manifest = self._measured(manifest, old, counts)
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

    def _measured(
        self, manifest: Manifest, old: Manifest | None, rows: Mapping[str, int]
    ) -> Manifest:
        """Return the manifest with its recall, and the fewest cells that reach it.

        While the lake has grown little since the last measurement, its figures stay: adding a few
        photos should cost little.
        """
        total = sum(rows.values())
        grown = abs(total - old.measured_rows) / max(1, old.measured_rows) if old else 1.0
        if old is not None and grown <= REMEASURE and old.target == self.config.recall:
            return replace(
                manifest, nprobe=old.nprobe, recall=old.recall, recalls=old.recalls,
                queries=old.queries, measured_rows=old.measured_rows,
            )  # fmt: skip
        self.progress("measuring", 0, 1)
        reader = Reader(self.store, manifest, sizes_of(self.lake))
        measured = measure(self.lake, reader, rows, self.config, self.mapper)
        return replace(
            manifest, nprobe=measured.nprobe, recall=measured.recall, recalls=measured.recalls,
            queries=measured.queries, measured_rows=total,
        )  # fmt: skip


def mismatch(lake: LakeStore, of_index: str, of_lake: str) -> LakeMismatchError:
    """Return the error for an index of another model."""
    return LakeMismatchError(
        f"The index of {lake.folder.url} was made of vectors of {of_index}, the lake has those of "
        f"{of_lake}; make it again: facelake search-index {lake.folder.url} --full"
    )
