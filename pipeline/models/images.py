"""Turns PIL images, arrays and tensors into upright RGB arrays."""

import sys
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from pipeline.arrays import Pixels
from pipeline.errors import ConfigError
from pipeline.imaging.modes import to_rgb

if TYPE_CHECKING:
    import torch

ImageLike: TypeAlias = "Image.Image | npt.NDArray[np.uint8] | torch.Tensor"


def as_rgb(image: ImageLike) -> Pixels:
    """Return an image as uint8 [H, W, 3] RGB.

    A PIL image of any mode is turned upright by its EXIF. Arrays are [H, W], [H, W, 1], RGB or
    RGBA [H, W, C]; tensors are [C, H, W] or [H, W]; both uint8, or floats that hold 0..255.

    Raises:
        ConfigError: another shape or type.
    """
    if isinstance(image, Image.Image):
        return to_rgb(ImageOps.exif_transpose(image))
    torch = sys.modules.get("torch")  # who has a tensor has imported it, which takes a second
    if torch is not None and isinstance(image, torch.Tensor):
        array = image.detach().numpy(force=True)
        array = (
            array if array.ndim == 2 else np.moveaxis(array, 0, -1) if array.ndim == 3 else array
        )
    else:
        array = np.asarray(image)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise ConfigError(
            f"an image of shape {tuple(np.shape(image))} cannot be used; give arrays [H, W], "
            "[H, W, 3] or [H, W, 4], tensors [3, H, W], or PIL images"
        )
    if array.dtype != np.uint8:
        inside = array.min() >= 0 and array.max() <= 255  # neither holds of NaN
        if not np.issubdtype(array.dtype, np.floating) or not inside:
            raise ConfigError(
                f"an image of {array.dtype} from {array.min()} to {array.max()} cannot be used; "
                "give uint8, or floats from 0 to 255"
            )
        if array.max() <= 1 and array.max() > 0:
            raise ConfigError("an image of floats from 0 to 1 cannot be used; multiply it by 255")
        array = np.rint(array).astype(np.uint8)
    if array.shape[2] == 4:
        return to_rgb(Image.fromarray(np.ascontiguousarray(array)))
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))
