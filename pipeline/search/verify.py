"""Are two photos, or two faces of a lake, one person?

from pipeline.search.verify import verify

result = verify("a.jpg", "b.jpg", embedder="sface")
result.similarity, result.probability, result.same
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from pipeline.config import DEFAULT_EMBEDDER
from pipeline.errors import ConfigError, NoFaceError
from pipeline.lake.lookup import chosen_faces, find_images, vectors_of
from pipeline.lake.store import LakeStore
from pipeline.models.cards.calibration import Calibration
from pipeline.models.cards.card import ModelCard, card_of
from pipeline.models.detector import FaceDetector, load_detector
from pipeline.models.embedder import Embedder, load_embedder
from pipeline.options import build, takes
from pipeline.search.probe import Photo, take_face
from pipeline.search.settings import VerifyConfig
from pipeline.storage.folder import visible


@dataclass(frozen=True)
class Side:
    """One of the two faces.

    Attributes:
        name: the photo or face as the caller named it.
        face_id: in the lake; None for a photo.
        box: x1, y1, x2, y2 in the photo; None for a face of a lake.
        faces: how many the photo has.
    """

    name: str
    face_id: str | None
    box: tuple[float, float, float, float] | None
    faces: int


@dataclass(frozen=True)
class Verdict:
    """The answer of `verify`: how similar two faces are, and whether that is one person.

    Attributes:
        similarity: cosine of their vectors, from -1 to 1.
        probability: that they are one person, given `prior`; None: the model is not calibrated.
        prior: how likely one person is before looking; None without a probability.
        threshold: least similarity of one person; None: there is none.
        same: by the threshold, or else by a probability of at least a half; None without either.
        card: of the embedder; None for a lake's model that Facelake has no card of.
        revision: of the embedder's weights.
    """

    similarity: float
    probability: float | None
    prior: float | None
    threshold: float | None
    same: bool | None
    calibration: Calibration | None
    card: ModelCard | None
    revision: str
    first: Side
    second: Side


@takes(VerifyConfig)
def verify(
    first: Photo,
    second: Photo,
    embedder: str | Embedder = DEFAULT_EMBEDDER,
    *,
    detector: str | FaceDetector = "mtcnn",
    calibration: Calibration | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Verdict:
    """Compare the faces of two photos: paths, URLs, PIL images, arrays or tensors.

    Args:
        first: a photo.
        second: a photo.
        embedder: name, path of an ONNX model with its card, or a loaded one.
        detector: name, or a loaded one.
        calibration: to use instead of the card's.
        storage_options: for photos at URLs.
        options: see below.

    Raises:
        NoFaceError: a photo has no face.
        ConfigError: a photo cannot be decoded, or an option is not possible.
    """
    config = build(VerifyConfig, options)
    if isinstance(detector, str):
        detector = load_detector(detector)
    if isinstance(embedder, str):
        embedder = load_embedder(embedder)
    probes = [
        take_face(photo, detector, embedder, config.choice, storage_options)
        for photo in (first, second)
    ]
    sides = [Side(probe.name, None, probe.box, probe.faces) for probe in probes]
    scale = Scale.of(embedder.card, embedder.revision, config, calibration)
    return scale.verdict([probe.vector for probe in probes], sides)


@takes(VerifyConfig)
def verify_faces(
    lake: LakeStore,
    first: str,
    second: str,
    *,
    calibration: Calibration | None = None,
    **options: Any,
) -> Verdict:
    """Compare two faces of a lake by their stored vectors: face ids, or photos by any name.

    Raises:
        NoFaceError: a photo of the lake has no face.
        ConfigError: the lake has no such face or photo, or several.
    """
    config = build(VerifyConfig, options)
    if config.choice == "most-probable":
        raise ConfigError(
            "Photos of a lake have no probabilities to select by: select largest or central"
        )
    models = lake.existing_models()
    sides = [_side(lake, name, config.choice) for name in (first, second)]
    vectors = list(vectors_of(lake, [side.face_id or "" for side in sides]))
    card = card_of(models.embedder)
    return Scale.of(card, models.embedder, config, calibration).verdict(vectors, sides)


def _side(lake: LakeStore, name: str, choice: Literal["largest", "central"]) -> Side:
    if len(lake.read("faces", ["face_id"], pc.field("face_id") == name)):
        return Side(name, name, None, 1)
    images = find_images(lake)(name)
    if len(images) != 1:
        what = "no face or photo" if not images else f"{len(images)} photos"
        raise ConfigError(
            f"{lake.folder.url} has {what} called {visible(name)}; give a face_id, or a photo's "
            "image_id or uri"
        )
    image = next(iter(images))
    of_image = pc.field("image_id") == image
    face = chosen_faces(lake, choice, of_image).get(image)
    if face is None:
        raise NoFaceError(f"{visible(name)} has no face in {lake.folder.url}; give another photo")
    return Side(name, face, None, len(lake.read("faces", ["face_id"], of_image)))


@dataclass(frozen=True)
class Scale:
    """What the similarities of one model mean: its threshold and calibration."""

    card: ModelCard | None
    revision: str
    config: VerifyConfig
    calibration: Calibration | None

    @classmethod
    def of(
        cls,
        card: ModelCard | None,
        revision: str,
        config: VerifyConfig,
        calibration: Calibration | None,
    ) -> "Scale":
        """Use a calibration, or else the card's.

        Raises:
            ConfigError: it was made for other weights.
        """
        if calibration is None and card is not None and card.calibration is not None:
            # the card's calibration does not hold for other weights of the same name
            if card.calibration.embedder in ("", revision):
                calibration = card.calibration
        elif calibration is not None and calibration.embedder not in ("", revision):
            raise ConfigError(
                f"The calibration was made for {calibration.embedder}, the vectors are of "
                f"{revision}; make one on a lake of this model with facelake evaluate calibrate"
            )
        return cls(card, revision, config, calibration)

    def verdict(self, vectors: Sequence[npt.NDArray[Any]], sides: Sequence[Side]) -> Verdict:
        """Compare two vectors, unit vectors up to float32."""
        first, second = (np.asarray(vector, np.float64) for vector in vectors)
        similarity = float(np.clip(first @ second, -1, 1))
        calibration, prior = self.calibration, self.config.prior
        probability = calibration.probability(similarity, prior) if calibration else None
        threshold = self.config.threshold
        if threshold is None and self.card is not None:
            threshold = self.card.thresholds.get("verify")
        same = None
        if threshold is not None:
            same = similarity >= threshold
        elif probability is not None:
            same = probability >= 0.5
        return Verdict(
            similarity,
            probability,
            (prior or calibration.prior) if calibration else None,
            threshold,
            same,
            calibration,
            self.card,
            self.revision,
            *sides,
        )
