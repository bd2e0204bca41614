"""What a face is worth to clustering: sharpness, head pose and one quality figure."""

import numpy as np
from PIL import Image

from pipeline.arrays import Floats32, Pixels

# A mean face in space, in units of the distance between the eyes: x right, y down, z towards the
# camera, in the order of the landmarks. Eyes and mouth corners lie almost in one plane, the tip
# of the nose stands out by 0.45. Rough proportions: yaw is meant for sorting, not for measuring.
FACE_3D = np.array(
    [
        [-0.50, -0.45, 0.0],
        [0.50, -0.45, 0.0],
        [0.00, 0.12, 0.45],
        [-0.40, 0.55, 0.02],
        [0.40, 0.55, 0.02],
    ]
)
SHARPNESS_SIDE = 112
# Where a measure stops mattering: a face of 112 px fills the embedder's input; a variance of the
# Laplacian (Pech-Pacheco et al., ICPR 2000) of 100 is a starting value, not calibrated.
FULL_SIZE_PX = 112.0
FULL_SHARPNESS = 100.0


def pose(landmarks: Floats32) -> tuple[Floats32, Floats32]:
    """Return yaw and roll in degrees, float32 [N] each, of `landmarks` [N, 5, 2].

    Roll is the tilt of the line between the eyes, positive clockwise. Yaw comes from fitting the
    mean face by weak perspective (least squares), positive when the head turns towards the right
    of the image.
    """
    points = landmarks.astype(np.float64)
    eyes = points[:, 1] - points[:, 0]
    roll = np.degrees(np.arctan2(eyes[:, 1], eyes[:, 0]))
    centred = points - points.mean(axis=1, keepdims=True)
    model = FACE_3D - FACE_3D.mean(axis=0)
    rows = np.einsum("mk,nkd->ndm", np.linalg.pinv(model), centred)  # [N, 2, 3]: x and y axes
    scale = (np.linalg.norm(rows[:, 0], axis=1) + np.linalg.norm(rows[:, 1], axis=1)) / 2
    scale = np.where(scale > 0, scale, 1)
    # The nose axis seen from the front has no x, y part; turned, it shows by the sine.
    nose = rows[:, :, 2] / scale[:, None]
    angle = np.radians(roll)
    across = nose[:, 0] * np.cos(angle) + nose[:, 1] * np.sin(angle)
    yaw = np.degrees(np.arcsin(np.clip(across, -1, 1)))
    return yaw.astype(np.float32), roll.astype(np.float32)


def sharpness(crop: Pixels) -> float:
    """Return the variance of the Laplacian of the grey face at 112 x 112 pixels.

    `crop` is the aligned face, uint8 [S, S, 3].
    """
    image = Image.fromarray(crop).convert("L")
    if image.size != (SHARPNESS_SIDE, SHARPNESS_SIDE):
        image = image.resize((SHARPNESS_SIDE, SHARPNESS_SIDE), Image.Resampling.BILINEAR)
    grey = np.asarray(image, dtype=np.float32)
    laplacian = (
        grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    )
    return float(laplacian.var())


def quality(score: Floats32, size_px: Floats32, sharp: Floats32, yaw: Floats32) -> Floats32:
    """Return one figure from 0 to 1 a face, float32 [N].

    The geometric mean of detector score, size, sharpness and frontality, each cut at 1: one bad
    measure pulls it down, none alone decides.
    """
    parts = np.stack(
        [
            np.clip(score, 0, 1),
            np.clip(size_px / FULL_SIZE_PX, 0, 1),
            np.sqrt(np.clip(sharp / FULL_SHARPNESS, 0, 1)),
            np.clip(np.cos(np.radians(np.clip(np.abs(yaw), 0, 90))), 0, 1),  # float32: below 0
        ]
    )
    mean: Floats32 = np.power(parts.prod(axis=0), 0.25).astype(np.float32)
    return mean
