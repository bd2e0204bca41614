"""How many faces of 12-megapixel photos are found at which detection side, and how fast.

    FACELAKE_DATA=... python -m benchmarks.detection_side [--photos 30] [--reference 3]

Recall by the side of the face's box in the 12-megapixel photo: "pasted" against where faces were
pasted, "scene" against what is found at full resolution (see `large`). Speed as the ratio to
facenet-pytorch on the same photos, CPU time, decoding left out.
"""

import argparse
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.large import SIDES, Photo, pasted, scenes
from benchmarks.reference import import_reference
from pipeline.config import DetectConfig
from pipeline.imaging.geometry import iou
from pipeline.models import load_detector
from tests.support.decoding import decode

CHOICES = (1024, 1280, 1600, 2048, 2560, 3072, None)
OVERLAP = 0.4  # boxes of small faces wander by pixels
BANDS = (20, 40, 60, 100, 200, 10_000)


def found_of(wanted: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return for each wanted box whether one of `boxes` is its face."""
    if not len(wanted) or not len(boxes):
        return np.zeros(len(wanted), bool)
    return iou(wanted.astype(np.float32), boxes).max(axis=1) >= OVERLAP


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=30, help="of each kind")
    parser.add_argument("--reference", type=int, default=3, help="of them by facenet-pytorch")
    parser.add_argument("--wheel", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    kinds = {"pasted": list(pasted(options.photos)), "scene": list(scenes(options.photos))}
    detectors = {
        side: load_detector(config=DetectConfig(detection_side=side, turns=False))
        for side in CHOICES
    }
    seconds = dict.fromkeys(CHOICES, 0.0)
    boxes: dict[tuple[str, int | None], list[np.ndarray]] = {}
    for kind, photos in kinds.items():
        for photo in photos:
            pixels = decode(photo.data).pixels
            for side, detector in detectors.items():
                began = time.process_time()
                detections = detector.detect(pixels)
                seconds[side] += time.process_time() - began
                boxes.setdefault((kind, side), []).append(detections.boxes)
    count = sum(map(len, kinds.values()))
    for side, total in seconds.items():
        print(f"detection side {side or 'full':>5}: {1000 * total / count:7.1f} ms a photo")
    table(kinds, boxes)
    compare(kinds["pasted"][: options.reference] + kinds["scene"][: options.reference],
            detectors, options.wheel)  # fmt: skip


def table(kinds: dict[str, list[Photo]], boxes: dict[tuple[str, int | None], list]) -> None:
    print("\npasted faces found, by side in pixels")
    print("side  ", *(f"{side:>6}" for side in SIDES), "  faces that nobody pasted, a photo")
    order = sorted(SIDES, reverse=True)
    for choice in CHOICES:
        hits = np.array(
            [
                found_of(p.boxes, b)
                for p, b in zip(kinds["pasted"], boxes["pasted", choice], strict=True)
            ]
        ).mean(axis=0)
        by_side = dict(zip(order, hits, strict=True))
        others = np.mean(
            [
                (~found_of(b, p.boxes)).sum()
                for p, b in zip(kinds["pasted"], boxes["pasted", choice], strict=True)
            ]
        )
        print(f"{choice or 'full':>6}", *(f"{by_side[s]:6.2f}" for s in SIDES), f"  {others:.2f}")
    print("\nfaces of scenes found, of those found at full resolution, by side in pixels")
    full = boxes["scene", None]
    sides = [np.sqrt(np.clip((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]), 0, None)) for b in full]
    every = np.concatenate(sides)
    bands = list(pairwise(BANDS))
    counts = [int(((every >= a) & (every < b)).sum()) for a, b in bands]
    names = (f"{a}-{b if b < 9999 else ''} ({n})" for (a, b), n in zip(bands, counts, strict=True))
    print("side  ", *(f"{name:>14}" for name in names))
    for choice in CHOICES:
        hits = np.concatenate(
            [found_of(f, b) for f, b in zip(full, boxes["scene", choice], strict=True)]
        )
        shares = (hits[(every >= a) & (every < b)].mean() if n else np.nan
                  for (a, b), n in zip(bands, counts, strict=True))  # fmt: skip
        print(f"{choice or 'full':>6}", *(f"{share:14.3f}" for share in shares))


def compare(photos: list[Photo], detectors: dict, wheel: Path | None) -> None:
    reference = import_reference(wheel).MTCNN(keep_all=True)
    upstream = 0.0
    ours = dict.fromkeys(detectors, 0.0)
    for photo in photos:
        pixels = decode(photo.data).pixels
        image = Image.fromarray(pixels)
        began = time.process_time()
        reference.detect(image, landmarks=True)
        upstream += time.process_time() - began
        for side, detector in detectors.items():
            began = time.process_time()
            detector.detect(pixels)
            ours[side] += time.process_time() - began
    print(
        f"\nfacenet-pytorch: {upstream / max(1, len(photos)):.2f} s a photo; ours, times as fast:"
    )
    print("  ".join(f"{side or 'full'}: {upstream / took:.1f}" for side, took in ours.items()))


if __name__ == "__main__":
    main()
