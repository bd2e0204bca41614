"""Half precision for embedders on a GPU, only where it leaves the vectors what they are.

Whether it does depends on weights and GPU, so it is measured when a model is loaded, on pictures
made here: smooth random ones, on which drift was that of real faces (random weights: 1 - cosine of
2e-7 in float16 on both, 1.5e-5 in bfloat16). float16 for its smaller drift; it ends at 65504, so a
batch that passed that is done again in float32.
"""

import logging
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pipeline.geometry import Pixels
from pipeline.models.gpu_networks import exact

logger = logging.getLogger(__name__)

HALF = torch.float16
LEAST_COSINE = 0.9999
PICTURES = 16

Features = Callable[[Tensor], Tensor]


def pictures(size: int) -> Pixels:
    """Return smooth random pictures uint8 [16, size, size, 3], always the same."""
    coarse = np.random.default_rng(0).integers(0, 256, (PICTURES, 5, 5, 3), dtype=np.uint8)
    smooth = (Image.fromarray(c).resize((size, size), Image.Resampling.BICUBIC) for c in coarse)
    return np.stack([np.asarray(picture) for picture in smooth])


def may_be_half(features: Features, x: Tensor, dtype: torch.dtype = HALF) -> bool:
    """Return whether each vector of `x` in half precision has a cosine of 0.9999 to float32's."""
    cosine = torch.cosine_similarity(
        in_half(features, x, dtype).double(), in_full(features, x).double()
    )
    lowest = float(cosine.min())  # NaN where float16 overflows, which is not at least anything
    fits = lowest >= LEAST_COSINE
    logger.info("embedding in %s: cosine to float32 %.6f", dtype if fits else "float32", lowest)
    return fits


def embed_half(features: Features, x: Tensor) -> Tensor:
    """Return float32 vectors by half precision, or by float32 if one of them is not finite."""
    raw = in_half(features, x)
    return raw if bool(raw.isfinite().all()) else in_full(features, x)


def in_half(features: Features, x: Tensor, dtype: torch.dtype = HALF) -> Tensor:
    """Return float32 vectors, computed in half precision where torch's autocast finds it safe."""
    with torch.autocast(x.device.type, dtype):
        return features(x).float()


def in_full(features: Features, x: Tensor) -> Tensor:
    """Return float32 vectors, computed in float32 and not in TF32."""
    with exact():
        return features(x).float()


def upload(batch: Pixels, device: torch.device) -> Tensor:
    """Return uint8 crops on a GPU, sent from pinned memory without waiting."""
    pinned = torch.empty(batch.shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
    np.copyto(pinned.numpy(), batch)
    return pinned.to(device, non_blocking=True)
