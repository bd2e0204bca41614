"""A second look at two pictures whose hashes are close: is one a copy, or another on its template?

Copies differ all over: by compression, size, light, blur. What a tone curve, a blur and an affine
shift do not explain is spread over a copy in proportion to its structure. Two certificates with
other names agree everywhere but in the name. So places are sought that differ far more than the
rest of the picture does. A watermark differs in one place too, but in one direction: it is lighter,
or darker, than what it covers. Another name, person or photo is both.
Constants were chosen on half of what docs/duplicates.md reports.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
from PIL import Image

from pipeline.arrays import Bools, Bytes, Floats32, Floats64

SIDE = 192  # of a look; a line of 3 % of the height has six rows
# Noise of pixels is blurred away; what varies slower than this belongs to light and colour.
BASE_BLUR, SLOW_BLUR = 0.75, 9.0
# Blurs by which one of two copies may differ from the other.
BLURS = (0.0, 0.6, 1.1, 1.9, 3.0)
WINDOW, STEP = 12, 6
# Grey levels that compression changes; variance from which a window has structure.
LEAST_LEVELS, STRUCTURE = 3.0, 50.0
# Shares of the residual that must be lighter and darker, within this reach of a window.
BOTH_WAYS, REACH = 0.05, 14.0
MOST_CONFLICT = 10.0
# Shares of the structure that are not explained, at most: of two whole pictures (a harsh blur), and
# where one had to be moved onto the other or lies inside its bars. Below the last they lie on each
# other, and no better fit is sought.
MOST_RESIDUAL, MOST_MOVED_RESIDUAL, GOOD_FIT = 0.5, 0.05, 0.02
COARSE = 64  # side at which looks are aligned
MOST_WARP = 0.2
LEVELS = 32


class Fit(NamedTuple):
    """How a look is explained by another.

    Attributes:
        conflict: the most that a window differs, in units of what the others do.
        residual: share of the structure that is not explained in the typical window.
    """

    conflict: float
    residual: float

    def is_copy(self, most_residual: float) -> bool:
        """Whether no place differs much more than the rest does, and that not too much."""
        return self.conflict <= MOST_CONFLICT and self.residual <= most_residual


def look(pixels: Bytes) -> Bytes:
    """Return a picture, uint8 [H, W, 3] RGB, as grey levels uint8 [SIDE, SIDE]."""
    grey = Image.fromarray(pixels).convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0))


def trimmed(one: Bytes, box: Floats64) -> Bytes:
    """Return a part of a look as a look; `box` is x1, y1, x2, y2 in shares of the sides."""
    image = Image.fromarray(one)
    part = tuple((SIDE * box).tolist())
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=part))


def are_one_picture(first: Sequence[Bytes], second: Sequence[Bytes]) -> bool:
    """Whether one of two pictures is a copy of the other.

    Each has one or two looks, uint8 [SIDE, SIDE]: of the whole, and of what lies inside bars where
    there are any.
    """
    pairs = sorted(
        product(enumerate(first), enumerate(second)), key=lambda pair: pair[0][0] != pair[1][0]
    )
    for (number, one), (other_number, other) in pairs:
        most = MOST_RESIDUAL if number == other_number else MOST_MOVED_RESIDUAL
        verdict = _verdict(one.astype(np.float32), other.astype(np.float32), most)
        if verdict is not None:
            return verdict
    return False


def _verdict(one: Floats32, other: Floats32, most_residual: float) -> bool | None:
    """Return whether two looks are of one picture; None: they do not lie on each other."""
    whole = np.ones(one.shape, bool)
    ways = (one, other), (other, one)
    direct = []
    for a, b in ways:
        direct.append(explained(a, b, whole))
        if direct[-1].is_copy(most_residual):
            return True
    if all(fit.residual < GOOD_FIT for fit in direct):
        return False
    for a, b in ways:
        matrix = aligned(a, b)
        if matrix is not None:
            fit = explained(*_moved(a, b, matrix))
            if fit.is_copy(MOST_MOVED_RESIDUAL):
                return True
    return None


def _moved(one: Floats32, other: Floats32, matrix: Floats64) -> tuple[Floats32, Floats32, Bools]:
    moved, covered = warped(one, matrix)
    return moved, other, covered


def explained(one: Floats32, other: Floats32, covered: Bools) -> Fit:
    """Return how well `other` follows from `one` by a tone curve and a blur.

    `covered` are the pixels that both looks have.
    """
    inside = _pooled(covered.astype(np.float32)) > 0.99
    wanted = _blurred(other, BASE_BLUR)
    wanted_detail = wanted - _blurred(wanted, SLOW_BLUR)
    least = np.inf
    for blur in BLURS:
        toned = _toned(_blurred(one, float(np.hypot(BASE_BLUR, blur))), wanted)
        detail = toned - _blurred(toned, SLOW_BLUR)
        left = _pooled((detail - wanted_detail) ** 2)
        usual = float(np.minimum(left[inside], np.quantile(left[inside], 0.8)).mean())
        if usual < 0.97 * least:
            least, best = usual, (toned - wanted, left, detail)
        elif usual > 1.2 * least:
            break
    difference, left, detail = best
    structure = np.maximum(_pooled(detail**2), _pooled(wanted_detail**2))
    floor = float(np.quantile(left[inside], 0.25))
    busy = inside & (structure > STRUCTURE)
    share = float(np.median(left[busy] / structure[busy])) if busy.sum() > 8 else 0.05
    conflict = left / (floor + LEAST_LEVELS**2 + share * structure)
    conflict *= np.minimum(1, _both_ways(np.where(covered, difference, 0), floor) / BOTH_WAYS)
    return Fit(float(conflict[inside].max()), share)


def _both_ways(difference: Floats32, floor: float) -> Floats32:
    """Return by window how far the difference around it is lighter and darker alike, 0 to 1."""
    least = 2 * np.sqrt(floor) + LEAST_LEVELS
    lighter, darker = (
        _blurred(np.maximum(one - least, 0) ** 2, REACH) for one in (difference, -difference)
    )
    balance = 2 * np.minimum(lighter, darker) / (lighter + darker + 1e-3)
    return _pooled(balance)


def _toned(one: Floats32, other: Floats32) -> Floats32:
    """Return a look with the tone curve that best gives the levels of the other.

    The median of the other by level, made to rise (pool adjacent violators).
    """
    level = np.clip(one * (LEVELS / 256), 0, LEVELS - 1).astype(np.int64).ravel()
    order = np.argsort(level, kind="stable")
    starts = np.searchsorted(level[order], np.arange(LEVELS + 1))
    values = other.ravel()[order]
    centres, medians, weights = [], [], []
    for number, (begin, end) in enumerate(pairwise(starts.tolist())):
        if end - begin >= 20:
            centres.append((number + 0.5) * 256 / LEVELS)
            medians.append(float(np.median(values[begin : end : max(1, (end - begin) // 1000)])))
            weights.append(float(end - begin))
    if not centres:
        return one
    return np.interp(one, centres, _rising(medians, weights)).astype(np.float32)


def _rising(values: list[float], weights: list[float]) -> Floats64:
    """Return the rising values nearest to some, by weighted least squares."""
    means: list[list[float]] = []  # mean, weight, count
    for value, weight in zip(values, weights, strict=True):
        means.append([value, weight, 1])
        while len(means) > 1 and means[-2][0] > means[-1][0]:
            value_2, weight_2, count_2 = means.pop()
            value_1, weight_1, count_1 = means.pop()
            both = weight_1 + weight_2
            mean = (value_1 * weight_1 + value_2 * weight_2) / both
            means.append([mean, both, count_1 + count_2])
    return np.repeat([m[0] for m in means], [int(m[2]) for m in means])


def aligned(one: Floats32, other: Floats32) -> Floats64 | None:
    """Return the affine map [3, 3] from `other`'s pixels to `one`'s, about the centre; None: none.

    Inverse compositional Lucas-Kanade (Baker and Matthews, IJCV 2004) on small looks, with gain
    and offset, and less weight for what does not fit. Shifts are in shares of the side.
    """
    small, target = (
        _blurred(np.asarray(Image.fromarray(x).resize((COARSE, COARSE), Image.Resampling.BOX)), 1.5)
        for x in (one, other)
    )
    down, across = np.gradient(target)
    y, x = np.mgrid[:COARSE, :COARSE] / COARSE - 0.5 + 0.5 / COARSE
    moves = [across * x, across * y, across, down * x, down * y, down]
    columns = [COARSE * move for move in moves] + [np.full_like(x, 10), target - target.mean()]
    jacobian = np.stack(columns, axis=-1).reshape(-1, len(columns))
    rim = np.zeros((COARSE, COARSE), bool)
    rim[3:-3, 3:-3] = True
    matrix = np.eye(3)
    for _ in range(20):
        moved, covered = warped(small, matrix)
        error = moved - target
        use = covered & rim
        if use.sum() < COARSE:
            return None
        scale = 3 * np.median(np.abs(error[use])) + 2
        weight = (use / (1 + (error / scale) ** 2)).ravel()
        weighted = jacobian * weight[:, np.newaxis]
        normal = weighted.T @ jacobian + 1e-3 * np.eye(len(columns))
        step = np.linalg.solve(normal, weighted.T @ error.ravel())
        change = np.eye(3)
        change[:2] += step[:6].reshape(2, 3)
        if abs(np.linalg.det(change)) < 0.5:
            return None
        matrix = matrix @ np.linalg.inv(change)
        if np.abs(matrix - np.eye(3)).max() > MOST_WARP:
            return None
        if np.abs(step[:6]).max() < 1e-4:
            break
    return matrix


def warped(one: Floats32, matrix: Floats64) -> tuple[Floats32, Bools]:
    """Return a square look seen through an affine map, and which pixels it has."""
    side = len(one)
    scaled = np.diag([side, side, 1]) @ _about_centre(matrix) @ np.diag([1 / side, 1 / side, 1])
    through = tuple(scaled[:2].ravel().tolist())
    shape, how = (side, side), Image.Transform.AFFINE
    moved = Image.fromarray(one).transform(shape, how, through, Image.Resampling.BILINEAR)
    covered = Image.new("L", shape, 255).transform(shape, how, through)
    return np.asarray(moved), np.asarray(covered) > 0


def _about_centre(matrix: Floats64) -> Floats64:
    there, back = np.eye(3), np.eye(3)
    there[:2, 2], back[:2, 2] = 0.5, -0.5
    return there @ matrix @ back


def _blurred(values: Floats32, deviation: float) -> Floats32:
    kernel = _gaussian(len(values), round(deviation, 3))
    return np.asarray(kernel @ values @ kernel.T, np.float32)


def _pooled(values: Floats32) -> Floats32:
    """Return the means of windows that overlap by half."""
    means = _windows(len(values))
    return np.asarray(means @ values @ means.T, np.float32)


@lru_cache(maxsize=32)
def _gaussian(side: int, deviation: float) -> Floats32:
    at = np.arange(side)
    kernel = np.exp(-0.5 * ((at[:, np.newaxis] - at) / deviation) ** 2)
    kernel /= kernel.sum(axis=1, keepdims=True)
    return np.asarray(kernel, np.float32)


@lru_cache(maxsize=4)
def _windows(side: int) -> Floats32:
    starts = np.arange(0, side - WINDOW + 1, STEP)[:, np.newaxis]
    at = np.arange(side)
    inside = (at >= starts) & (at < starts + WINDOW)
    return np.asarray(inside / WINDOW, np.float32)
