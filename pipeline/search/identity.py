"""Which person of a lake a face is, or why none: templates of persons, a threshold and a margin."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Floats32
from pipeline.lake.columns import matrix
from pipeline.lake.store import LakeStore
from pipeline.models.cards.card import card_of
from pipeline.options import build, require, takes
from pipeline.people.person import EXEMPLARS
from pipeline.people.store import People
from pipeline.people.view import View
from pipeline.search.probe import Photo, Probe
from pipeline.search.results import people_of
from pipeline.search.searcher import Searcher
from pipeline.search.settings import IdentifyConfig

Among = Literal["named", "all"]
SHOWN = 5


@dataclass(frozen=True)
class Candidate:
    """A person that the face may be.

    Attributes:
        similarity: the greatest cosine to the person's exemplars and mean.
        person_id, name: None for a person without a name.
        face_id: the exemplar that is most similar.
        faces: how many the person has.
    """

    similarity: float
    person_id: str
    name: str | None
    face_id: str
    faces: int


@dataclass(frozen=True)
class Identity:
    """The answer of `identify`.

    Attributes:
        person: who it is; None when that was rejected.
        reason: why nobody was accepted, in words; None when there is a person.
        margin: how far the best candidate leads the next; None if there is only one.
        threshold: the least similarity that was accepted.
        candidates: the most similar persons, accepted or not.
        probe: the face of the photo.
    """

    person: Candidate | None
    reason: str | None
    margin: float | None
    threshold: float
    candidates: list[Candidate]
    probe: Probe


@dataclass(frozen=True)
class Templates:
    """What persons look like.

    Attributes:
        persons: rows of `people`.
        vectors: unit vectors float32 [M, D] of exemplars and means.
        owner: row of `persons` of each vector.
        faces: face id of each vector; None for a mean.
    """

    persons: list[dict[str, Any]]
    vectors: Floats32
    owner: np.ndarray
    faces: list[str | None]

    def rank(self, vector: Floats32) -> list[Candidate]:
        """Return the persons by falling similarity; equal ones by id."""
        scores = (self.vectors.astype(np.float64) * vector.astype(np.float64)).sum(axis=1)
        best = np.full(len(self.persons), -np.inf)
        np.maximum.at(best, self.owner, scores)
        nearest: dict[int, tuple[float, str]] = {}
        for row, (owner, face) in enumerate(zip(self.owner.tolist(), self.faces, strict=True)):
            if face is not None:
                nearest[owner] = max(nearest.get(owner, (-2.0, "")), (float(scores[row]), face))
        ranked = [
            Candidate(float(best[i]), one["person_id"], one["name"],
                      nearest.get(i, (0.0, one["cover_face_id"]))[1], one["faces"])
            for i, one in enumerate(self.persons) if np.isfinite(best[i])
        ]  # fmt: skip
        return sorted(ranked, key=lambda one: (-one.similarity, one.person_id))


@takes(IdentifyConfig)
def identify(
    lake: Searcher | LakeStore | str | os.PathLike[str], image: Photo, **options: Any
) -> Identity:
    """Return which person of a lake the face of a photo is, or why nobody.

    Args:
        lake: path, URL, lake, or an open `Searcher`.
        image: photo: path, URL, PIL image, array or tensor.
        options: see below.

    Raises:
        NoFaceError: the photo has no face.
        ConfigError: the photo cannot be decoded, or there is no such lake.
    """
    config = build(IdentifyConfig, options)
    searcher = lake if isinstance(lake, Searcher) else Searcher(lake)
    return _identities(searcher, [searcher.take_face(image, config.choice)], config)[0]


@takes(IdentifyConfig)
def identify_all(
    lake: Searcher | LakeStore | str | os.PathLike[str], image: Photo, **options: Any
) -> list[Identity]:
    """Return which persons of a lake the faces of a photo are, from left to right.

    Nobody is accepted for two faces of one photo: the more similar one has the person.

    Args:
        lake: path, URL, lake, or an open `Searcher`.
        image: photo: path, URL, PIL image, array or tensor.
        options: as of `identify`; `choice` has no meaning here.

    Raises:
        NoFaceError, ConfigError: as `identify`.
    """
    config = build(IdentifyConfig, options)
    searcher = lake if isinstance(lake, Searcher) else Searcher(lake)
    return everybody(searcher, searcher.take_faces(image), config)


def everybody(
    searcher: Searcher, probes: Sequence[Probe], config: IdentifyConfig
) -> list[Identity]:
    """Return what `identify_all` does, of all faces of a photo that were taken before."""
    found = _identities(searcher, probes, config)
    best: dict[str, float] = {}
    for one in found:
        if one.person is not None:
            person = one.person
            best[person.person_id] = max(best.get(person.person_id, -2.0), person.similarity)
    return [
        one
        if one.person is None or one.person.similarity == best[one.person.person_id]
        else replace(one, person=None, reason="another face of this photo is more like that person")
        for one in found
    ]


def _identities(
    searcher: Searcher, probes: Sequence[Probe], config: IdentifyConfig
) -> list[Identity]:
    threshold = config.threshold
    if threshold is None:
        threshold = default_threshold(searcher.lake)
    store = searcher.people or People(searcher.lake)
    people = people_of(store)
    known = store.once(
        f"templates {config.among}",
        lambda: templates(searcher, people, config.among) if people else None,
    )
    return [
        _identity(searcher.lake, probe, known.rank(probe.vector) if known else [],
                  replace(config, threshold=threshold), people is not None)
        for probe in probes
    ]  # fmt: skip


def _identity(
    lake: LakeStore, probe: Probe, ranked: list[Candidate], config: IdentifyConfig, clustered: bool
) -> Identity:
    """Return who a face is, or why nobody; `config.threshold` is set."""
    threshold = config.threshold or 0.0
    lead = ranked[0].similarity - ranked[1].similarity if len(ranked) > 1 else None
    reason = None
    if not ranked:
        what = "with a name " if clustered and config.among == "named" else ""
        advice = ("give names with facelake people, or look among all" if clustered
                  else f"run facelake cluster {lake.folder.url}")  # fmt: skip
        reason = f"the lake has no people {what}yet: {advice}"
    elif probe.size_px < config.min_face_px:
        reason = (f"the face is too small: {probe.size_px:.0f} pixels, {config.min_face_px:g} "
                  "are needed")  # fmt: skip
    elif ranked[0].similarity < threshold:
        reason = (f"nobody is similar enough: {ranked[0].similarity:.3f} is below the threshold "
                  f"{threshold:.3f}")  # fmt: skip
    elif lead is not None and lead < config.margin:
        reason = (f"two persons are too close: the best leads by {lead:.3f}, a margin of "
                  f"{config.margin:g} is needed")  # fmt: skip
    person = ranked[0] if reason is None else None
    return Identity(person, reason, lead, threshold, ranked[:SHOWN], probe)


def default_threshold(lake: LakeStore) -> float:
    """Return the least similarity of one person: clustering's threshold, else the model's."""
    about = People(lake).current_or_none() or {}
    calibrated = about.get("threshold", {}).get("single_faces")
    if calibrated is not None:
        return float(calibrated)
    models = lake.models()
    card = card_of(models.embedder) if models else None
    value = card.thresholds.get("verify") if card else None
    require(value is not None, "No threshold is known for this lake's embedder; give --threshold")
    assert value is not None
    return value


def templates(searcher: Searcher, people: View, among: Among = "named") -> Templates:
    """Return up to 8 exemplars and the mean of each person; hidden ones are left out."""
    table = people.people.filter(pc.invert(people.people["hidden"]))
    if among == "named":
        table = table.filter(pc.is_valid(table["name"]))
    persons: list[dict[str, Any]] = table.sort_by("person_id").to_pylist()
    faces = [face for one in persons for face in one["exemplars"][:EXEMPLARS]]
    vectors = searcher.vectors(faces) if faces else {}
    means = _means(searcher.lake, persons)
    rows: list[tuple[int, str | None, Floats32]] = []
    for at, one in enumerate(persons):
        exemplars = [face for face in one["exemplars"][:EXEMPLARS] if face in vectors]
        rows += [(at, face, vectors[face]) for face in exemplars]
        mean = means.get(one["person_id"])
        if mean is None and exemplars:
            mean = np.mean([vectors[face] for face in exemplars], axis=0)
        if mean is not None and (norm := float(np.linalg.norm(mean))) > 0:
            rows.append((at, None, (mean / norm).astype(np.float32)))
    stacked = [vector for *_, vector in rows]
    empty = np.zeros((0, searcher.models.dimension), np.float32)
    return Templates(persons, np.stack(stacked) if stacked else empty,
                     np.array([at for at, *_ in rows], np.int64),
                     [face for _, face, _ in rows])  # fmt: skip


def _means(lake: LakeStore, persons: list[dict[str, Any]]) -> dict[str, Floats32]:
    """Return the means that clustering computed, of persons whose faces did not change since."""
    ids = pa.array([one["person_id"] for one in persons], pa.string())
    if not len(ids):
        return {}
    table = People(lake).people(["person_id", "faces", "mean"], pc.field("person_id").isin(ids))
    face_counts = {one["person_id"]: one["faces"] for one in persons}
    means: list[Floats32] = list(matrix(table["mean"])) if len(table) else []
    rows = zip(table["person_id"].to_pylist(), table["faces"].to_pylist(), means, strict=True)
    return {person: mean for person, faces, mean in rows if face_counts[person] == faces}
