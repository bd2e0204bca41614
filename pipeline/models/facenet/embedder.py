"""Runs the FaceNet embedders: InceptionResnetV1 under torch, on CPU or GPU."""

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.arrays import Floats32
from pipeline.errors import ResourceError
from pipeline.models.cards.card import ModelCard
from pipeline.models.drift import LEAST_COSINE, lowest_cosine, probe_faces
from pipeline.models.facenet import gpu as gpu_embedding
from pipeline.models.facenet.inception_resnet_v1 import InceptionResnetV1, load_weights
from pipeline.models.runtime import Precision
from pipeline.models.vectors import Crops, check_crops, empty, unit_vectors
from pipeline.models.weights.checkpoint import read_checkpoint
from pipeline.models.weights.store import sha256

logger = logging.getLogger(__name__)

BATCH = 16  # a CPU gains nothing beyond; 16 faces need about 0.2 GB of activations
GPU_BATCH = 128


class FaceNetEmbedder:
    """An InceptionResnetV1 with its weights.

    Args:
        threads: of torch, for the whole process; None leaves them as they are.
        device: as torch names it: "cpu", "cuda", "cuda:1".
        precision: of a GPU; None takes bfloat16 where real faces keep their vectors.

    Attributes:
        precision: the one that was taken.
        revision: name and weights, as the lake records them.

    Raises:
        WeightsError: the file is no checkpoint of this network.
        ResourceError: the device is not there.
    """

    def __init__(
        self,
        card: ModelCard,
        path: Path,
        device: str = "cpu",
        threads: int | None = None,
        precision: Precision | None = None,
    ) -> None:
        self.card = card
        self.revision = f"{card.name}@{sha256(path)[:12]}"
        if threads is not None:
            torch.set_num_threads(threads)
        network = InceptionResnetV1().eval()
        load_weights(network, read_checkpoint(path), str(path))
        try:
            self.device = torch.device(device)
            # NHWC: 1.2 times NCHW on a CPU (measured), and what tensor cores want
            # the stubs of torch lack this keyword
            self.network: InceptionResnetV1 = network.to(self.device).to(  # type: ignore[call-overload]
                memory_format=torch.channels_last
            )
        except (RuntimeError, AssertionError) as error:  # torch asserts that it has CUDA
            raise ResourceError(f"Cannot use the device {device!r}: {error}") from error
        self._batch = BATCH if self.device.type == "cpu" else GPU_BATCH
        self._mean = torch.tensor(card.mean, device=self.device)
        self._std = torch.tensor(card.std, device=self.device)
        self.precision: Precision = "float32"
        if self.device.type != "cpu":
            self.precision = precision or self._fastest()

    @torch.inference_mode()
    def embed(self, crops: Crops) -> tuple[Floats32, Floats32]:
        """Map faces to vectors.

        Args:
            crops: uint8 [N, S, S, 3], RGB.

        Returns:
            Unit vectors float32 [N, 512], and their norms before normalisation float32 [N].
        """
        check_crops(self.card, crops)
        if not len(crops):
            return empty(self.card)
        raw = []
        for start in range(0, len(crops), self._batch):
            batch = crops[start : start + self._batch]
            if self.card.colour == "BGR":
                batch = batch[..., ::-1]
            if self.device.type != "cpu":
                raw.append(self._on_gpu(batch, self.precision))
                continue
            # crops of an Arrow column are read-only, which torch warns about: copy
            x = self._normalised(torch.from_numpy(batch.copy()))
            raw.append(self.network.features(x).float().cpu().numpy())
        return unit_vectors(self.card, np.concatenate(raw))

    def _normalised(self, batch: Tensor) -> Tensor:
        # NHWC in memory, seen as NCHW: channels_last without another copy
        return ((batch.float() - self._mean) / self._std).permute(0, 3, 1, 2)

    @torch.inference_mode()
    def _on_gpu(self, batch: Crops, precision: Precision) -> Floats32:
        x = self._normalised(gpu_embedding.upload(batch, self.device))
        vectors: Floats32 = gpu_embedding.embed(self.network.features, x, precision).numpy(
            force=True
        )
        return vectors

    def _fastest(self) -> Precision:
        """Return bfloat16 if it keeps the vectors of real faces, with these weights on this GPU."""
        faces = probe_faces(self.card.input_size)
        cosine = lowest_cosine(*(self._on_gpu(faces, how) for how in ("float32", "bfloat16")))
        if cosine >= LEAST_COSINE:
            return "bfloat16"
        logger.debug("%s stays in float32: cosine %.6f in bfloat16", self.card.name, cosine)
        return "float32"
