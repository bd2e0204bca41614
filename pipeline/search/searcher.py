"""Finds similar faces: through the vector index where there is one, by comparing all elsewhere."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.arrays import Floats32
from pipeline.config import OneFace
from pipeline.errors import ConfigError, StorageError
from pipeline.lake.store import LakeStore
from pipeline.people.store import People
from pipeline.search.build import mismatch
from pipeline.search.exact import search_parts
from pipeline.search.models import LakeModels
from pipeline.search.probe import Photo, Probe, take_face, take_faces
from pipeline.search.reader import Reader
from pipeline.search.settings import has_faiss
from pipeline.search.store import IndexStore
from pipeline.search.topk import Hit, TopK
from pipeline.search.vectors import locate, no_such_face, sizes_of, vectors_by_id

logger = logging.getLogger(__name__)
# A build that ends while the index is being opened removes its files; the next try finds new ones.
TRIES = 3


@dataclass(frozen=True)
class Searched:
    """What a search looked at.

    Attributes:
        kind: "exact", or the kind of the index.
        indexed: parts that were searched through the index.
        compared: parts whose faces were all compared.
    """

    kind: str
    indexed: int
    compared: int


class Searcher:
    """A lake that is open for searching; models and index are loaded once, when needed.

    Args:
        lake: path, URL or lake.
        exact: compare every face even where there is an index.
        models: the lake's own models, to share loaded ones; None: they are loaded when needed.
        storage_options: for a lake that is given by its path, and for photos at URLs.
        people: the lake's own store of people, if there is one that keeps what it has read.

    Raises:
        ConfigError: there is no lake.
        LakeMismatchError: its index holds vectors of another model.
    """

    def __init__(
        self,
        lake: LakeStore | str | os.PathLike[str],
        *,
        exact: bool = False,
        models: LakeModels | None = None,
        storage_options: Mapping[str, Any] | None = None,
        people: People | None = None,
    ) -> None:
        options = storage_options or {}
        self.lake = lake if isinstance(lake, LakeStore) else LakeStore(os.fspath(lake), options)
        self.options = dict(storage_options or self.lake.folder.options)
        self.people = people
        self.models = self.lake.existing_models()
        self.live = sizes_of(self.lake)
        self.reader = None if exact else self._open()
        indexed = self.reader.manifest.covered(self.live) if self.reader else set()
        self.unindexed = [name for name in self.live if name not in indexed]
        kind = self.reader.manifest.kind if self.reader else "exact"
        self.searched = Searched(kind, len(indexed), len(self.unindexed))
        self._lake_models = models or LakeModels(self.lake)

    def _open(self) -> Reader | None:
        store = IndexStore(self.lake)
        for tries_left in reversed(range(TRIES)):
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
                if not tries_left:
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
        return search_parts(self.lake, self.unindexed, queries, k, top)

    def vectors(self, face_ids: list[str]) -> dict[str, Floats32]:
        """Return the vectors of faces; those that the lake lacks are left out."""
        parts = self.reader.locate(face_ids, self.live) if self.reader else {}
        missing = [face for face in face_ids if face not in parts]
        return vectors_by_id(self.lake, parts | locate(self.lake, missing, self.unindexed))

    def vector(self, face_id: str) -> Floats32:
        """Return the vector of a face.

        Raises:
            ConfigError: the lake has no such face.
        """
        vectors = self.vectors([face_id])
        if face_id not in vectors:
            raise no_such_face(self.lake, face_id)
        return vectors[face_id]

    def take_face(self, photo: Photo, choice: OneFace = "largest") -> Probe:
        """Return the face of a photo; see `probe.take_face`."""
        return take_face(
            photo, self._lake_models.detector, self._lake_models.embedder, choice, self.options
        )

    def take_faces(self, photo: Photo) -> list[Probe]:
        """Return all faces of a photo, from left to right; see `probe.take_faces`."""
        models = self._lake_models
        return take_faces(photo, models.detector, models.embedder, storage_options=self.options)
