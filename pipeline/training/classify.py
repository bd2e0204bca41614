"""Tells the people on photos by a model.

from pipeline import classify

for photo in classify(["a.jpg"], "models/family"):
[(face.person, face.probability) for face in photo.faces]
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.arrays import Floats32
from pipeline.errors import ConfigError, StorageError
from pipeline.imaging import geometry
from pipeline.lake.store import Models
from pipeline.models.cards.card import views_of
from pipeline.models.detector import FaceDetector, load_detector
from pipeline.models.embedder import Embedder, load_embedder
from pipeline.models.faces import face_crops
from pipeline.models.weights.store import WeightStore
from pipeline.search.probe import Photo, read_photo
from pipeline.storage.folder import Folder, visible
from pipeline.training.export import own_embedder
from pipeline.training.model import HeadModel, load_model


@dataclass(frozen=True)
class Told:
    """Whom a face is told to be.

    Attributes:
        person: the label; None for nobody whom the model knows.
        person_id: of the lake that the model was learnt from, if its labels were from there.
        probability: that the face is the most likely person, who is `person` unless that is None.
        box: x1, y1, x2, y2 in pixels of the upright photo.
    """

    person: str | None
    person_id: str | None
    probability: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Classified:
    """The faces of a photo.

    Attributes:
        photo: as it was named, safe to print.
        faces: the largest first; empty where none was found.
        error: why the photo could not be used; None where it could.
    """

    photo: str
    faces: tuple[Told, ...]
    error: str | None = None


class Classifier:
    """A model with the detector and the embedder that it needs, which are loaded once.

    Args:
        model: folder of `facelake train`, path or URL, or a model that is loaded.
        embedder: path of the embedder, if Facelake does not know it by name.
        weights: where weights lie; None: the default store.
        storage_options: for a model and photos at URLs.
    """

    def __init__(
        self,
        model: HeadModel | str | os.PathLike[str],
        embedder: str | None = None,
        weights: WeightStore | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.options = dict(storage_options or {})
        folder = model if isinstance(model, HeadModel) else Folder(os.fspath(model), self.options)
        self.model = folder if isinstance(folder, HeadModel) else load_model(folder)
        self._embedder_path, self._weights = embedder, weights

    @cached_property
    def detector(self) -> FaceDetector:
        """The detector that found the faces that the model was learnt from."""
        return load_detector(self.model.models.names[0], store=self._weights)

    @cached_property
    def embedder(self) -> Embedder:
        """The embedder whose vectors the model knows.

        Raises:
            LakeMismatchError: the one here is another, or has other weights.
        """
        wanted = self.model.models
        if self.model.network and self._embedder_path is None:
            embedder = own_embedder(self.model.network)
        else:
            name = self._embedder_path or wanted.names[1]
            views = views_of(wanted.embedder)
            embedder = load_embedder(name, store=self._weights, views=views)
        here = Models(wanted.detector, embedder.revision, embedder.card.dimension)
        self.model.need(here, "the embedder here")
        return embedder

    def classify(self, photo: Photo) -> Classified:
        """Return the faces of a photo: path, URL, PIL image, array or tensor.

        Raises:
            LakeMismatchError: the embedder here is not the model's.
            ConfigError: the photo cannot be decoded.
            StorageError: it cannot be read.
        """
        name, pixels, factor = read_photo(photo, self.options)
        detections = self.detector.detect(pixels)
        if not len(detections):
            return Classified(name, ())
        vectors = self.embedder.embed(face_crops(pixels, detections, self.embedder.card))[0]
        return Classified(name, self.tell(vectors, detections.enlarged(factor).boxes))

    def tell(self, vectors: Floats32, boxes: Floats32) -> tuple[Told, ...]:
        """Return whom the faces of a photo are told to be, the largest first.

        Args:
            vectors: float32 [N, D].
            boxes: float32 [N, 4], x1, y1, x2, y2 in pixels of the upright photo.
        """
        evidence, probability, accepted = self.model.tell(vectors)
        told = [
            Told(
                self.model.labels[k] if yes else None, self.model.person_ids[k] if yes else None,
                float(p), (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
            )
            for k, p, yes, box in zip(evidence.person, probability, accepted, boxes, strict=True)
        ]  # fmt: skip
        size = geometry.shorter_sides(boxes)
        return tuple(told[k] for k in np.argsort(-size, kind="stable"))


def classify(
    photos: Photo | Sequence[Photo],
    model: Classifier | HeadModel | str | os.PathLike[str],
    **options: Any,
) -> list[Classified]:
    """Return the people on photos, by a model of `facelake train`.

    A photo that cannot be used has its `error`; the others are done.

    Args:
        photos: one or several: paths, URLs, PIL images, arrays or tensors.
        model: folder, path or URL; or a `Classifier`, which keeps what it has loaded.
        options: of `Classifier`.

    Raises:
        ConfigError: there is no such model, or it is not finished.
        LakeMismatchError: the embedder here is not the model's.
        StorageError: the model is damaged.
    """
    classifier = model if isinstance(model, Classifier) else Classifier(model, **options)
    _ = classifier.detector, classifier.embedder  # what is wrong with them is not a photo's error
    several: list[Any] = list(photos) if isinstance(photos, list | tuple) else [photos]
    results = []
    for photo in several:
        try:
            results.append(classifier.classify(photo))
        except (ConfigError, StorageError) as error:
            name = visible(os.fspath(photo)) if isinstance(photo, str | os.PathLike) else "image"
            results.append(Classified(name, (), str(error)))
    return results
