"""Pyramid levels of many images as few arrays of pixels, and where their answers are.

The tiles of `atlas.pack` lie in an array of pixels at even places, so that P-net, which pools two
by two and is convolutional otherwise, gives each the answers that it would give the level alone.
The last pooled cell of a level with an odd side pools only what there is (ceil_mode); here other
pixels lie behind it. So the results of the first convolution there are marked (`past`), and are
taken out before pooling.

An atlas is filled by a few launches whatever is in it: rows and columns of tiles are numbered,
then pixels, and each number is resolved by index arithmetic.
"""

import numpy as np
import torch
from torch import Tensor

from pipeline.arrays import Ints
from pipeline.models.mtcnn.cascade import PNET_CELL
from pipeline.models.mtcnn.gpu.boxes import before, spread
from pipeline.models.mtcnn.gpu.sums import DeviceTables, bins
from pipeline.models.mtcnn.kernels import PATCH

# Pixels that a tile has beyond two a pooled cell, and a level beyond its convolved positions.
MARGIN = 2


def fill(
    tables: DeviceTables, tiles: Tensor, planned: Ints, rows: int, columns: int
) -> tuple[Tensor, Tensor]:
    """Return an atlas: pixels float32 [1, 3, H, W] and `past` bool [1, 1, H - 2, W - 2].

    Args:
        tables: of the images.
        tiles: int64 [T, 10] on the device; see `atlas.TILE_FIELDS`.
        planned: the same on the host.
        rows: of the atlas, in cells of two by two pixels.
        columns: likewise.
    """
    tall = np.minimum(2 * planned[:, 6] + MARGIN, planned[:, 2] - 2 * planned[:, 4])
    wide = np.minimum(2 * planned[:, 7] + MARGIN, planned[:, 3] - 2 * planned[:, 5])
    image, _, height, width, top, left, high, broad, place_y, place_x = tiles.unbind(1)
    tall_ = torch.minimum(2 * high + MARGIN, height - 2 * top)
    wide_ = torch.minimum(2 * broad + MARGIN, width - 2 * left)

    tile, y = spread(tall_, int(tall.sum()))
    owner = image[tile]
    y_level = 2 * top[tile] + y
    y0, y1 = bins(y_level, tables.height[owner], height[tile])
    stride = tables.width[owner] + 1
    plane = stride * (tables.height[owner] + 1)
    above, below = tables.start[owner] + y0 * stride, tables.start[owner] + y1 * stride
    tall_cell, y_past = y1 - y0, past_end(y_level, height[tile])

    of, x = spread(wide_, int(wide.sum()))
    x_level = 2 * left[of] + x
    x0, x1 = bins(x_level, tables.width[image[of]], width[of])
    wide_cell, x_past = x1 - x0, past_end(x_level, width[of])

    # pixels: `row` of all rows, `column` of all columns, and where they lie in the atlas
    row, x = spread(wide_[tile], int((tall * wide).sum()))
    column = before(wide_)[tile][row] + x
    target = ((2 * place_y[tile] + y) * (2 * columns) + 2 * place_x[tile])[row] + x
    planes = torch.arange(3, device=tiles.device)[:, None] * plane[row]
    values = tables.means(
        above[row] + planes,
        below[row] + planes,
        x0[column],
        x1[column],
        tall_cell[row] * wide_cell[column],
    )
    pixels = torch.zeros(3, 4 * rows * columns, device=tiles.device)
    pixels[:, target] = values
    past = torch.zeros(4 * rows * columns, dtype=torch.bool, device=tiles.device)
    past[target] = y_past[row] | x_past[column]
    shape = (2 * rows, 2 * columns)
    return pixels.view(1, 3, *shape), past.view(1, 1, *shape)[:, :, :-MARGIN, :-MARGIN]


def past_end(position: Tensor, size: Tensor) -> Tensor:
    """Return which positions of the first convolution share a pooled cell but read past the level.

    In a level of `size` pixels positions end before size - 2, so the last cell lacks its second one
    where `size` is odd. No other position is taken out: a cell without any would be infinite, and a
    convolution that transforms blocks of its input (Winograd's) spreads that to its neighbours.
    """
    return (position == size - MARGIN) & (size % 2 == 1)


def answers_of(answer: Tensor, tiles: Tensor, planned: Ints) -> Tensor:
    """Return the answers of all tiles of an atlas, one tile after the other, row by row.

    `answer` [H, W] is P-net's of the atlas; the rest as of `fill`.
    """
    beside = PATCH - 1
    count = int(((planned[:, 6] - beside) * (planned[:, 7] - beside)).sum())
    high, broad, place_y, place_x = tiles[:, 6:].unbind(1)
    tile, k = spread((high - beside) * (broad - beside), count)
    wide = (broad - beside)[tile]
    y, x = k // wide, k % wide
    return answer.flatten()[(place_y[tile] + y) * answer.shape[1] + place_x[tile] + x]


def cells_of(number: Tensor, tiles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return level, row and column in the level of answers, int64 [N] each.

    `number` [N] counts the answers of `tiles` as `answers_of` gives them.
    """
    high, broad = tiles[:, 6] - PATCH + 1, tiles[:, 7] - PATCH + 1
    ends = (high * broad).cumsum(0)
    tile = torch.searchsorted(ends, number, right=True)
    k = number - (ends - high * broad)[tile]
    wide = broad[tile]
    return tiles[tile, 1], tiles[tile, 4] + k // wide, tiles[tile, 5] + k % wide


def patches(
    tables: DeviceTables, level: tuple[Tensor, Tensor, Tensor], y: Tensor, x: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what P-net sees of single cells: pixels [N, 3, 12, 12] and `past` [N, 1, 10, 10].

    `level` are image, height and width of each cell's level, int64 [N]; `y` and `x` count cells.
    """
    image, height, width = (number[:, None] for number in level)
    steps = torch.arange(PNET_CELL, device=y.device)
    rows, columns = 2 * y[:, None] + steps, 2 * x[:, None] + steps
    y_past, x_past = past_end(rows, height)[:, :-MARGIN], past_end(columns, width)[:, :-MARGIN]
    past = y_past[:, None, :, None] | x_past[:, None, None, :]
    rows, columns = torch.minimum(rows, height - 1), torch.minimum(columns, width - 1)
    y0, y1 = bins(rows, tables.height[image], height)
    x0, x1 = bins(columns, tables.width[image], width)
    return tables.windows(image[:, 0], y0, y1, x0, x1), past
