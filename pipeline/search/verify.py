"""Are two photos, or two faces of a lake, one person?

from pipeline.search.verify import verify

result = verify("a.jpg", "b.jpg", embedder="sface")
result.similarity, result.probability, result.same
"""

from collections.abc import Mapping
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
from pipeline.models.weights.store import WeightStore
from pipeline.search.probe import Choice, Photo, take_face
from pipeline.storage.folder import visible

Vector = npt.NDArray[np.float64]


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


def verify(
    first: Photo,
    second: Photo,
    embedder: str | Embedder = DEFAULT_EMBEDDER,
    *,
    detector: str | FaceDetector = "mtcnn",
    choice: Choice = "largest",
    threshold: float | None = None,
    prior: float | None = None,
    calibration: Calibration | None = None,
    store: WeightStore | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Verdict:
    """Compare the faces of two photos: paths, URLs, PIL images, arrays or tensors.

    Args:
        first: a photo.
        second: a photo.
        embedder: name, path of an ONNX model with its card, or a loaded one.
        detector: name, or a loaded one.
        choice: which face speaks for a photo that has several.
        threshold: of similarity; None: the card's.
        prior: share of pairs of one person where this is asked; None: that of the calibration.
        calibration: instead of the card's.
        store: where weights lie.
        storage_options: for photos at URLs.

    Raises:
        NoFaceError: a photo has no face.
        ConfigError: a photo cannot be decoded, or an option is not possible.
    """
    store = store or WeightStore()
    check(threshold, prior)
    finder = load_detector(detector, store=store) if isinstance(detector, str) else detector
    network = load_embedder(embedder, store=store) if isinstance(embedder, str) else embedder
    probes = [
        take_face(photo, finder, network, choice, storage_options) for photo in (first, second)
    ]
    sides = [Side(probe.name, None, probe.box, probe.faces) for probe in probes]
    vectors = [probe.vector.astype(float) for probe in probes]
    return _verdict(vectors, sides, network.card, network.revision, threshold, prior, calibration)


def verify_faces(
    lake: LakeStore,
    first: str,
    second: str,
    *,
    choice: Literal["largest", "central"] = "largest",
    threshold: float | None = None,
    prior: float | None = None,
    calibration: Calibration | None = None,
) -> Verdict:
    """Compare two faces of a lake by the vectors that it has: face ids, or photos by any name.

    Raises:
        NoFaceError: a photo of the lake has no face.
        ConfigError: the lake has no such face or photo, or several.
    """
    check(threshold, prior)
    models = lake.existing_models()
    sides = [_side(lake, name, choice) for name in (first, second)]
    ids = [side.face_id or "" for side in sides]
    card = known_cards().get(models.embedder.split("@")[0])
    vectors = list(vectors_of(lake, ids))
    return _verdict(vectors, sides, card, models.embedder, threshold, prior, calibration)


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


def check(threshold: float | None, prior: float | None) -> None:
    """Raise ConfigError for numbers that cannot be."""
    if threshold is not None and not -1 <= threshold <= 1:
        raise ConfigError(f"The threshold is {threshold}; a cosine is from -1 to 1")
    if prior is not None and not 0 < prior < 1:
        raise ConfigError(f"The prior is {prior}; it must lie between 0 and 1")


def _verdict(
    vectors: list[Vector],
    sides: list[Side],
    card: ModelCard | None,
    revision: str,
    threshold: float | None,
    prior: float | None,
    calibration: Calibration | None,
) -> Verdict:
    # both are unit vectors up to float32
    similarity = float(np.clip(vectors[0] @ vectors[1], -1, 1))
    if calibration is None and card is not None and card.calibration is not None:
        # a lake of other weights of that name is not what the card speaks of
        speaks = card.calibration.embedder in ("", revision)
        calibration = card.calibration if speaks else None
    elif calibration is not None and calibration.embedder not in ("", revision):
        raise ConfigError(
            f"The calibration was made for {calibration.embedder}, the vectors are of {revision}; "
            "make one on a lake of this model with facelake evaluate calibrate"
        )
    probability = calibration.probability(similarity, prior) if calibration else None
    if threshold is None and card is not None:
        threshold = card.thresholds.get("verify")
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
        card,
        revision,
        sides[0],
        sides[1],
    )
