"""What facenet-pytorch's interface takes as images: one or a batch, channels last."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image

from pipeline.arrays import Pixels
from pipeline.errors import ConfigError
from pipeline.imaging.modes import to_rgb
from pipeline.models.images import ImageLike, as_rgb

Images: TypeAlias = "ImageLike | Sequence[ImageLike]"
SavePath: TypeAlias = str | Path | Sequence[str | Path | None] | None


def is_batch(images: Images) -> bool:
    """Whether these are several images: a list, a tuple, or an array of four dimensions."""
    return isinstance(images, list | tuple) or getattr(images, "ndim", 0) == 4


def rgb_images(images: Images) -> list[Pixels]:
    """Return one image or a batch as a list of uint8 [H, W, 3] RGB."""
    batch: Iterable[Any] = images if is_batch(images) else [images]  # type: ignore[assignment]
    return [_rgb(image) for image in batch]


def _rgb(image: ImageLike) -> Pixels:
    """Return an image as it lies in memory: its EXIF does not turn it, unlike in `as_rgb`."""
    if isinstance(image, Image.Image):
        return to_rgb(image)
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        array = (image.float() if image.is_floating_point() else image).numpy()
    else:
        array = np.asarray(image)
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        raise ConfigError(
            f"an image of shape {array.shape} has its channels first; this interface takes them "
            "last, as facenet-pytorch does: image.permute(1, 2, 0)"
        )
    if array.dtype.kind in "iu" and array.size and array.min() >= 0 and array.max() <= 255:
        array = array.astype(np.uint8, copy=False)
    return as_rgb(array)


def matched(values: Any, count: int, what: str) -> list[Any]:
    """Return what belongs to each of `count` images of a batch.

    Raises:
        ConfigError: there are more or fewer.
    """
    if len(values) != count:
        raise ConfigError(f"there are {len(values)} {what} for {count} images; give one for each")
    return list(values)


def save_paths(save_path: SavePath, count: int) -> list[Path | None]:
    """Return where the faces of each of `count` images are saved.

    Raises:
        ConfigError: not one path an image, or an ending that Pillow does not write.
    """
    if save_path is None:
        return [None] * count
    given = [save_path] if isinstance(save_path, str | Path) else save_path
    paths = [None if path is None else Path(path) for path in matched(given, count, "save paths")]
    formats = Image.registered_extensions()
    for path in filter(None, paths):
        if formats.get(path.suffix.lower()) not in Image.SAVE:
            raise ConfigError(
                f"{path} does not end as a picture that can be written; "
                f"name it {path.stem or 'face'}.png"
            )
    return paths
