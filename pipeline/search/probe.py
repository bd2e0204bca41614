"""The probe of a search: the face of a photo, decoded, detected, chosen and embedded."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, Union

import numpy as np

from pipeline.arrays import Bytes, Floats32, Pixels
from pipeline.config import OneFace, Selection
from pipeline.errors import NoFaceError
from pipeline.models.detector import FaceDetector, select
from pipeline.models.embedder import Embedder
from pipeline.models.faces import face_crops
from pipeline.models.images import ImageLike, as_rgb
from pipeline.sources.photo import decode_photo
from pipeline.storage.folder import visible

Photo: TypeAlias = Union[str, os.PathLike[str], ImageLike]  # noqa: UP007  # | takes no name as text


@dataclass(frozen=True)
class Probe:
    """The face that a photo is searched by.

    Attributes:
        name: the photo as the caller named it, safe to print.
        vector: float32 [D], unit norm.
        box: x1, y1, x2, y2 in pixels of the upright photo.
        size_px: shorter side of the box.
        faces: how many the photo has.
        crop: the aligned face, uint8 [S, S, 3].
    """

    name: str
    vector: Floats32
    box: tuple[float, float, float, float]
    size_px: float
    faces: int
    crop: Pixels


def take_face(
    photo: Photo,
    detector: FaceDetector,
    embedder: Embedder,
    choice: OneFace = "largest",
    storage_options: Mapping[str, Any] | None = None,
) -> Probe:
    """Return the chosen face of a photo: path, URL, PIL image, array or tensor.

    Raises:
        NoFaceError: it has none.
        ConfigError: it cannot be decoded.
        StorageError: it cannot be read.
    """
    return take_faces(photo, detector, embedder, choice, storage_options)[0]


def take_faces(
    photo: Photo,
    detector: FaceDetector,
    embedder: Embedder,
    choice: Selection = "all",
    storage_options: Mapping[str, Any] | None = None,
) -> list[Probe]:
    """Return the chosen faces of a photo, all from left to right; raises what `take_face` does."""
    name, pixels, factor = read_photo(photo, storage_options or {})
    detections = detector.detect(pixels)
    if not len(detections):
        raise NoFaceError(
            f"No face was found in {name}; give a photo in which one can be seen, at least "
            f"{detector.config.min_face_px:g} pixels wide"
        )
    faces = select(detections, choice, pixels)
    crops = face_crops(pixels, faces, embedder.card)
    vectors = np.asarray(embedder.embed(crops)[0], np.float32)
    probes = []
    for crop, vector, box in zip(crops, vectors, faces.enlarged(factor).boxes, strict=True):
        x1, y1, x2, y2 = box.tolist()
        size = min(x2 - x1, y2 - y1)
        probes.append(Probe(name, vector, (x1, y1, x2, y2), size, len(detections), crop))
    return sorted(probes, key=lambda one: one.box)


def read_photo(photo: Photo, options: Mapping[str, Any]) -> tuple[str, Bytes, int]:
    """Return a photo's name, its upright pixels, and the factor that they are reduced by."""
    if not isinstance(photo, str | os.PathLike):
        return "the image", as_rgb(photo), 1
    path = os.fspath(photo)
    _, decoded, _ = decode_photo(path, options)
    return visible(path), decoded.pixels, decoded.reduced
