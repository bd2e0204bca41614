"""Packs the pyramid levels of many images into few arrays of one width.

P-net is fully convolutional, so its later layers give the same answer for a level wherever it lies
in a larger array. Photos of any sizes thus become a few calls of one shape, which spares what a
network runtime spends on every new shape (2.5 ms each, as much as a small level takes), and bounds
memory whatever the photo is. Levels larger than an atlas are cut into tiles that overlap by what
a cell sees of its neighbours.
"""

import math
from collections.abc import Iterator

import numpy as np

from pipeline.models.kernels import PATCH, Ints

# Pooled cells, 2 pixels of a level each. The answers of an atlas fit a CPU's second-level cache
# in parts; larger ones are not faster.
ROWS, COLUMNS = 128, 512
# An atlas is cut off below what is used, in steps, so that its shapes are few.
ROW_STEP = 16
# Columns of a tile: the image, number, height and width of the level, first row and column of the
# tile in pooled cells of the level, its rows and columns, and its place in the atlas.
TILE_FIELDS = ("image", "level", "height", "width", "top", "left", "rows", "columns", "y", "x")


def pooled(side: int) -> int:
    """Return how many pooled cells a side of a level has: 3 x 3 convolution, 2 x 2 maximum."""
    return -(-(side - 2) // 2)


def tiles_of(
    image: int, level: int, height: int, width: int, *, most: tuple[int, int] = (ROWS, COLUMNS)
) -> Iterator[tuple[int, ...]]:
    """Yield the tiles of a level of `height` x `width` pixels, without a place yet.

    `most` are the rows and columns of pooled cells that a tile may have.
    """
    for top, rows in _spans(pooled(height), most[0]):
        for left, columns in _spans(pooled(width), most[1]):
            yield image, level, height, width, top, left, rows, columns


def _spans(cells: int, most: int) -> Iterator[tuple[int, int]]:
    """Cut `cells` into spans (start, length) of at most `most`, each answer in one of them."""
    answers = cells - PATCH + 1
    count = math.ceil(answers / (most - PATCH + 1))
    step = math.ceil(answers / count)
    for start in range(0, answers, step):
        yield start, min(step, answers - start) + PATCH - 1


def pack(
    tiles: list[tuple[int, ...]],
    size: tuple[int, int] = (ROWS, COLUMNS),
    step: int = ROW_STEP,
    border: int = 0,
) -> Iterator[tuple[int, Ints]]:
    """Yield atlases: rows used, and tiles int64 [T, 10] with their places.

    First fit by falling height, on shelves.

    Args:
        tiles: of `tiles_of`.
        size: rows and columns of an atlas in pooled cells.
        step: an atlas has a multiple of so many rows.
        border: rows and columns kept free behind each tile.
    """
    shelves: list[list[int]] = []  # of all atlases: atlas, y, height, columns used
    used: list[int] = []  # rows, by atlas
    placed: list[list[tuple[int, ...]]] = []
    for tile in sorted(tiles, key=lambda tile: -tile[6]):
        rows, columns = tile[6] + border, tile[7] + border
        # heights fall, so whatever fits in width fits
        shelf = next((s for s in shelves if s[3] + columns <= size[1]), None)
        if shelf is None:
            atlas = next((a for a, y in enumerate(used) if y + rows <= size[0]), len(used))
            if atlas == len(used):
                used.append(0)
                placed.append([])
            shelf = [atlas, used[atlas], rows, 0]
            shelves.append(shelf)
            used[atlas] += rows
        placed[shelf[0]].append((*tile, shelf[1], shelf[3]))
        shelf[3] += columns
    for rows, mine in zip(used, placed, strict=True):
        yield -(-rows // step) * step, np.array(mine, np.int64)
