"""Finds one picture inside another: cut out, tilted a little, or shown on a screen.

Every scale and turn of a grid is laid on every place of the other picture, small, by normalised
correlation (Lewis, "Fast Normalized Cross-Correlation", Vision Interface 1995; with a mask as in
Padfield, IEEE TIP 2012). The best places are refined, and then have to stand the same look, place
by place, that near copies have to.
"""

from collections import deque
from collections.abc import Iterator
from itertools import product

import numpy as np
from PIL import Image
from scipy.fft import irfft2, rfft2

from pipeline.arrays import Bytes, Floats32, Floats64
from pipeline.dedupe.algorithms.alignment import aligned, warped
from pipeline.dedupe.algorithms.looks import are_copies

SMALL = 64  # side at which places are sought
# Heights as shares of the other's: steps that refinement bridges.
SCALES = np.geomspace(1.0, 0.42, 15)
DEGREES, BETWEEN = (0, -8, 8), (-4, 4)
# Correlation from which a place is looked at, and how many places of a pair are.
LEAST_CORRELATION, PLACES = 0.6, 3
# From which turns between are tried too; below it two whole pictures are not one.
LEAST_HOPE = 0.4
LEAST_INSIDE = 0.97  # of the part, once it is placed exactly


def lies_inside(part: Bytes, whole: Bytes, aspects: tuple[float, float]) -> bool:
    """Whether a picture shows a part of another, and nothing else.

    Args:
        part: look, uint8 [SIDE, SIDE], see `looks.look`.
        whole: look of the other.
        aspects: width by height of both, part and whole.
    """
    inner, outer = part.astype(np.float32), whole.astype(np.float32)
    for matrix in places(inner, outer, aspects):
        moved, _ = warped(outer, matrix)
        closer = aligned(moved, inner)
        if closer is None:
            continue
        moved, covered = warped(outer, matrix @ closer)
        ways = (moved, inner), (inner, moved)
        if covered.mean() >= LEAST_INSIDE and any(are_copies(*way, covered) for way in ways):
            return True
    return False


def places(part: Floats32, whole: Floats32, aspects: tuple[float, float]) -> Iterator[Floats64]:
    """Yield maps [3, 3] from the part's places to the whole's, about the centre, best first."""
    outer = _small(whole)
    spectra = rfft2(outer), rfft2(outer**2)
    inner = _small(part)
    found = []
    waiting = deque(product(SCALES.tolist(), DEGREES))
    while waiting:
        scale, degrees = waiting.popleft()
        matrix = _map(scale, degrees, aspects)
        if (np.abs(matrix[:2, :2]) @ np.array([0.5, 0.5])).max() > 0.52:  # more than all of it
            continue
        value, matrix[:2, 2] = _best(inner, matrix, spectra)
        found.append((value, matrix))
        if value >= LEAST_HOPE and degrees in DEGREES:
            waiting += [(scale, degrees + more) for more in BETWEEN]
    found.sort(key=lambda one: -one[0])
    yield from (matrix for value, matrix in found[:PLACES] if value >= LEAST_CORRELATION)


def alike(one: Bytes, other: Bytes) -> bool:
    """Whether two looks are alike enough, place by place, to be worth a closer one."""
    first, second = (_small(look.astype(np.float32)) for look in (one, other))
    product_ = float((first * second).sum())
    return product_ >= LEAST_HOPE * float(np.linalg.norm(first) * np.linalg.norm(second))


def _map(scale: float, degrees: float, aspects: tuple[float, float]) -> Floats64:
    """Return a similarity of two pictures as one of their squares."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.eye(3)
    inner, outer = aspects
    matrix[:2, :2] = scale * np.diag([1 / outer, 1]) @ turn @ np.diag([inner, 1])
    return matrix


def _small(look: Floats32) -> Floats32:
    side = (SMALL, SMALL)
    small = Image.fromarray(look - look.mean()).resize(side, Image.Resampling.BOX)
    return np.asarray(small)


def _best(
    inner: Floats32, matrix: Floats64, spectra: tuple[np.ndarray, np.ndarray]
) -> tuple[float, Floats64]:
    """Return the best correlation of a part under a map, and the shift where it is, in shares."""
    template, covered = warped(inner, np.linalg.inv(matrix).astype(np.float64))
    mask = covered.astype(np.float32)
    count = float(mask.sum())
    if count < SMALL:
        return 0.0, np.zeros(2)
    template = mask * (template - template[covered].mean())
    energy = float((template**2).sum())
    # Only places where all of the part is inside are looked at, so nothing wraps around.
    mask_s, template_s = np.conj(rfft2(mask)), np.conj(rfft2(template))
    plain, squares = spectra
    sums, powers, products = (
        irfft2(spectrum) for spectrum in (plain * mask_s, squares * mask_s, plain * template_s)
    )
    variance = np.maximum(powers - sums**2 / count, 1e-3 * energy)
    score = products / np.sqrt(variance * energy + 1e-6)
    rows, columns = np.nonzero(covered)
    down, across = _allowed(rows), _allowed(columns)
    inside = score[np.ix_(down % SMALL, across % SMALL)]
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    return float(inside[row, column]), np.array([across[column], down[row]]) / SMALL


def _allowed(at: np.ndarray) -> np.ndarray:
    """Return the shifts that keep a mask inside."""
    return np.arange(-int(at.min()), SMALL - int(at.max()))
