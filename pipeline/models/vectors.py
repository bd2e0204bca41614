"""What all embedders check about their crops and vectors."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Floats32
from pipeline.errors import WeightsError
from pipeline.models.cards.card import ModelCard

Crops = NDArray[np.uint8]


def check_crops(card: ModelCard, crops: NDArray[Any]) -> None:
    """Raise ValueError unless crops are uint8 [N, S, S, 3], S the input size of the card."""
    size = card.input_size
    if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (size, size, 3):
        raise ValueError(
            f"{card.name} takes crops uint8 [N, {size}, {size}, 3], "
            f"not {crops.dtype} {list(crops.shape)}"
        )


def network_input(card: ModelCard, crops: Crops) -> Floats32:
    """Return what the network of `card` sees of crops: float32 [N, 3, S, S], contiguous."""
    x = crops if card.colour == "RGB" else crops[..., ::-1]
    mean, std = np.asarray(card.mean, np.float32), np.asarray(card.std, np.float32)
    return np.ascontiguousarray(((x - mean) / std).transpose(0, 3, 1, 2))


def empty(card: ModelCard) -> tuple[Floats32, Floats32]:
    """Return the vectors and norms of no crops."""
    return np.zeros((0, card.dimension), np.float32), np.zeros(0, np.float32)


def unit_vectors(card: ModelCard, raw: Floats32) -> tuple[Floats32, Floats32]:
    """Split float [N, D] into unit vectors [N, D] and norms [N].

    Raises:
        WeightsError: a vector is zero or not finite. Any uint8 crop gives a finite vector with
            sound weights, so the weights or the card are wrong, not the photo.
    """
    norms = np.linalg.norm(raw.astype(np.float64), axis=1).astype(np.float32)
    bad = int((~(np.isfinite(norms) & (norms > 0))).sum())
    if bad:
        raise WeightsError(
            f"{card.name} gave {bad} of {len(raw)} vectors that are zero or not finite; its "
            "weights are damaged, or mean and std in its card are wrong (`facelake weights verify`)"
        )
    return raw / norms[:, None], norms
