"""Lays one look at a picture on another: small shifts, turns and stretches."""

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from pipeline.arrays import Bools, Floats32, Floats64

COARSE = 64  # side at which looks are aligned
MOST_WARP = 0.2


def aligned(one: Floats32, other: Floats32) -> Floats64 | None:
    """Return the affine map [3, 3] from `other`'s pixels to `one`'s, about the centre; None: none.

    Inverse compositional Lucas-Kanade (Baker and Matthews, IJCV 2004) on small looks, with gain
    and offset, and less weight for what does not fit. Shifts are in shares of the side.
    """
    shape = COARSE, COARSE
    small, target = (
        gaussian_filter(np.asarray(Image.fromarray(x).resize(shape, Image.Resampling.BOX)), 1.5)
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
