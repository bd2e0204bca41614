"""Cuts faces out and standardises them, as facenet-pytorch does with PIL images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from pipeline.errors import ConfigError
from pipeline.imaging import geometry
from pipeline.models.facenet.drop_in.batches import rgb_images, save_paths

if TYPE_CHECKING:
    from pipeline.models.images import ImageLike

Numbers = TypeVar("Numbers", Tensor, npt.NDArray[Any])


def extract_face(
    img: "ImageLike",
    box: Sequence[float] | npt.NDArray[Any],
    image_size: int = 160,
    margin: float = 0,
    save_path: str | Path | None = None,
) -> Tensor:
    """Return a face, float32 [3, image_size, image_size] from 0 to 255, RGB.

    Args:
        img: PIL image of any mode, array or tensor [H, W, C].
        box: x1, y1, x2, y2 in pixels; cut off at the border of the image.
        image_size: side of the crop, pixels.
        margin: pixels of the crop that lie around the box, both sides together.
        save_path: saved there as well, before any standardisation; folders are made.

    Raises:
        ConfigError: a margin as large as the crop, an ending that is no picture's.
    """
    if margin >= image_size:
        raise ConfigError(f"margin is {margin}; it must be smaller than image_size, {image_size}")
    (pixels,), (path,) = rgb_images(img), save_paths(save_path, 1)
    crop = geometry.crop_box(pixels, np.asarray(box, np.float64), image_size, margin)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(crop).save(path)
    return torch.from_numpy(crop.astype(np.float32)).permute(2, 0, 1).contiguous()


def fixed_image_standardization(image_tensor: Numbers) -> Numbers:
    """Return pixels from 0 to 255 as the networks take them: (x - 127.5) / 128."""
    return (image_tensor - 127.5) / 128.0


def prewhiten(x: Tensor) -> Tensor:
    """Return float pixels with mean 0 and standard deviation 1, as David Sandberg's facenet does.

    A flat image is divided by 1 / sqrt(number of values) instead of by 0.
    """
    least = x.numel() ** -0.5
    return (x - x.mean()) / x.std().clamp(min=least)
