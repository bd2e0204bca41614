"""A second look at two pictures whose hashes are close: is one a copy, or another on its template?

Copies differ all over: by compression, size, light, blur. What a tone curve, a blur and an affine
shift do not explain is spread over a copy in proportion to its structure. Two certificates with
other names agree everywhere but in the name. So places are sought that differ far more than the
rest of the picture does: first at half the size, then at the full one, where one letter counts.
A watermark differs in one place too, but in one direction: it is lighter, or darker, than what it
covers. Another name, person or photo is both. A strip with a caption is left out.
Constants were chosen on half of what docs/duplicates.md reports.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

from pipeline.arrays import Bools, Bytes, Floats32, Floats64
from pipeline.dedupe.algorithms.alignment import aligned, warped

VERSION = 2  # what an earlier one said of a pair is asked again
SIDE = 384  # of a look; a line of 3 % of the height has twelve rows
# Noise of pixels is blurred away; what varies slower than this belongs to light and colour.
BASE_BLUR, SLOW_BLUR = 0.75, 9.0
# Blurs by which one of two copies may differ from the other.
BLURS = (0.0, 0.6, 1.1, 1.9, 3.0)
WINDOW, STEP = 12, 6
# Grey levels that compression changes; variance from which a window has structure.
LEAST_LEVELS, STRUCTURE = 3.0, 50.0
# Shares of the residual that must be lighter and darker, within this reach of a window.
BOTH_WAYS, REACH = 0.05, 14.0
# Strokes of a watermark are thinner than this share of the side. What differs by more levels all
# over a wider square is an object.
THICK, THICK_LEVELS = 28 / 384, 12.0
# Of windows at half the size, and at the full one. There copies stay below 20; certificates that
# differ in one initial reach 89.
MOST_CONFLICT, MOST_FINE_CONFLICT = 14.0, 21.0
# A window with this many times the variance of noise is found again in a copy, but for this share.
STRONG, MOST_LOST = 25.0, 0.92
# Shares of the structure that are not explained, at most: of two whole pictures (a harsh blur), and
# where one had to be moved onto the other, lies inside its bars, or has a caption. Below the last
# they lie on each other, and no better fit is sought.
MOST_RESIDUAL, MOST_MOVED_RESIDUAL, GOOD_FIT = 0.5, 0.05, 0.02
# A caption's strip: its share of the height; the level of its ground within so many grey levels,
# on so much of its first row, of each row with letters, and at most of what it covers.
STRIP, STRIP_LEVELS = (0.02, 0.25), 12
PLAIN, LETTERED, COVERED = 0.98, 0.5, 0.4
LEVELS = 32


class Fit(NamedTuple):
    """How a look is explained by another.

    Attributes:
        conflict: the most that a window differs, in units of what the others do.
        residual: share of the structure that is not explained in the typical window.
        lost: the largest share that is not explained in a window of strong structure.
    """

    conflict: float
    residual: float
    lost: float

    def is_copy(self, most_residual: float) -> bool:
        """Whether no place differs much more than the rest does, and that not too much."""
        return (
            self.conflict <= MOST_CONFLICT
            and self.residual <= most_residual
            and self.lost <= MOST_LOST
        )


def look(pixels: Bytes) -> Bytes:
    """Return a picture, uint8 [H, W, 3] RGB, as grey levels uint8 [SIDE, SIDE]."""
    grey = Image.fromarray(pixels).convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.HAMMING))


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
        direct.append(_rough(a, b, whole))
        if direct[-1].is_copy(most_residual) and _agree(a, b, whole):
            return True
    masks = [mask for a, b in ways for mask in _beside_captions(a, b)]
    if any(are_copies(a, b, mask) for mask in masks for a, b in ways):
        return True
    if all(fit.residual < GOOD_FIT for fit in direct):
        return False
    for a, b in ways:
        matrix = aligned(a, b)
        if matrix is not None:
            moved, covered = warped(a, matrix)
            if are_copies(moved, b, covered):
                return True
    return None


def are_copies(one: Floats32, other: Floats32, covered: Bools) -> bool:
    """Whether two looks agree where both are covered."""
    return _rough(one, other, covered).is_copy(MOST_MOVED_RESIDUAL) and _agree(one, other, covered)


def _rough(one: Floats32, other: Floats32, covered: Bools) -> Fit:
    """Return how well `other` follows from `one` at half the size."""
    return explained(_halved(one), _halved(other), _halved(covered) == 1)


def _agree(one: Floats32, other: Floats32, covered: Bools) -> bool:
    """Whether no detail differs much more than the others do."""
    return explained(one, other, covered).conflict <= MOST_FINE_CONFLICT


def _beside_captions(one: Floats32, other: Floats32) -> Iterator[Bools]:
    """Yield what a caption at the foot or the head of `one` leaves of it, if it covers `other`.

    A caption is a strip of one colour with letters.
    """
    for up in (-1, 1):
        rows, covered_rows = one[::up], other[::up]
        level = np.median(rows[0])
        ground = (np.abs(rows - level) <= STRIP_LEVELS).mean(axis=1)
        plain = np.flatnonzero(ground[: (ground < LETTERED).argmax()] >= PLAIN)
        end = int(plain[-1]) + 1 if len(plain) else 0
        if not STRIP[0] * SIDE <= end <= STRIP[1] * SIDE:
            continue
        if (np.abs(covered_rows[:end] - level) <= STRIP_LEVELS).mean() <= COVERED:
            mask = np.arange(SIDE) > end
            yield np.broadcast_to(mask[::up, np.newaxis], one.shape)


def explained(one: Floats32, other: Floats32, covered: Bools) -> Fit:
    """Return how well `other` follows from `one` by a tone curve and a blur.

    `covered` are the pixels that both looks have.
    """
    inside = _pooled(covered.astype(np.float32)) > 0.99
    one = np.where(covered, one, other)
    wanted = gaussian_filter(other, BASE_BLUR)
    wanted_detail = wanted - _slow(wanted, SLOW_BLUR)
    least = np.inf
    for blur in BLURS:
        blurred = gaussian_filter(one, float(np.hypot(BASE_BLUR, blur)), truncate=3)
        toned = np.where(covered, _toned(blurred, wanted, covered), wanted)
        detail = toned - _slow(toned, SLOW_BLUR)
        left = _pooled((detail - wanted_detail) ** 2)
        usual = float(np.minimum(left[inside], np.quantile(left[inside], 0.8)).mean())
        if usual < 0.97 * least:
            least, best = usual, (toned - wanted, left, detail)
        elif usual > 1.2 * least:
            break
    return _fit(*best, wanted_detail, inside)


def _fit(
    difference: Floats32, left: Floats32, detail: Floats32, wanted: Floats32, inside: Bools
) -> Fit:
    """Return how well one look is explained by another.

    Args:
        difference: of the levels [S, S].
        left: mean square by window of what is left of the wanted detail.
        detail: of the look that explains, less what varies slowly, [S, S].
        wanted: of the look to be explained.
        inside: windows that count.
    """
    own, other = _pooled(detail**2), _pooled(wanted**2)
    structure = np.maximum(own, other)
    floor = float(np.quantile(left[inside], 0.25))
    noise = floor + LEAST_LEVELS**2
    busy = inside & (structure > STRUCTURE)
    residual, share = (
        float(np.median(one[busy] / structure[busy])) if busy.sum() > 8 else 0.05
        for one in (left, np.maximum(left - floor, 0))
    )
    # Detail that is only fainter or stronger, as of a colour that became grey, is not lost.
    alike = _pooled(detail * wanted) ** 2 / (own * other + LEAST_LEVELS**4)
    lost = np.minimum(left, structure * (1 - alike))
    both, thick = _ways(difference, floor)
    conflict = np.maximum(left * both, lost * thick) / (noise + share * structure)
    strong = inside & (structure > STRONG * noise)
    shares = lost / (structure + 1) * np.maximum(both, thick)
    return Fit(float(conflict[inside].max()), residual, float(shares[strong].max(initial=0)))


def _ways(difference: Floats32, floor: float) -> tuple[Floats32, Floats32]:
    """Return how far the difference around a window goes both ways, and is thick, 0 to 1."""
    least = 2 * np.sqrt(floor) + LEAST_LEVELS
    signs = difference, -difference
    lighter, darker = (_slow(np.maximum(one - least, 0) ** 2, REACH) for one in signs)
    balance = _pooled(2 * np.minimum(lighter, darker) / (lighter + darker + 1e-3))
    side = round(THICK * len(difference))
    full = [uniform_filter((one > max(least, THICK_LEVELS)) * 1.0, side) > 0.97 for one in signs]
    thick = uniform_filter((full[0] | full[1]) * 1.0, 2 * side + 1) > 1e-6
    return np.minimum(1, balance / BOTH_WAYS), _pooled(thick.astype(np.float32))


def _toned(one: Floats32, other: Floats32, covered: Bools) -> Floats32:
    """Return a look with the tone curve that best gives the levels of the other.

    The median of the other by level, made to rise (pool adjacent violators); of every second row
    and column.
    """
    some = covered[::2, ::2]
    level = np.clip(one[::2, ::2][some] * (LEVELS / 256), 0, LEVELS - 1).astype(np.uint8)
    order = np.argsort(level, kind="stable")
    starts = np.searchsorted(level[order], np.arange(LEVELS + 1))
    values = other[::2, ::2][some][order]
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


def _halved(values: Floats32 | Bools) -> Floats32:
    half = len(values) // 2
    return np.asarray(values.reshape(half, 2, half, 2).mean(axis=(1, 3), dtype=np.float32))


def _slow(values: Floats32, deviation: float) -> Floats32:
    """Return a blur by two boxes, as wide as a Gaussian of this deviation."""
    width = round((6 * deviation**2 + 1) ** 0.5)
    return np.asarray(uniform_filter(uniform_filter(values, width), width))


def _pooled(values: Floats32) -> Floats32:
    """Return the means of windows that overlap by half."""
    means = _windows(len(values))
    return np.asarray(means @ values @ means.T, np.float32)


@lru_cache(maxsize=4)
def _windows(side: int) -> Floats32:
    starts = np.arange(0, side - WINDOW + 1, STEP)[:, np.newaxis]
    at = np.arange(side)
    inside = (at >= starts) & (at < starts + WINDOW)
    return np.asarray(inside / WINDOW, np.float32)
