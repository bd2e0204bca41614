"""Embeds with torch on a GPU: pinned uploads, and the precision of each call."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pipeline.arrays import Pixels
from pipeline.models.device import exact
from pipeline.models.runtime import Precision

Features = Callable[[Tensor], Tensor]


def embed(features: Features, x: Tensor, precision: Precision) -> Tensor:
    """Return float32 vectors; in float32 nothing is rounded to TF32.

    In bfloat16, torch's autocast keeps what needs more of it in float32.
    """
    if precision == "bfloat16":
        with torch.autocast(x.device.type, torch.bfloat16):
            return features(x).float()
    with exact():
        return features(x).float()


def upload(batch: Pixels, device: torch.device) -> Tensor:
    """Return crops, uint8, on the device, sent from pinned memory without waiting."""
    pinned = torch.empty(batch.shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
    np.copyto(pinned.numpy(), batch)
    return pinned.to(device, non_blocking=True)
