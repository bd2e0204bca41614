"""Cuts faces out of an image the way an embedder wants them."""

import numpy as np

from pipeline.arrays import Pixels
from pipeline.imaging import geometry
from pipeline.models.cards.card import ModelCard
from pipeline.models.detections import Detections, upright
from pipeline.models.images import ImageLike, as_rgb


def face_crops(image: ImageLike, faces: Detections, card: ModelCard) -> Pixels:
    """Return the faces of one image as `card` says, uint8 [N, S, S, 3] RGB.

    By box and margin, or by the similarity transform of five landmarks. `image` is at full
    resolution, `faces` in its pixels, even when they were searched in a smaller copy. Crops are
    upright where the image is not.
    """
    pixels, faces = upright(as_rgb(image), faces)
    size = card.input_size
    if card.alignment == "arcface5":
        crops = [geometry.align_five(pixels, points, size) for points in faces.landmarks]
    else:
        crops = [geometry.crop_box(pixels, box, size, card.margin_px) for box in faces.boxes]
    return np.stack(crops) if crops else np.zeros((0, size, size, 3), np.uint8)
