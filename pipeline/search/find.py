"""Finds faces like one: in the index where there is one, among all others exactly."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.arrays import Floats32
from pipeline.errors import ConfigError, StorageError
from pipeline.lake.store import LakeStore
from pipeline.search.build import mismatch
from pipeline.search.exact import search_parts
from pipeline.search.models import LakeModels
from pipeline.search.probe import Choice, Photo, Probe, take_face
from pipeline.search.reader import Reader
from pipeline.search.settings import has_faiss
from pipeline.search.store import IndexStore
from pipeline.search.topk import Hit, TopK
from pipeline.search.vectors import locate, no_such_face, sizes_of, vectors_by_id

logger = logging.getLogger(__name__)
# A build that ends while the index is opened takes its files away; the next look finds new ones.
TRIES = 3


@dataclass(frozen=True)
class How:
    """How a search was done.

    Attributes:
        kind: "exact", or the kind of the index.
        indexed, compared: parts that were searched in the index, and exactly.
    """

    kind: str
    indexed: int
    compared: int


class Searcher:
    """A lake that is open for searching; models and index are loaded once, when needed.

    Args:
        lake: path, URL or lake.
        exact: compare every face even where there is an index.
        models: the lake's own, where they are loaded already, or not where they are looked for.
        storage_options: of the lake, if it is given by its path, and of photos at URLs.

    Raises:
        ConfigError: there is no lake.
        LakeMismatchError: its index was made of another model's vectors.
    """

    def __init__(
        self,
        lake: LakeStore | str | os.PathLike[str],
        *,
        exact: bool = False,
        models: LakeModels | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        options = storage_options or {}
        self.lake = lake if isinstance(lake, LakeStore) else LakeStore(os.fspath(lake), options)
        self.options = dict(storage_options or self.lake.folder.options)
        self.models = self.lake.existing_models()
        self.live = sizes_of(self.lake)
        self.reader = None if exact else self._open()
        indexed = self.reader.manifest.covered(self.live) if self.reader else set()
        self.rest = [name for name in self.live if name not in indexed]
        kind = self.reader.manifest.kind if self.reader else "exact"
        self.how = How(kind, len(indexed), len(self.rest))
        self._own = models or LakeModels(self.lake)

    def _open(self) -> Reader | None:
        store = IndexStore(self.lake)
        for left in reversed(range(TRIES)):
            manifest = store.manifest()
            if manifest is None:
                return None
            if manifest.embedder != self.models.embedder:
                raise mismatch(self.lake, manifest.embedder, self.models.embedder)
            if not has_faiss():
                logger.warning("FAISS is not installed: every face is compared; pip install "
                               "'facelake[search]' to use the index")  # fmt: skip
                return None
            try:
                return Reader(store, manifest, self.live)
            except (StorageError, FileNotFoundError):
                if not left:
                    raise
        return None

    def nearest(self, queries: Floats32, k: int) -> list[list[Hit]]:
        """Return the `k` faces that are most similar to each query, unit vectors float32 [Q, D].

        Raises:
            ConfigError: the vectors are not of the lake's length.
        """
        queries = np.atleast_2d(np.asarray(queries, np.float32))
        if queries.shape[1] != self.models.dimension:
            raise ConfigError(
                f"The vectors have {queries.shape[1]} numbers, those of {self.lake.folder.url} "
                f"{self.models.dimension}; embed them with {self.models.embedder}"
            )
        top = self.reader.search(queries, k) if self.reader else TopK(queries, k)
        return search_parts(self.lake, self.rest, queries, k, top)

    def vectors(self, face_ids: list[str]) -> dict[str, Floats32]:
        """Return the vectors of faces; those that the lake lacks are left out."""
        where = self.reader.locate(face_ids, self.live) if self.reader else {}
        missing = [face for face in face_ids if face not in where]
        return vectors_by_id(self.lake, where | locate(self.lake, missing, self.rest))

    def vector(self, face_id: str) -> Floats32:
        """Return the vector of a face.

        Raises:
            ConfigError: the lake has no such face.
        """
        found = self.vectors([face_id])
        if face_id not in found:
            raise no_such_face(self.lake, face_id)
        return found[face_id]

    def take(self, photo: Photo, choice: Choice = "largest") -> Probe:
        """Return the face of a photo; see `probe.take_face`."""
        return take_face(photo, self._own.detector, self._own.embedder, choice, self.options)
