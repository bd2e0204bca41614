"""Runs any ONNX embedder by its card; SFace is the bundled one."""

import logging
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from pipeline.arrays import Floats32
from pipeline.errors import WeightsError
from pipeline.models.cards.card import ModelCard
from pipeline.models.onnx.graph import read_model, simplify
from pipeline.models.vectors import Crops, check_crops, empty, network_input, unit_vectors
from pipeline.models.weights.store import sha256

logger = logging.getLogger(__name__)

# SFace on one thread, faces/s by batch: 77 at 1, 71 at 2, 62 at 4, 55 at 16: caches
BATCH = 1
GPU_BATCH = 128
ERRORS_ONLY = 3  # ONNX Runtime's severity; below it warns of every folded initialiser


class OnnxEmbedder:
    """An embedder in ONNX Runtime.

    Args:
        path: a model of one input [N, 3, S, S] or [1, 3, S, S] and one output [N, D].
        threads: inside one operator; one a worker is fastest in sum.
        device: "cpu", or "cuda" with an optional ":index".

    Attributes:
        revision: name and weights, as the lake records them.

    Raises:
        WeightsError: the file is no such model, or does not give what the card says.
    """

    def __init__(self, card: ModelCard, path: Path, threads: int = 1, device: str = "cpu") -> None:
        self.card = card
        self.revision = f"{card.name}@{sha256(path)[:12]}"
        model = read_model(path)
        graph = simplify(model)
        fixed = self._check_shape(path, graph)
        providers = _providers(device)
        self._batch = BATCH if len(providers) == 1 else GPU_BATCH
        try:
            freed = fixed == 1 < self._batch and self._try_free_batch(model, threads, providers)
            if not freed:
                self._batch = 1 if fixed else self._batch
                self._session = _session(graph, threads, providers)
            self._probe(path)
        except _RUNTIME_ERRORS as error:
            raise WeightsError(f"ONNX Runtime cannot run {path}: {error}") from error

    def embed(self, crops: Crops) -> tuple[Floats32, Floats32]:
        """Map aligned faces to vectors.

        Args:
            crops: uint8 [N, S, S, 3], RGB.

        Returns:
            Unit vectors float32 [N, D], and their norms before normalisation float32 [N].
        """
        check_crops(self.card, crops)
        if not len(crops):
            return empty(self.card)
        raw = [
            self._run(crops[start : start + self._batch])
            for start in range(0, len(crops), self._batch)
        ]
        return unit_vectors(self.card, np.concatenate(raw))

    def _run(self, crops: Crops) -> Floats32:
        name = self._session.get_inputs()[0].name
        output = self._session.run(None, {name: network_input(self.card, crops)})[0]
        return np.asarray(output, np.float32).reshape(len(crops), -1)

    def _try_free_batch(
        self, model: onnx.ModelProto, threads: int, providers: list[object]
    ) -> bool:
        """Try a model exported for a batch of one on several; keep it if they do not mix."""
        try:
            self._session = _session(simplify(model, free_batch=True), threads, providers)
            faces = _noise(self.card.input_size, 3)
            alone = np.concatenate([self._run(faces[i : i + 1]) for i in range(3)])
            together = self._run(faces)
        except (*_RUNTIME_ERRORS, ValueError) as error:
            logger.debug("%s runs one face at a time: %s", self.card.name, error)
            return False
        tolerance = 1e-3 * float(np.abs(alone).max())
        return alone.shape == together.shape and bool(np.abs(alone - together).max() <= tolerance)

    def _check_shape(self, path: Path, model: onnx.ModelProto) -> int:
        """Return the batch that the model is fixed to, 0 if any."""
        inputs, outputs = model.graph.input, model.graph.output
        if len(inputs) != 1 or len(outputs) != 1:
            names = ", ".join(value.name for value in (*inputs, *outputs))
            raise WeightsError(
                f"{path} has {len(inputs)} inputs and {len(outputs)} outputs ({names}); "
                "an embedder has one of each"
            )
        dims = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim]
        size = self.card.input_size
        wanted = (3, size, size)
        if len(dims) != 4 or any(d and d != w for d, w in zip(dims[1:], wanted, strict=True)):
            raise WeightsError(
                f"{path} takes {dims} (0: any), not [N, 3, {size}, {size}] as its card says"
            )
        if dims[0] > 1:
            raise WeightsError(f"{path} takes exactly {dims[0]} faces; export it for N, or for 1")
        return int(dims[0])

    def _probe(self, path: Path) -> None:
        shape = self._run(_noise(self.card.input_size, 1)).shape
        if shape != (1, self.card.dimension):
            raise WeightsError(
                f"{path} gives vectors of {shape[1]} numbers; its card says "
                f"dimension = {self.card.dimension}"
            )


# what onnxruntime raises is not exported as classes; they derive from RuntimeError or Exception
_RUNTIME_ERRORS = (
    RuntimeError,
    onnxruntime.capi.onnxruntime_pybind11_state.Fail,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph,
    onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented,
    onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException,
)


def _noise(size: int, faces: int) -> Crops:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (faces, size, size, 3), dtype=np.uint8)


def _session(
    model: onnx.ModelProto, threads: int, providers: list[object]
) -> "onnxruntime.InferenceSession":
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    # idle threads of one worker would take the cores of the others
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        model.SerializeToString(), sess_options=options, providers=providers
    )


def _providers(device: str) -> list[object]:
    cpu = "CPUExecutionProvider"
    if device == "cpu":
        return [cpu]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        logger.warning("onnxruntime here knows no CUDA (onnxruntime-gpu does); using the CPU")
        return [cpu]
    return [("CUDAExecutionProvider", {"device_id": int(device.partition(":")[2] or 0)}), cpu]
