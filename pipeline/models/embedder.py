"""Loads embedders by name, in whichever runtime runs them."""

from typing import Protocol

import numpy as np

from pipeline.arrays import Floats32
from pipeline.config import Licences, Views
from pipeline.errors import ConfigError, ResourceError
from pipeline.models.cards.card import FACENET, ModelCard, find_card, revision_of
from pipeline.models.runtime import Precision, has_bfloat16, openvino
from pipeline.models.vectors import Crops, unit_vectors
from pipeline.models.weights.store import WeightStore


class Embedder(Protocol):
    """Turns aligned faces into unit vectors.

    Attributes:
        card: how to make the crops, and what the vectors are.
        revision: `name@` and 12 hex digits of the weights, `+flip` behind them where a vector is
            of a face and its mirror image; one lake holds one revision.
    """

    card: ModelCard
    revision: str

    def embed(self, crops: Crops) -> tuple[Floats32, Floats32]:
        """Map uint8 [N, S, S, 3] RGB to unit vectors float32 [N, D] and norms float32 [N]."""
        ...


def load_embedder(
    name_or_path: str = "facenet-vggface2",
    *,
    store: WeightStore | None = None,
    device: str = "cpu",
    threads: int | None = None,
    precision: Precision | None = None,
    views: Views = "one",
) -> Embedder:
    """Load an embedder by name, or by the path of a card or of an ONNX file with a card.

    Args:
        name_or_path: see `find_card`.
        store: where weights lie; the default store without.
        device: "cpu", or "cuda" with an optional ":index".
        threads: CPU threads; None is 1, and leaves torch as it is.
        precision: None takes the fastest that keeps the vectors of real faces (see `drift`).
        views: "flip" makes a face's vector from it and its mirror image (see `Flipped`).

    Raises:
        ConfigError: no such model, or not an embedder.
        WeightsError: its weights are not available, or not what they should be.
        ResourceError: bfloat16 was asked for where there is none.
    """
    card = find_card(name_or_path, "embedder")
    embedder = _load(card, store or WeightStore(), device, threads, precision)
    return embedder if views == "one" else Flipped(embedder)


def load_pictures(name_or_path: str, licences: Licences | None = None) -> Embedder:
    """Load an embedder of whole pictures; one of faces is taken as such too.

    Raises:
        ConfigError: no such model, or a detector.
        WeightsError: see `load_embedder`.
    """
    card = find_card(name_or_path)
    if card.kind == "detector":
        raise ConfigError(f"{card.name} is a detector; an embedder of pictures is needed")
    return _load(card, WeightStore(licences=licences), "cpu", None, None)


class Flipped:
    """Gives a face the unit mean of its vector and that of its mirror image, at twice the cost.

    The card keeps what holds for such vectors; norms are the means of two.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.card = embedder.card.seen("flip")
        self.revision = revision_of(embedder.revision, "flip")

    def embed(self, crops: Crops) -> tuple[Floats32, Floats32]:
        """Map uint8 [N, S, S, 3] RGB to unit vectors float32 [N, D] and norms float32 [N]."""
        vectors, norms = self._embedder.embed(crops)
        mirrored, more = self._embedder.embed(np.ascontiguousarray(crops[:, :, ::-1]))
        return unit_vectors(self.card, vectors + mirrored)[0], np.mean([norms, more], axis=0)


def _load(
    card: ModelCard,
    store: WeightStore,
    device: str,
    threads: int | None,
    precision: Precision | None,
) -> Embedder:
    if precision == "bfloat16" and device == "cpu" and not has_bfloat16():
        raise ResourceError(
            "This CPU has no bfloat16, or OpenVINO, which would use it, is missing; "
            "use --precision auto or float32"
        )
    path = store.path(card)
    # each runtime is imported where it is needed: torch alone takes seconds
    on_openvino = device == "cpu" and openvino() is not None
    if card.runtime == FACENET and on_openvino:
        from pipeline.models.facenet.openvino import facenet_embedder

        facenet = facenet_embedder(card, path, threads or 1, precision)
        store.trust(card)
        return facenet
    if card.runtime == FACENET:
        from pipeline.models.facenet.embedder import FaceNetEmbedder

        network = FaceNetEmbedder(card, path, device, threads, precision)
        store.trust(card)
        return network
    from pipeline.models.onnx.embedder import OnnxEmbedder

    onnx = OnnxEmbedder(card, path, threads or 1, device)
    store.trust(card)
    if on_openvino:
        from pipeline.models.openvino.embedder import converted

        faster = converted(onnx, path, threads or 1, precision)
        if faster is not None:
            return faster
    if precision == "bfloat16":
        raise ResourceError(
            f"{card.name} runs in ONNX Runtime here, in float32; use --precision auto or float32"
        )
    return onnx
