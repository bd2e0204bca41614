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
from pipeline.models.cards.card import ModelCard, known_cards
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
        name: the photo or face as it was given.
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
    """What two faces say.

    Attributes:
        similarity: cosine of their vectors, from -1 to 1.
        probability: of one person, at `prior`; None: the model is not calibrated.
        prior: share of pairs of one person that the probability supposes; None without it.
        threshold: least similarity of one person; None: there is none.
        same: the decision, by threshold, without one by a probability of a half; None: neither.
        card: the embedder; None where the lake's is not known here.
        revision: of its weights.
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
        calibration: instead of the card's.
        storage_options: for photos at URLs.
        options: see below.

    Raises:
        NoFaceError: a photo has no face.
        ConfigError: a photo cannot be decoded, or an option is not possible.
    """
    config = build(VerifyConfig, options)
    finder = load_detector(detector) if isinstance(detector, str) else detector
    network = load_embedder(embedder) if isinstance(embedder, str) else embedder
    probes = [
        take_face(photo, finder, network, config.choice, storage_options)
        for photo in (first, second)
    ]
    sides = [Side(probe.name, None, probe.box, probe.faces) for probe in probes]
    scale = _Scale.of(network.card, network.revision, config, calibration)
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
    """Compare two faces of a lake by the vectors that it has: face ids, or photos by any name.

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
    card = known_cards().get(models.embedder.split("@")[0])
    return _Scale.of(card, models.embedder, config, calibration).verdict(vectors, sides)


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
    mine = pc.field("image_id") == image
    face = chosen_faces(lake, choice, mine).get(image)
    if face is None:
        raise NoFaceError(f"{visible(name)} has no face in {lake.folder.url}; give another photo")
    return Side(name, face, None, len(lake.read("faces", ["face_id"], mine)))


@dataclass(frozen=True)
class _Scale:
    """What similarities of one model mean."""

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
    ) -> "_Scale":
        """Take a calibration, or that of the card.

        Raises:
            ConfigError: it was made for other weights.
        """
        if calibration is None and card is not None and card.calibration is not None:
            # a lake of other weights of that name is not what the card speaks of
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
        made, prior = self.calibration, self.config.prior
        probability = made.probability(similarity, prior) if made else None
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
            (prior or made.prior) if made else None,
            threshold,
            same,
            made,
            self.card,
            self.revision,
            *sides,
        )
