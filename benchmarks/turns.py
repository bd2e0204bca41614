"""Turned scans: which turn is found, whether faces keep their vectors, and what looking costs.

    FACELAKE_DATA=... python -m benchmarks.turns [--lfw 600] [--wild 400]

Every photo is stored at four turns, without a word about it. The truth is what is found in the
upright photo without turning (`--no-turns`): its largest face must be found again with a cosine
above 0.9. The constants of `pipeline.models.turns` were chosen on the people whose names have an
even CRC-32; only the others are reported. "draws": shares of 1,000 draws of 20 photos in which
at least 19 are right, by turn. Speed is CPU time of detection alone, batches of 32, and the ratio
to the same with `--no-turns` on the same pictures.
"""

import argparse
import tarfile
import time
import zlib
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch

from pipeline.config import DetectConfig
from pipeline.imaging import geometry
from pipeline.models import FaceDetector, face_crops, load_detector, load_embedder
from pipeline.models.detections import Detections
from tests.support.data import data_folder, examples
from tests.support.decoding import decode

STORED = (0, 90, 180, 270)
SAME = 0.9
DRAW, ENOUGH, DRAWS = 20, 19, 1000
BATCH = 32


def photos(name: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield person and pixels of the photos of a research set."""
    for path in sorted((data_folder() / name).glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                stem = member.name.removesuffix(".jpg")
                if stem != member.name:
                    who = archive.extractfile(f"{stem}.cls").read().decode().strip()
                    yield who, decode(archive.extractfile(member).read()).pixels


def reported(name: str, count: int) -> list[np.ndarray]:
    """Return photos of the people on whom nothing was chosen."""
    others = (p for who, p in photos(name) if zlib.crc32(who.encode()) % 2)
    return list(islice(others, count))


def stored(pixels: np.ndarray, turn: int) -> np.ndarray:
    """Return a photo as a scan that must be turned clockwise by `turn`."""
    return np.ascontiguousarray(geometry.turned(pixels, -turn))


def batched(detector: FaceDetector, images: list[np.ndarray]) -> list[Detections]:
    """Return what is found, in batches."""
    parts = (images[i : i + BATCH] for i in range(0, len(images), BATCH))
    return [found for part in parts for found in detector.detect(part)]


def seconds(detector: FaceDetector, images: list[np.ndarray]) -> float:
    """Return the CPU seconds of detection; nothing is kept."""
    began = time.process_time()
    batched(detector, images)
    return time.process_time() - began


class Vectors:
    """Vectors of all faces of a picture."""

    def __init__(self) -> None:
        self.embedder = load_embedder("sface")

    def __call__(self, pixels: np.ndarray, faces: Detections) -> np.ndarray:
        return self.embedder.embed(face_crops(pixels, faces, self.embedder.card))[0]


def measure(name: str, images: list[np.ndarray], off: FaceDetector, on: FaceDetector) -> None:
    """Print, for each turn, how often the upright vector comes back."""
    embed = Vectors()
    truth = batched(off, images)
    images, truth = zip(
        *((p, faces) for p, faces in zip(images, truth, strict=True) if len(faces)), strict=True
    )
    wanted = [embed(p, faces) for p, faces in zip(images, truth, strict=True)]
    random = np.random.default_rng(0)
    draws = np.array([random.permutation(len(images))[:DRAW] for _ in range(DRAWS)])
    print(f"\n{name}: {len(images)} photos")
    for turn in STORED:
        scans = [stored(p, turn) for p in images]
        for label, detector in (("off", off), ("on", on)):
            found = batched(detector, scans)
            vectors = [embed(p, faces) for p, faces in zip(scans, found, strict=True)]
            right = np.array([
                bool(len(v)) and (v @ w[0]).max() > SAME
                for v, w in zip(vectors, wanted, strict=True)
            ])  # fmt: skip
            text = f"turn {turn:>3} {label:>3}: right {right.mean():.4f}, found "
            text += f"{np.mean([len(f) > 0 for f in found]):.4f}, turn named "
            text += f"{np.mean([f.turn == turn for f in found]):.4f}, draws "
            text += f"{(right[draws].sum(axis=1) >= ENOUGH).mean():.3f}"
            if not turn and detector is on:
                rows = zip(found, truth, vectors, wanted, strict=True)
                kept = [
                    f.turn == 0 and np.array_equal(f.boxes, t.boxes) and np.array_equal(v, w)
                    for f, t, v, w in rows
                ]
                text += f"; unchanged {sum(kept)} of {len(kept)}"
            print(text, flush=True)


def faceless(images: list[np.ndarray], detector: FaceDetector) -> list[np.ndarray]:
    """Return the parts of photos below their faces, where none is found."""
    parts = []
    for pixels, faces in zip(images, batched(detector, images), strict=True):
        below = int(np.ceil(faces.boxes[:, 3].max())) if len(faces) else 0
        if len(pixels) - below >= 100:
            parts.append(np.ascontiguousarray(pixels[below:]))
    return [p for p, faces in zip(parts, batched(detector, parts), strict=True) if not len(faces)]


def tiles(images: list[np.ndarray], side: int = 250) -> list[np.ndarray]:
    """Return squares of the size of LFW's photos, cut from pictures."""
    return [
        np.ascontiguousarray(pixels[y : y + side, x : x + side])
        for pixels in images
        for y in range(0, len(pixels) - side + 1, side)
        for x in range(0, pixels.shape[1] - side + 1, side)
    ]


def scenes() -> list[np.ndarray]:
    """Return photos without a face of 12 megapixels, from the examples and from scikit-learn."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    small = [p for name, p in examples() if "no-face" in name] + load_sample_images().images
    return [np.asarray(Image.fromarray(p).resize((4000, 3000))) for p in small]


def cost(kinds: dict[str, list[np.ndarray]], off: FaceDetector, on: FaceDetector) -> None:
    """Print photos a CPU second without and with turns; the two take turns, medians of three."""
    print("\nphotos a CPU second: off, on, on/off; pictures called turned")
    for kind, images in kinds.items():
        rounds = [(seconds(off, images), seconds(on, images)) for _ in range(3)]
        before, after = np.median(rounds, axis=0)
        ratio = np.median([a / b for a, b in rounds])
        turned = sum(found.turn != 0 for found in batched(on, images))
        count = len(images)
        print(f"{kind} ({count}): {count / before:.1f}, {count / after:.1f}, {ratio:.2f}; {turned}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lfw", type=int, default=600)
    parser.add_argument("--wild", type=int, default=400)
    options = parser.parse_args()
    torch.set_num_threads(1)
    off = load_detector(config=DetectConfig(turns=False))
    on = load_detector()
    lfw, wild = reported("lfw-dev", options.lfw), reported("wild-dev", options.wild)
    sets = {"examples": [p for _, p in examples()], "wild": wild, "LFW": lfw}
    for name, images in sets.items():
        measure(name, images, off, on)
    nobody = faceless(wild, off)
    kinds = {
        "LFW": lfw[:320],
        "wild": wild[:96],
        "nobody, 250 x 250": tiles(nobody)[:320],
        "nobody, parts of wild photos": nobody[:192],
        "nobody, 12 megapixels": scenes(),
    }
    cost(kinds, off, on)


if __name__ == "__main__":
    main()
