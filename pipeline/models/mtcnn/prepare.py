"""Compiles the kernels the first time on a machine: the largest in a process beside this one.

    python -m pipeline.models.mtcnn.prepare

compiles the largest. Processes that start together wait for the one that compiles.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from filelock import FileLock

from pipeline.models.mtcnn import atlas, kernels
from pipeline.models.mtcnn.cascade import suppress
from pipeline.models.mtcnn.sums import Tables

SIDE = 40  # of the picture that the kernels are tried on
LARGEST = "fill_atlas"


def prepare() -> None:
    """Compile what is not kept yet; without a folder to keep code in, that is left to each call."""
    folder = getattr(kernels.add_up, "stats", None) and kernels.add_up.stats.cache_path  # type: ignore[attr-defined]  # Numba's
    if not folder or _kept(Path(folder)):
        return
    try:
        with FileLock(Path(folder, "facelake.lock")):
            if not _kept(Path(folder)):
                _compile()
    except OSError:
        return


def _kept(folder: Path) -> bool:
    """Return whether there is code of the two kernels that are compiled last, newer than theirs."""
    source = Path(kernels.__file__).stat().st_mtime
    return all(
        any(index.stat().st_mtime >= source for index in folder.glob(f"kernels.{name}-*.nbi"))
        for name in (LARGEST, "suppress")
    )


def _compile() -> None:
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    helper = subprocess.Popen(  # our own interpreter and module
        [sys.executable, "-P", "-m", "pipeline.models.mtcnn.prepare"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        others()
        helper.wait()
    finally:
        helper.kill()
        helper.wait()
    largest()


def largest() -> None:
    """Call the largest kernel."""
    features = np.zeros((kernels.CHANNELS, atlas.ROW_STEP * 2, atlas.COLUMNS), np.float32)
    layer = kernels.FirstLayer(
        np.zeros((kernels.CHANNELS, 3, 3, 3), np.float32),
        np.zeros(kernels.CHANNELS, np.float32),
        np.zeros(kernels.CHANNELS, np.float32),
    )
    tiles = np.array([[0, 0, SIDE, SIDE, 0, 0, SIDE // 2 - 1, SIDE // 2 - 1, 0, 0]])
    sums = np.zeros((SIDE + 1) * (SIDE + 1) * 3, np.int32)
    kernels.fill_atlas(sums, np.zeros(1, np.int64), np.full((1, 2), SIDE), tiles, layer, features)


def others() -> None:
    """Call all other kernels, with arguments of the types that a detection has."""
    tables = Tables.of([np.zeros((SIDE, SIDE, 3), np.uint8)])
    ((rows, tiles),) = atlas.pack(list(atlas.tiles_of(0, 0, SIDE, SIDE)))
    features = np.zeros((kernels.CHANNELS, rows, atlas.COLUMNS), np.float32)
    margin = kernels.PATCH - 1
    answer = np.zeros((5, rows - margin, atlas.COLUMNS - margin), np.float32)
    kernels.collect(answer, features, tiles, 1.0)
    corners, crops = np.array([[0, 0, SIDE, SIDE]]), np.empty((1, 3, 24, 24), np.float32)
    kernels.cut(tables.sums, tables.start, tables.sizes, np.zeros(1, np.int64), corners, crops)
    suppress(np.zeros((1, 4), np.float32), np.zeros(1, np.float32), np.zeros(1, np.int64), 0.5)


if __name__ == "__main__":
    largest()
