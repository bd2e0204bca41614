"""Summed-area tables on a device of torch: pyramid levels and crops of many images by gathers.

Torch's "area" interpolation gives output cell i the mean of input rows floor(i * H / h) to
ceil((i + 1) * H / h). With a summed-area table (Crow 1984) that mean costs four look-ups however
large the cell is, so one table serves every pyramid level and every crop of its image. Sums are
whole numbers and wrap around in 32 bits; differences stay exact while a cell has less than
8 million pixels.

Unlike on a CPU (`kernels`) a table is planar, [3, H + 1, W + 1]: neighbouring threads read
neighbouring numbers, and sums along rows run in parallel.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.models.mtcnn.kernels import MIDDLE, SCALE


@dataclass(frozen=True, slots=True)
class DeviceTables:
    """Summed-area tables of several images in one array.

    Attributes:
        sums: int32, table after table.
        start: int64 [images], where the table of an image begins.
        height, width: int64 [images].
    """

    sums: Tensor
    start: Tensor
    height: Tensor
    width: Tensor

    @classmethod
    def of(cls, pixels: Tensor, runs: list[tuple[int, int, int]], images: Tensor) -> "DeviceTables":
        """Sum up images.

        Args:
            pixels: uint8, image after image, [H, W, 3] each.
            runs: (count, height, width) of images of one size that follow each other; each run
                is summed up at once.
            images: int64 [images, 3], start of the table, height and width, in any order.
        """
        length = sum(count * 3 * (height + 1) * (width + 1) for count, height, width in runs)
        sums = torch.zeros(length, dtype=torch.int32, device=pixels.device)
        source = target = 0
        for count, height, width in runs:
            ends = (source + count * height * width * 3, target + table_size(height, width) * count)
            run = pixels[source : ends[0]].view(count, height, width, 3)
            table = sums[target : ends[1]].view(count, 3, height + 1, width + 1)
            # in place: nothing but pixels and table takes memory
            table[:, :, 1:, 1:].copy_(run.permute(0, 3, 1, 2))
            table.cumsum_(3).cumsum_(2)
            source, target = ends
        return cls(sums, *images.unbind(1))

    def means(
        self, top: Tensor, bottom: Tensor, left: Tensor, right: Tensor, count: Tensor
    ) -> Tensor:
        """Return normalised means, float32, of the shape that the arguments broadcast to.

        Args:
            top: int64, where the first row of a cell begins in `sums`.
            bottom: where the row past its last begins.
            left: int64, first column.
            right: the one past the last.
            count: pixels of each cell, int64.
        """
        total = self.sums.take(bottom + right)
        total -= self.sums.take(bottom + left)
        total -= self.sums.take(top + right)
        total += self.sums.take(top + left)
        return ((total.float() / count.float()) - float(MIDDLE)) * float(SCALE)

    def windows(self, image: Tensor, y0: Tensor, y1: Tensor, x0: Tensor, x1: Tensor) -> Tensor:
        """Return the means of grids of cells, float32 [N, 3, rows, columns].

        Args:
            image: int64 [N].
            y0: int64 [N, rows], first row of a cell.
            y1: the one past its last.
            x0: int64 [N, columns], first column.
            x1: the one past its last.
        """
        stride = (self.width[image] + 1)[:, None]
        planes = torch.arange(3, device=image.device) * (self.height[image] + 1)[:, None] * stride
        origin = (self.start[image][:, None] + planes)[:, :, None]  # [N, 3, 1]
        top, bottom = (origin + (y * stride)[:, None] for y in (y0, y1))
        count = (y1 - y0)[:, None, :, None] * (x1 - x0)[:, None, None, :]
        left, right = x0[:, None, None], x1[:, None, None]
        return self.means(top[..., None], bottom[..., None], left, right, count)

    def crops(self, image: Tensor, corners: Tensor, side: int) -> Tensor:
        """Return crops, float32 [N, 3, side, side].

        `corners` int64 [N, 4] are x1, y1, x2, y2 of `image` [N], the last two exclusive; none may
        be empty or leave its image.
        """
        low, size = corners[:, :2, None], (corners[:, 2:] - corners[:, :2])[:, :, None]
        steps = torch.arange(side, device=corners.device)
        first, last = bins(steps, size, side)
        (x0, y0), (x1, y1) = (low + first).unbind(1), (low + last).unbind(1)
        return self.windows(image, y0, y1, x0, x1)


def table_size(height: int, width: int) -> int:
    """Return how many numbers the table of an image has."""
    return 3 * (height + 1) * (width + 1)


def bins(cell: Tensor, size: Tensor, cells: Tensor | int) -> tuple[Tensor, Tensor]:
    """Return the first input index, and the one past the last, of output `cell` of `cells`."""
    return cell * size // cells, ((cell + 1) * size + cells - 1) // cells
