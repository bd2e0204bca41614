"""Packs the pyramid levels of many images into a few arrays of one width.

P-net is fully convolutional, so its later layers give the same answer for a level wherever it lies
in a larger array. Photos of any sizes thus become a few calls of one shape, which spares what a
network runtime spends on every new shape (2.5 ms each, as much as a small level takes), and bounds
memory whatever the photo is. Levels larger than an atlas are cut into tiles that overlap by what
a cell sees of its neighbours.
"""

from collections.abc import Iterator

import numpy as np

from pipeline.arrays import Ints
from pipeline.models.compiled import compiled
from pipeline.models.mtcnn.kernels import PATCH

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
    """Cut `cells` into spans (start, length) of at most `most`, each answer in one of them.

    All but the last are as long as may be: they fill an atlas from side to side.
    """
    answers = cells - PATCH + 1
    step = most - PATCH + 1
    for start in range(0, answers, step):
        yield start, min(step, answers - start) + PATCH - 1


def pack(
    tiles: list[tuple[int, ...]],
    size: tuple[int, int] = (ROWS, COLUMNS),
    step: int = ROW_STEP,
    border: int = 0,
) -> Iterator[tuple[int, Ints]]:
    """Yield atlases: rows used, and tiles int64 [T, 10] with their places.

    Args:
        tiles: of `tiles_of`.
        size: rows and columns of an atlas in pooled cells.
        step: an atlas has a multiple of so many rows.
        border: rows and columns kept free behind each tile.
    """
    if not tiles:
        return
    table = np.array(tiles, np.int64)
    sides = table[:, 6:8] + border
    order = np.lexsort((-sides[:, 1], -sides[:, 0]))  # the highest first, of those the widest
    table, sides = table[order], sides[order]
    places = _lowest_places(sides, *size)
    for atlas in range(places[:, 0].max() + 1):
        inside = places[:, 0] == atlas
        rows = int((places[inside, 1] + sides[inside, 0]).max())
        yield -(-rows // step) * step, np.hstack([table[inside], places[inside, 1:]])


@compiled
def _lowest_places(sides: Ints, rows: int, columns: int) -> Ints:
    """Return atlas, row and column [N, 3] for rectangles of `sides` [N, 2], rows and columns.

    Each goes where its lower edge is highest, in the first atlas that has room: the
    skyline heuristic (Jylanki, "A Thousand Ways to Pack the Bin", 2010). Rows are counted from
    the top, `skyline[a, x]` is the first free one in column x.
    """
    count = len(sides)
    places = np.empty((count, 3), np.int64)
    skyline = np.zeros((count, columns), np.int64)
    atlases = 0
    for n in range(count):
        tall, wide = sides[n]
        for atlas in range(atlases + 1):
            best, at = rows + 1, -1
            x = 0
            while x + wide <= columns:
                lowest, last = 0, x
                for column in range(x, x + wide):
                    if skyline[atlas, column] >= lowest:
                        lowest, last = skyline[atlas, column], column
                if lowest + tall <= rows and lowest < best:
                    best, at = lowest, x
                # further left than past the column that stood in the way it gets no better
                x = last + 1 if lowest > 0 else columns
            if at >= 0:
                places[n, 0], places[n, 1], places[n, 2] = atlas, best, at
                skyline[atlas, at : at + wide] = best + tall
                atlases = max(atlases, atlas + 1)
                break
    return places
