"""Searching the lake by a face or by a picture that is dropped on the page."""

import threading
from typing import TYPE_CHECKING

import numpy as np

from pipeline.config import DecodeConfig
from pipeline.errors import ConfigError, ImageError
from pipeline.imaging import geometry
from pipeline.imaging.sandbox import Sandbox
from pipeline.lake.store import LakeStore
from pipeline.models.weights.store import WeightStore
from pipeline.people.store import People

if TYPE_CHECKING:
    from pipeline.search.identity import Identity
    from pipeline.search.models import LakeModels
    from pipeline.search.results import SearchResult
    from pipeline.search.searcher import Searcher

TOP = 48


class Finder:
    """Searches; models and index are loaded by the first search.

    Pictures are decoded in a process of their own and never stored.

    Args:
        lake: to search.
        store: where weights lie.
        embedder: path of the lake's embedder, if Facelake does not know it by name.
        people: the lake's store of people, which keeps what it has read.
    """

    def __init__(
        self, lake: LakeStore, store: WeightStore | None = None, embedder: str | None = None,
        people: People | None = None,
    ) -> None:  # fmt: skip
        self._people = people
        self.lake = lake
        self._models: LakeModels | None = None
        self._store, self._embedder = store, embedder
        self._lock = threading.Lock()
        self._searcher: Searcher | None = None
        self._sandbox = Sandbox(DecodeConfig())

    def close(self) -> None:
        """End the process that decodes."""
        self._sandbox.close()

    def by_face(self, face_id: str) -> "SearchResult":
        """Return the faces most similar to a face of the lake.

        Raises:
            ConfigError: the lake has no such face.
        """
        from pipeline.search.results import search

        with self._lock:
            return search(self._open(), face_id=face_id, top=TOP)

    @property
    def models(self) -> "LakeModels":
        """The models of the lake, loaded when they are needed first."""
        from pipeline.search.models import LakeModels

        if self._models is None:
            self._models = LakeModels(self.lake, self._embedder, self._store)
        return self._models

    def by_picture(self, data: bytes) -> "tuple[SearchResult, list[Identity]]":
        """Return the faces most similar to the largest face of a picture, and who everybody is.

        Raises:
            ConfigError: it is not a picture, or has no face.
        """
        from pipeline.search.identity import everybody
        from pipeline.search.results import similar
        from pipeline.search.settings import IdentifyConfig, SearchConfig

        if not data:
            raise ConfigError("No picture was sent; choose a file first")
        try:
            decoded, _ = self._sandbox.decode(data)
        except ImageError as error:
            raise ConfigError(f"This file cannot be used as a picture: {error}") from error
        with self._lock:
            searcher = self._open()
            probes = searcher.take_faces(decoded.pixels)
            areas = geometry.areas(np.array([one.box for one in probes]))
            result = similar(searcher, SearchConfig(top=TOP), probes[int(np.argmax(areas))])
            return result, everybody(searcher, probes, IdentifyConfig(among="all"))

    def _open(self) -> "Searcher":
        """Return the open lake, opened again if it has other parts than before."""
        from pipeline.search.searcher import Searcher
        from pipeline.search.vectors import sizes_of

        if self._searcher is None or self._searcher.live != sizes_of(self.lake):
            self._searcher = Searcher(self.lake, models=self.models, people=self._people)
        return self._searcher
