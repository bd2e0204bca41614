"""The answer of a search: similar faces, with their photos and persons."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import ConfigError
from pipeline.lake.store import LakeStore
from pipeline.options import build, takes
from pipeline.people.store import People
from pipeline.people.view import View, view
from pipeline.search.probe import Photo, Probe
from pipeline.search.searcher import Searched, Searcher
from pipeline.search.settings import SearchConfig
from pipeline.search.topk import Hit
from pipeline.search.vectors import rows_by_id


@dataclass(frozen=True)
class Match:
    """A face of the lake that is similar to the query.

    Attributes:
        similarity: cosine, from -1 to 1.
        face_id, uri: of the face and its photo.
        box: x1, y1, x2, y2 in pixels of the upright photo.
        person_id, name: of the person it was grouped with; None for nobody, or without a name.
        thumbnail: small JPEG of the aligned face, None if the lake keeps none.
    """

    similarity: float
    face_id: str
    uri: str
    box: tuple[float, float, float, float]
    person_id: str | None
    name: str | None
    thumbnail: bytes | None


@dataclass(frozen=True)
class SearchResult:
    """The answer of a search.

    Attributes:
        matches: the most similar first.
        probe: the face of the query photo; None when the query is a face of the lake.
        query_face: that face of the lake; None when the query is a photo.
        searched: how much was searched through the index, and how much without.
    """

    matches: list[Match]
    probe: Probe | None
    query_face: Match | None
    searched: Searched


@takes(SearchConfig)
def search(
    lake: Searcher | LakeStore | str | os.PathLike[str],
    image: Photo | None = None,
    *,
    face_id: str | None = None,
    **options: Any,
) -> SearchResult:
    """Return the faces of a lake that are most similar to a photo's, or to one of its own.

    Args:
        lake: path, URL, lake, or a `Searcher`, which keeps models and index for the next search.
        image: photo: path, URL, PIL image, array or tensor.
        face_id: a face of the lake instead of a photo; it is not among its own matches.
        options: see below.

    Raises:
        NoFaceError: the photo has no face.
        ConfigError: the photo cannot be decoded, or there is no such lake or face.
    """
    if (image is None) == (face_id is None):
        raise ConfigError("Give either a photo or a face_id to search for")
    config = build(SearchConfig, options)
    searcher = lake if isinstance(lake, Searcher) else Searcher(lake, exact=config.exact)
    probe = None if image is None else searcher.take_face(image, config.choice)
    return similar(searcher, config, probe, face_id)


def similar(
    searcher: Searcher, config: SearchConfig, probe: Probe | None, face_id: str | None = None
) -> SearchResult:
    """Return what `search` does, of a face that was taken from a photo or of one of the lake."""
    if probe is not None:
        vector = probe.vector
    else:
        assert face_id is not None
        vector = searcher.vector(face_id)
    hits = searcher.nearest(vector[np.newaxis], config.top + (face_id is not None))[0]
    query = [hit for hit in hits if hit.face_id == face_id]
    alike = [hit for hit in hits if hit.face_id != face_id][: config.top]
    if config.threshold is not None:
        alike = [hit for hit in alike if hit.similarity >= config.threshold]
    matches = describe(searcher.lake, [*query, *alike], searcher.people)
    query_face = matches[0] if query else None
    return SearchResult(matches[len(query) :], probe, query_face, searcher.searched)


def describe(lake: LakeStore, hits: list[Hit], store: People | None = None) -> list[Match]:
    """Return hits with their photos and persons; faces that are gone are left out.

    `store` is that of the lake, if there is one that keeps what it has read.
    """
    parts = {hit.face_id: hit.part for hit in hits}
    table = rows_by_id(lake, parts, ["uri", "box", "thumbnail"])
    rows = {row["face_id"]: row for row in table.to_pylist()}
    people = people_of(store or People(lake))
    persons = people.persons_of(parts) if people and parts else {}
    names: dict[str, str | None] = {}
    if people is not None:
        columns = people.people.select(["person_id", "name"]).to_pydict()
        names = dict(zip(*columns.values(), strict=True))
    return [
        Match(
            max(-1.0, min(1.0, hit.similarity)), hit.face_id, row["uri"], tuple(row["box"]),
            person := persons.get(hit.face_id), names.get(person) if person else None,
            row["thumbnail"],
        )
        for hit in hits if (row := rows.get(hit.face_id)) is not None
    ]  # fmt: skip


def people_of(people: People) -> View | None:
    """Return who is who, None when nobody has clustered the lake yet."""
    return None if people.current_or_none() is None else view(people)
