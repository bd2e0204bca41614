"""Compiled loops for MTCNN on a CPU: sums of pixels, pyramid levels, crops, suppression.

Torch's "area" interpolation gives output cell i the mean of input rows floor(i * H / h) to
ceil((i + 1) * H / h). With a summed-area table (Crow 1984) that mean costs four look-ups however
large the cell is, so one table serves every pyramid level and every crop of its image. Sums are
whole numbers and wrap around in 32 bits; differences stay exact while a cell has less than
8 million pixels.

Tables of all images of a batch lie in one array, `sums` int32, one after the other: image i begins
at `start[i]` and is [height + 1, (width + 1) * 3], colours innermost. `sizes` [N, 2] are heights
and widths.

All kernels are in this one file: Numba compiles again when it changes, but would not notice a
change in another file that it calls.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Floats32, Ints
from pipeline.models.compiled import compiled, compiled_contracting

Sums = npt.NDArray[np.int32]

# (x - 127.5) * 0.0078125 brings 0..255 to about -1..1, as the networks were trained.
MIDDLE, SCALE = np.float32(127.5), np.float32(0.0078125)
CHANNELS = 10  # of P-net's first convolution
PATCH = 5  # side of what P-net's later layers see of the pooled features


class FirstLayer(NamedTuple):
    """P-net's first convolution and its PReLU: weight [10, 3, 3, 3], bias [10], slope [10]."""

    weight: Floats32
    bias: Floats32
    slope: Floats32


class Cells(NamedTuple):
    """Where the pixels of a level begin and end in a row of sums, and their widths, [n] each."""

    x0: Ints
    x1: Ints
    counts: Floats32


@compiled
def add_up(pixels: npt.NDArray[np.uint8], table: Sums) -> None:
    """Fill `table` int32 [H + 1, (W + 1) * 3] with the sums of `pixels` uint8 [H, W, 3]."""
    height, width, _ = pixels.shape
    for x in range(table.shape[1]):
        table[0, x] = 0
    for y in range(height):
        row, above, source = table[y + 1], table[y], pixels[y]
        row[0] = row[1] = row[2] = 0
        red = green = blue = np.int32(0)
        for x in range(width):
            red += np.int32(source[x, 0])
            green += np.int32(source[x, 1])
            blue += np.int32(source[x, 2])
            row[3 * x + 3] = red
            row[3 * x + 4] = green
            row[3 * x + 5] = blue
        for x in range(row.size):
            row[x] += above[x]


@compiled
def cut(sums: Sums, start: Ints, sizes: Ints, owner: Ints, corners: Ints, out: Floats32) -> None:
    """Fill `out` float32 [N, 3, side, side] with crops, cells averaged, normalised.

    `corners` [N, 4] are x1, y1, x2, y2 of image `owner` [N], the last two exclusive; none may be
    empty or leave its image.
    """
    side = out.shape[3]
    first, last = np.empty(side, np.int64), np.empty(side, np.int64)
    for n in range(len(corners)):
        image = owner[n]
        stride = 3 * (sizes[image, 1] + 1)
        left, top = corners[n, 0], corners[n, 1]
        width, height = corners[n, 2] - left, corners[n, 3] - top
        for x in range(side):
            first[x] = 3 * (left + x * width // side)
            last[x] = 3 * (left + ((x + 1) * width + side - 1) // side)
        for y in range(side):
            y0 = top + y * height // side
            y1 = top + ((y + 1) * height + side - 1) // side
            upper = sums[start[image] + y0 * stride : start[image] + (y0 + 1) * stride]
            lower = sums[start[image] + y1 * stride : start[image] + (y1 + 1) * stride]
            for x in range(side):
                a, b = first[x], last[x]
                count = np.float32((y1 - y0) * ((b - a) // 3))
                for c in range(3):
                    total = lower[b + c] - upper[b + c] - lower[a + c] + upper[a + c]
                    out[n, c, y, x] = (np.float32(total) / count - MIDDLE) * SCALE


@compiled
def _level_row(table: Sums, y: int, height: int, cells: Cells, line: Sums, out: Floats32) -> None:
    """Fill `out` [3, n] with row `y` of a pyramid level of `height` rows, normalised."""
    x0, x1, counts = cells
    rows = table.shape[0] - 1
    y0, y1 = y * rows // height, ((y + 1) * rows + height - 1) // height
    upper, lower = table[y0], table[y1]
    for x in range(line.size):
        line[x] = lower[x] - upper[x]
    tall = np.float32(y1 - y0)
    for c in range(3):
        plane = out[c]
        for x in range(len(x0)):
            total = np.float32(line[x1[x] + c] - line[x0[x] + c])
            plane[x] = (total / (counts[x] * tall) - MIDDLE) * SCALE


@compiled_contracting
def _convolve(
    a: Floats32, b: Floats32, c: Floats32, layer: FirstLayer, out: Floats32, larger: bool
) -> None:
    """Put one row of the first convolution and its PReLU into `out` [10, n - 2].

    `a`, `b`, `c` [3, n] are three rows of pixels. With `larger`, `out` keeps what is larger, the
    result or its old value. Written out, so that the 27 weights of a channel stay in registers.
    """
    weight, bias, slope = layer
    red_a, green_a, blue_a = a[0], a[1], a[2]
    red_b, green_b, blue_b = b[0], b[1], b[2]
    red_c, green_c, blue_c = c[0], c[1], c[2]
    for k in range(CHANNELS):
        r, g, u = weight[k, 0], weight[k, 1], weight[k, 2]
        r00, r01, r02, g00, g01, g02 = r[0, 0], r[0, 1], r[0, 2], g[0, 0], g[0, 1], g[0, 2]
        r10, r11, r12, g10, g11, g12 = r[1, 0], r[1, 1], r[1, 2], g[1, 0], g[1, 1], g[1, 2]
        r20, r21, r22, g20, g21, g22 = r[2, 0], r[2, 1], r[2, 2], g[2, 0], g[2, 1], g[2, 2]
        u00, u01, u02, u10, u11, u12 = u[0, 0], u[0, 1], u[0, 2], u[1, 0], u[1, 1], u[1, 2]
        u20, u21, u22 = u[2, 0], u[2, 1], u[2, 2]
        shift, steep, row = bias[k], slope[k], out[k]
        for x in range(row.size):
            v = shift + r00 * red_a[x] + r01 * red_a[x + 1] + r02 * red_a[x + 2]
            v = v + r10 * red_b[x] + r11 * red_b[x + 1] + r12 * red_b[x + 2]
            v = v + r20 * red_c[x] + r21 * red_c[x + 1] + r22 * red_c[x + 2]
            v = v + g00 * green_a[x] + g01 * green_a[x + 1] + g02 * green_a[x + 2]
            v = v + g10 * green_b[x] + g11 * green_b[x + 1] + g12 * green_b[x + 2]
            v = v + g20 * green_c[x] + g21 * green_c[x + 1] + g22 * green_c[x + 2]
            v = v + u00 * blue_a[x] + u01 * blue_a[x + 1] + u02 * blue_a[x + 2]
            v = v + u10 * blue_b[x] + u11 * blue_b[x + 1] + u12 * blue_b[x + 2]
            v = v + u20 * blue_c[x] + u21 * blue_c[x + 1] + u22 * blue_c[x + 2]
            v = v if v > 0 else steep * v
            if larger:
                v = v if v > row[x] else row[x]
            row[x] = v


@compiled_contracting
def _features(table: Sums, tile: Ints, layer: FirstLayer, out: Floats32) -> None:
    """Fill `out` [10, rows, columns] with P-net's pooled features of a tile.

    `table` [H + 1, (W + 1) * 3] is of the image, `tile` as of `atlas.TILE_FIELDS`. Pixels of the
    level exist three or four rows at a time only.
    """
    height, width, top, left = tile[2:6]
    rows, columns = out.shape[1], out.shape[2]
    image_width = table.shape[1] // 3 - 1
    begin, end = 2 * left, min(2 * (left + columns) + 2, width)
    pixels = end - begin
    x0, x1 = np.empty(pixels, np.int64), np.empty(pixels, np.int64)
    counts = np.empty(pixels, np.float32)
    for i in range(pixels):
        x0[i] = (begin + i) * image_width // width
        x1[i] = ((begin + i + 1) * image_width + width - 1) // width
        counts[i] = x1[i] - x0[i]
    first, last = 3 * x0[0], 3 * x1[pixels - 1] + 3
    cells = Cells(3 * x0 - first, 3 * x1 - first, counts)
    part = table[:, first:last]
    line = np.empty(last - first, np.int32)
    ring = np.empty((4, 3, pixels), np.float32)
    convolved = np.empty((CHANNELS, pixels - 2), np.float32)
    _level_row(part, 2 * top, height, cells, line, ring[0])
    _level_row(part, 2 * top + 1, height, cells, line, ring[1])
    for row in range(rows):
        y, at = 2 * (top + row), 2 * row & 3
        a, b, c, d = ring[at], ring[at + 1], ring[at + 2 & 3], ring[at + 3 & 3]
        _level_row(part, y + 2, height, cells, line, c)
        _convolve(a, b, c, layer, convolved, False)
        if y + 3 < height:  # the last cell of an odd level pools what there is (ceil_mode)
            _level_row(part, y + 3, height, cells, line, d)
            _convolve(b, c, d, layer, convolved, True)
        for k in range(CHANNELS):
            source, target = convolved[k], out[k, row]
            for x in range((pixels - 2) // 2):
                v, w = source[2 * x], source[2 * x + 1]
                target[x] = v if v > w else w
            if pixels & 1:
                target[columns - 1] = source[pixels - 3]


@compiled
def fill_atlas(
    sums: Sums, start: Ints, sizes: Ints, tiles: Ints, layer: FirstLayer, atlas: Floats32
) -> None:
    """Write P-net's pooled features of every tile to its place in `atlas` [10, rows, columns].

    `tiles` as of `atlas.TILE_FIELDS`. What lies between tiles stays as it was.
    """
    for t in range(len(tiles)):
        image, rows, columns, y, x = tiles[t, 0], tiles[t, 6], tiles[t, 7], tiles[t, 8], tiles[t, 9]
        tall, wide = sizes[image, 0] + 1, 3 * (sizes[image, 1] + 1)
        table = sums[start[image] : start[image] + tall * wide].reshape(tall, wide)
        place = atlas[:, y : y + rows, x : x + columns]
        _features(table, tiles[t], layer, place)


@compiled
def _count(answer: Floats32, tiles: Ints, least: float) -> int:
    """Return how many cells of all tiles are at least `least`; see `collect`."""
    count = 0
    for t in range(len(tiles)):
        rows, columns, y, x = tiles[t, 6:]
        for i in range(y, y + rows - PATCH + 1):
            for j in range(x, x + columns - PATCH + 1):
                count += answer[0, i, j] >= least
    return count


@compiled
def collect(
    answer: Floats32, atlas: Floats32, tiles: Ints, least: float
) -> tuple[Ints, Floats32, Floats32]:
    """Return the cells of all tiles whose first channel is at least `least`.

    Args:
        answer: float32 [5, rows - 4, columns - 4], of P-net's later layers on `atlas`.
        atlas: float32 [10, rows, columns].
        tiles: as of `fill_atlas`.
        least: a logit.

    Returns:
        int64 [N, 4], image, level, and row and column in the level; float32 [N, 5], the answer
        there; float32 [N, 10, 5, 5], what of the atlas it is the answer to.
    """
    count = _count(answer, tiles, least)
    cells = np.empty((count, 4), np.int64)
    values = np.empty((count, answer.shape[0]), np.float32)
    patches = np.empty((count, CHANNELS, PATCH, PATCH), np.float32)
    n = 0
    for t in range(len(tiles)):
        top, left, rows, columns, y, x = tiles[t, 4:]
        for i in range(y, y + rows - PATCH + 1):
            for j in range(x, x + columns - PATCH + 1):
                if answer[0, i, j] >= least:
                    cells[n, 0], cells[n, 1] = tiles[t, 0], tiles[t, 1]
                    cells[n, 2], cells[n, 3] = top + i - y, left + j - x
                    for c in range(answer.shape[0]):
                        values[n, c] = answer[c, i, j]
                    for c in range(CHANNELS):
                        for dy in range(PATCH):
                            for dx in range(PATCH):
                                patches[n, c, dy, dx] = atlas[c, i + dy, j + dx]
                    n += 1
    return cells, values, patches


@compiled
def suppress(
    boxes: Floats32, order: Ints, group: Ints, threshold: float, extra: float, over_smaller: bool
) -> Ints:
    """Return what greedy non-maximum suppression keeps of `order`, in that order.

    `order` [N] are indices of `boxes` [M, 4], best first inside a group; equal `group` [M] must lie
    together in it, and groups do not suppress each other. For the rest see `geometry.nms`.
    """
    count = len(order)
    kept = np.empty(count, np.int64)
    sorted_boxes = np.empty((count, 4), np.float32)
    area = np.empty(count, np.float32)
    alive = np.ones(count, np.bool_)
    last_pixel, limit = np.float32(extra), np.float32(threshold)
    for i in range(count):
        for j in range(4):
            sorted_boxes[i, j] = boxes[order[i], j]
        x1, y1, x2, y2 = sorted_boxes[i]
        area[i] = (x2 - x1 + last_pixel) * (y2 - y1 + last_pixel)
    count_kept = 0
    for i in range(count):
        if not alive[i]:
            continue
        kept[count_kept] = order[i]
        count_kept += 1
        x1, y1, x2, y2 = sorted_boxes[i]
        for j in range(i + 1, count):
            if group[order[j]] != group[order[i]]:
                break
            if not alive[j]:
                continue
            width = min(x2, sorted_boxes[j, 2]) - max(x1, sorted_boxes[j, 0]) + last_pixel
            height = min(y2, sorted_boxes[j, 3]) - max(y1, sorted_boxes[j, 1]) + last_pixel
            if width <= 0 or height <= 0:
                continue
            shared = width * height
            whole = min(area[i], area[j]) if over_smaller else area[i] + area[j] - shared
            # an empty box overlaps nothing
            if whole > 0 and shared / whole > limit:
                alive[j] = False
    return kept[:count_kept]
