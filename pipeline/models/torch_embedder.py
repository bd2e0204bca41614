"""Runs the FaceNet embedders: InceptionResnetV1 under torch, on CPU or GPU."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import ResourceError
from pipeline.models import gpu_embedding
from pipeline.models.card import ModelCard
from pipeline.models.checkpoint import read_checkpoint
from pipeline.models.inception_resnet_v1 import InceptionResnetV1, load_weights
from pipeline.models.vectors import Crops, Floats, check_crops, empty, unit_vectors
from pipeline.models.weights import sha256

BATCH = 16  # a CPU gains nothing beyond; 16 faces need about 0.2 GB of activations
GPU_BATCH = 128


class FaceNetEmbedder:
    """An InceptionResnetV1 with its weights.

    Args:
        threads: of torch, for the whole process; None leaves them as they are.
        device: as torch names it: "cpu", "cuda", "cuda:1".

    Attributes:
        revision: name and weights, as the lake records them.

    Raises:
        WeightsError: the file is no checkpoint of this network.
        ResourceError: the device is not there.
    """

    def __init__(
        self, card: ModelCard, path: Path, device: str = "cpu", threads: int | None = None
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
        self._on_gpu = self.device.type == "cuda"
        self._half = self._on_gpu and self._may_be_half()

    @torch.inference_mode()
    def embed(self, crops: Crops) -> tuple[Floats, Floats]:
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
            if self._on_gpu:
                raw.append(self._embed_on_gpu(batch).cpu().numpy())
                continue
            # crops of an Arrow column are read-only, which torch warns about: copy
            x = self._normalised(torch.from_numpy(batch.copy()).to(self.device))
            raw.append(self.network.features(x).float().cpu().numpy())
        return unit_vectors(self.card, np.concatenate(raw))

    def _normalised(self, batch: Tensor) -> Tensor:
        # NHWC in memory, seen as NCHW: channels_last without another copy
        return ((batch.float() - self._mean) / self._std).permute(0, 3, 1, 2)

    def _embed_on_gpu(self, batch: Crops) -> Tensor:
        x = self._normalised(gpu_embedding.upload(batch, self.device))
        embed = gpu_embedding.embed_half if self._half else gpu_embedding.in_full
        return embed(self.network.features, x)

    @torch.inference_mode()
    def _may_be_half(self) -> bool:
        pictures = gpu_embedding.pictures(self.card.input_size)
        x = self._normalised(gpu_embedding.upload(pictures, self.device))
        return gpu_embedding.may_be_half(self.network.features, x)
