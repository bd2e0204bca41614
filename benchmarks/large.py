"""12-megapixel photos with faces of known sizes, made from the research and the example photos.

Two kinds. "pasted": photos without a face (examples), enlarged, into which patches of wild photos
are set, each with one face, reduced so that its box has a side of 20 to 400 pixels. "scene": wild
photos of about half a megapixel or more, enlarged to 12; their faces are the ones that are found at
full resolution. Both are written as JPEG at quality 90, as cameras do.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from PIL import Image

from pipeline.models import load_detector
from tests.support.data import EXAMPLES, shards

WIDTH, HEIGHT = 4000, 3000
SIDES = (20, 25, 30, 40, 50, 60, 80, 100, 150, 200, 300, 400)
BACKGROUNDS = ("coffee-no-face.png", "cat-no-face.png")
CONTEXT = 0.6  # of the box's side, around it
LEAST_PIXELS = 450_000  # of scenes; enlarging more would make pictures that no camera takes
QUALITY = 90


@dataclass(frozen=True)
class Photo:
    """One photo.

    Attributes:
        data: the JPEG file.
        boxes: float32 [N, 4], where faces were pasted; none for scenes.
    """

    data: bytes
    boxes: np.ndarray


def jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def pasted(count: int, sides: tuple[int, ...] = SIDES, seed: int = 0) -> Iterator[Photo]:
    """Yield photos with one face of each size in `sides`, at random places."""
    random = np.random.default_rng(seed)
    faces = _faces()
    for number in range(count):
        name = BACKGROUNDS[number % len(BACKGROUNDS)]
        image = Image.open(EXAMPLES / name).convert("RGB")
        canvas = np.array(image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        free = np.ones((HEIGHT, WIDTH), bool)
        boxes = []
        for side in sorted(sides, reverse=True):
            patch, box = next(faces)
            scale = side / max(box[2] - box[0], box[3] - box[1])
            size = [max(1, round(n * scale)) for n in (patch.shape[1], patch.shape[0])]
            small = np.asarray(Image.fromarray(patch).resize(size, Image.Resampling.LANCZOS))
            while True:
                x = int(random.integers(0, WIDTH - size[0]))
                y = int(random.integers(0, HEIGHT - size[1]))
                place = (slice(y, y + size[1]), slice(x, x + size[0]))
                if free[place].all():
                    break
            canvas[place], free[place] = small, False
            boxes.append(np.asarray(box) * scale + [x, y, x, y])
        yield Photo(jpeg(canvas), np.array(boxes, np.float32))


def _faces() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield patches with exactly one face of at least 100 pixels, and its box in the patch."""
    detector = load_detector()
    for _, pixels in shards("wild-dev"):
        detections = detector.detect(pixels)
        if len(detections) != 1 or detections.scores[0] < 0.99:
            continue
        x1, y1, x2, y2 = detections.boxes[0]
        side = max(x2 - x1, y2 - y1)
        if side < 100:
            continue
        left, top = (int(max(0, v - CONTEXT * side)) for v in (x1, y1))
        patch = pixels[top : int(y2 + CONTEXT * side), left : int(x2 + CONTEXT * side)]
        yield patch, detections.boxes[0] - [left, top, left, top]


def scenes(count: int) -> Iterator[Photo]:
    """Yield wild photos of `LEAST_PIXELS` or more, enlarged to 12 megapixels."""
    large = (pixels for _, pixels in shards("wild-dev") if pixels.size // 3 >= LEAST_PIXELS)
    for pixels in islice(large, count):
        ratio = np.sqrt(WIDTH * HEIGHT / (pixels.size / 3))
        size = (round(pixels.shape[1] * ratio), round(pixels.shape[0] * ratio))
        enlarged = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
        yield Photo(jpeg(np.asarray(enlarged)), np.zeros((0, 4), np.float32))
