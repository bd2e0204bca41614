"""Compares the vectors of a faster way to run an embedder with those of the exact way.

This is done when a model is loaded, on real faces and with its own weights: a precision that is
fine for one set of weights is not for another (bfloat16 keeps Inception-ResNet-v1 within 1e-5 of
float32, and moves some of SFace's vectors by 5e-4).
"""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.arrays import Floats32
from pipeline.models.vectors import Crops

# Cosine between exact and fast vectors, of the worst face.
LEAST_COSINE = 0.9999
# Eight faces side by side, cut from the example photos (public domain, see NOTICE).
FACES = Path(__file__).parent / "data" / "probe-faces.jpg"


@cache
def probe_faces(size: int) -> Crops:
    """Return eight real faces uint8 [8, size, size, 3], RGB."""
    with Image.open(FACES) as image:
        side = image.height
        strip = image.convert("RGB").resize((image.width // side * size, size))
    faces = np.asarray(strip).reshape(size, -1, size, 3).transpose(1, 0, 2, 3).copy()
    faces.flags.writeable = False
    return faces


def lowest_cosine(exact: Floats32, fast: Floats32) -> float:
    """Return the smallest cosine between rows of two float [N, D]; -1 where one is not finite."""
    a, b = exact.astype(np.float64), fast.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return float(np.nan_to_num(cosines, nan=-1.0).min())
