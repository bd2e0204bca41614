"""Runs embedders on a CPU in OpenVINO: FaceNet's, and ONNX models that it runs as well."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.arrays import Floats32
from pipeline.errors import WeightsError
from pipeline.models.cards.card import ModelCard
from pipeline.models.drift import LEAST_COSINE, lowest_cosine, probe_faces
from pipeline.models.onnx.embedder import OnnxEmbedder
from pipeline.models.onnx.graph import read_model, simplify
from pipeline.models.runtime import Compiled, Precision, core, has_bfloat16, openvino
from pipeline.models.vectors import Crops, check_crops, empty, network_input, unit_vectors

logger = logging.getLogger(__name__)

# How far, as 1 - cosine, two runtimes in float32 may be apart.
RUNTIME_NOISE = 1e-5
BATCH = 8  # 16 are no faster, and take twice the memory


class OpenvinoEmbedder:
    """An embedder in OpenVINO; see `embedder.Embedder`.

    Args:
        revision: name and weights, as the lake records them.
        model: openvino.Model of one input [N, 3, S, S] and one output [N, D].
        threads: of one call.
        precision: None takes bfloat16 where the CPU has it and real faces keep their vectors.

    Attributes:
        precision: the one that was taken.
    """

    def __init__(
        self,
        card: ModelCard,
        revision: str,
        model: Any,
        threads: int = 1,
        precision: Precision | None = None,
    ) -> None:
        self.card = card
        self.revision = revision
        self.precision: Precision = precision or "float32"
        self._network = Compiled(model, self.precision, threads)
        if precision is None:
            self.try_bfloat16(model, threads)

    def try_bfloat16(self, model: Any, threads: int = 1) -> None:
        """Take bfloat16 from now on where the CPU has it and real faces keep their vectors."""
        if not has_bfloat16():
            return
        faces = probe_faces(self.card.input_size)
        exact, in_float32 = self._raw(faces), self._network
        self._network = Compiled(model, "bfloat16", threads)
        cosine = lowest_cosine(exact, self._raw(faces))
        if cosine >= LEAST_COSINE:
            self.precision = "bfloat16"
        else:
            logger.debug("%s stays in float32: cosine %.6f in bfloat16", self.card.name, cosine)
            self._network = in_float32

    def embed(self, crops: Crops) -> tuple[Floats32, Floats32]:
        """Map uint8 [N, S, S, 3] RGB to unit vectors float32 [N, D] and norms float32 [N]."""
        check_crops(self.card, crops)
        if not len(crops):
            return empty(self.card)
        return unit_vectors(self.card, self._raw(crops))

    def _raw(self, crops: Crops) -> Floats32:
        parts = []
        for start in range(0, len(crops), BATCH):
            x = network_input(self.card, crops[start : start + BATCH])
            # OpenVINO prepares for every new size of batch, 0.2 s for a large network: few sizes
            size = 1 << (len(x) - 1).bit_length()
            filled = np.concatenate([x, np.zeros((size - len(x), *x.shape[1:]), np.float32)])
            parts.append(self._network(filled)[: len(x)].reshape(len(x), -1).copy())
        return np.concatenate(parts)


def converted(
    onnx: OnnxEmbedder, path: Path, threads: int = 1, precision: Precision | None = None
) -> OpenvinoEmbedder | None:
    """Return an ONNX embedder in OpenVINO, if it gives real faces the vectors that `onnx` gives.

    None where OpenVINO cannot run the graph, or gives other vectors: two runtimes may understand a
    stranger's file in two ways.
    """
    if openvino() is None:
        return None
    card = onnx.card
    graph = simplify(read_model(path), free_batch=True, cheap_prelu=False)
    try:
        model = core().read_model(graph.SerializeToString())
        model.reshape({0: [-1, 3, card.input_size, card.input_size]})
        embedder = OpenvinoEmbedder(card, onnx.revision, model, threads, "float32")
        faces = probe_faces(card.input_size)
        cosine = lowest_cosine(onnx.embed(faces)[0], embedder.embed(faces)[0])
        if cosine < 1 - RUNTIME_NOISE:
            logger.debug("%s stays in ONNX Runtime: cosine %.7f", card.name, cosine)
            return None
        if precision is None:
            embedder.try_bfloat16(model, threads)
        if precision == "bfloat16":
            embedder = OpenvinoEmbedder(card, onnx.revision, model, threads, precision)
    except (RuntimeError, ValueError, WeightsError) as error:
        logger.debug("%s stays in ONNX Runtime: %s", card.name, error)
        return None
    return embedder
