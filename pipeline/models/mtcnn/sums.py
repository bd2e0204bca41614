"""Summed-area tables of a batch of images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Ints, Pixels
from pipeline.models.mtcnn import kernels


@dataclass(frozen=True, slots=True)
class Tables:
    """Summed-area tables of several images in one array; see `kernels`."""

    sums: npt.NDArray[np.int32]
    start: Ints
    sizes: Ints

    @classmethod
    def of(cls, images: Sequence[Pixels]) -> "Tables":
        """Sum up images."""
        sizes = np.array([image.shape[:2] for image in images], np.int64)
        ends = ((sizes[:, 0] + 1) * (sizes[:, 1] + 1) * 3).cumsum()
        start = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
        sums = np.empty(int(ends[-1]), np.int32)
        for image, begin, end in zip(images, start, ends, strict=True):
            pixels = np.ascontiguousarray(image).view()
            pixels.flags.writeable = False  # Numba would compile once for each of the two kinds
            kernels.add_up(pixels, sums[begin:end].reshape(image.shape[0] + 1, -1))
        return cls(sums, start, sizes)
