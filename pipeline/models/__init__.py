"""Networks, weights, detectors and embedders; they know neither Ray nor the lake.

    from pipeline.models import load_detector, load_embedder

Names are imported when they are first used: torch alone takes seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.models.cards.card import ModelCard, find_card, known_cards
    from pipeline.models.detections import Detections
    from pipeline.models.detector import FaceDetector, load_detector
    from pipeline.models.embedder import Embedder, load_embedder
    from pipeline.models.facenet.inception_resnet_v1 import InceptionResnetV1
    from pipeline.models.faces import face_crops
    from pipeline.models.mtcnn.cpu import MTCNN
    from pipeline.models.weights.store import WeightStore

_HOMES = {
    "MTCNN": "mtcnn.cpu",
    "Detections": "detections",
    "Embedder": "embedder",
    "FaceDetector": "detector",
    "InceptionResnetV1": "facenet.inception_resnet_v1",
    "ModelCard": "cards.card",
    "WeightStore": "weights.store",
    "face_crops": "faces",
    "find_card": "cards.card",
    "known_cards": "cards.card",
    "load_detector": "detector",
    "load_embedder": "embedder",
}

__all__ = [
    "MTCNN",
    "Detections",
    "Embedder",
    "FaceDetector",
    "InceptionResnetV1",
    "ModelCard",
    "WeightStore",
    "face_crops",
    "find_card",
    "known_cards",
    "load_detector",
    "load_embedder",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
