"""Finds faces like one: in the index where there is one, among all others exactly."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.errors import ConfigError, LakeMismatchError, StorageError
from pipeline.geometry import Floats
from pipeline.lake.store import LakeStore
from pipeline.models.cards.card import find_card
from pipeline.models.detector import FaceDetector, load_detector
from pipeline.models.embedder import Embedder, load_embedder
from pipeline.models.weights.store import WeightStore
from pipeline.search.build import mismatch
from pipeline.search.exact import search_parts
from pipeline.search.probe import Choice, Photo, Probe, take_face
from pipeline.search.reader import Reader
from pipeline.search.settings import has_faiss
from pipeline.search.store import IndexStore
from pipeline.search.topk import Hit, TopK
from pipeline.search.vectors import locate, models_of, no_such_face, sizes_of, vectors_by_id

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
        embedder: path of the lake's own embedder, if Facelake does not know it by name.
        store: where weights lie.
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
        embedder: str | None = None,
        store: WeightStore | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        options = storage_options or {}
        self.lake = lake if isinstance(lake, LakeStore) else LakeStore(os.fspath(lake), options)
        self.options = dict(storage_options or self.lake.folder.options)
        self.models = models_of(self.lake)
        self.live = sizes_of(self.lake)
        self.reader = None if exact else self._open()
        indexed = self.reader.manifest.covered(self.live) if self.reader else set()
        self.rest = [name for name in self.live if name not in indexed]
        kind = self.reader.manifest.kind if self.reader else "exact"
        self.how = How(kind, len(indexed), len(self.rest))
        self._embedder_path, self._store = embedder, store

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

    def nearest(self, queries: Floats, k: int) -> list[list[Hit]]:
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

    def vectors(self, face_ids: list[str]) -> dict[str, Floats]:
        """Return the vectors of faces; those that the lake lacks are left out."""
        where = self.reader.locate(face_ids, self.live) if self.reader else {}
        missing = [face for face in face_ids if face not in where]
        return vectors_by_id(self.lake, where | locate(self.lake, missing, self.rest))

    def vector(self, face_id: str) -> Floats:
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
        return take_face(photo, self.detector, self.embedder, choice, self.options)

    @cached_property
    def detector(self) -> FaceDetector:
        """The lake's detector."""
        return load_detector(self.models.detector.split("@")[0], store=self._store)

    @cached_property
    def embedder(self) -> Embedder:
        """The lake's embedder.

        Raises:
            LakeMismatchError: the one that is here has other weights.
            ConfigError: it is not known by its name.
        """
        name = self._embedder_path or self.models.embedder.split("@")[0]
        try:
            find_card(name, "embedder")
        except ConfigError as error:
            raise ConfigError(
                f"The lake {self.lake.folder.url} was made with {self.models.embedder}, which is "
                "not known here; give the path of its ONNX file or card with --embedder"
            ) from error
        embedder = load_embedder(name, store=self._store)
        if embedder.revision != self.models.embedder:
            raise LakeMismatchError(
                f"The lake {self.lake.folder.url} has vectors of {self.models.embedder}, the model "
                f"here is {embedder.revision}; vectors of different models cannot be compared"
            )
        return embedder
