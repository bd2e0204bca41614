"""Takes the face of a photo that is compared with others: decode, detect, choose, embed."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, Union

import numpy as np

from pipeline.arrays import Bytes, Floats32, Pixels
from pipeline.config import DecodeConfig
from pipeline.errors import ConfigError, ImageError, NoFaceError
from pipeline.imaging.sandbox import Sandbox
from pipeline.models.detector import FaceDetector, select
from pipeline.models.embedder import Embedder
from pipeline.models.faces import face_crops
from pipeline.models.images import ImageLike, as_rgb
from pipeline.storage.folder import split_file, visible

Choice = Literal["largest", "most-probable", "central"]
Photo: TypeAlias = Union[str, os.PathLike[str], ImageLike]  # noqa: UP007  # | takes no name as text


@dataclass(frozen=True)
class Probe:
    """The face that speaks for a photo.

    Attributes:
        name: the photo as it was given, fit for a terminal.
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
    choice: Choice = "largest",
    storage_options: Mapping[str, Any] | None = None,
) -> Probe:
    """Return the chosen face of a photo: path, URL, PIL image, array or tensor.

    Raises:
        NoFaceError: it has none.
        ConfigError: it cannot be decoded.
        StorageError: it cannot be read.
    """
    name, pixels, factor = read_photo(photo, storage_options or {})
    found = detector.detect(pixels)
    if not len(found):
        raise NoFaceError(
            f"No face was found in {name}; give a photo in which one can be seen, at least "
            f"{detector.config.min_face_px:g} pixels wide"
        )
    one = select(found, choice, pixels)
    crop = face_crops(pixels, one, embedder.card)
    x1, y1, x2, y2 = one.enlarged(factor).boxes[0].tolist()
    vector = np.asarray(embedder.embed(crop)[0][0], np.float32)
    return Probe(name, vector, (x1, y1, x2, y2), min(x2 - x1, y2 - y1), len(found), crop[0])


def read_photo(photo: Photo, options: Mapping[str, Any]) -> tuple[str, Bytes, int]:
    """Return what a photo is called, its upright pixels, and by what they are reduced."""
    if not isinstance(photo, str | os.PathLike):
        return "the image", as_rgb(photo), 1
    path = os.fspath(photo)
    folder, name = split_file(path, options if "://" in path else {})
    data = folder.read(name)
    try:
        with Sandbox(DecodeConfig()) as sandbox:  # as `index` does by default
            decoded, _ = sandbox.decode(data)
    except ImageError as error:
        raise ConfigError(f"{visible(path)} cannot be used: {error}") from error
    return visible(path), decoded.pixels, decoded.reduced
