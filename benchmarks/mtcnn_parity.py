"""Our MTCNN against facenet-pytorch 2.6.0: count, boxes, landmarks, probabilities, and speed.

    python -m benchmarks.mtcnn_parity [--wheel facenet_pytorch.whl] [--wild 200]

LFW detections of the reference are read from `mtcnn-reference.parquet` beside the photos (made
with its wheel in batches of 32) and confirmed live on a sample; example and wild photos run live,
one at a time.
"""

import argparse
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from benchmarks.reference import import_reference
from pipeline.config import DetectConfig
from pipeline.models import load_detector
from pipeline.models.detections import Detections
from tests.support.data import data_folder, examples, shards
from tests.support.parity import Score, stored


def of_reference(mtcnn: object, pixels: np.ndarray) -> Detections:
    """Run the reference on one photo; it crashes on photos smaller than a face."""
    boxes, scores, points = mtcnn.detect(Image.fromarray(pixels), landmarks=True)  # type: ignore[attr-defined]
    if boxes is None:
        return Detections.none()
    return Detections(*(np.asarray(x, np.float32) for x in (boxes, scores, points)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--wild", type=int, default=200)
    parser.add_argument("--live-lfw", type=int, default=320)
    options = parser.parse_args()
    torch.set_num_threads(1)
    reference = import_reference(options.wheel).MTCNN(keep_all=True)
    ours = load_detector(config=DetectConfig(detection_side=None, turns=False))

    photos = list(examples())
    score, mixed = Score("examples, live"), Score("examples, one mixed batch")
    together = ours.detect([pixels for _, pixels in photos])
    for (name, pixels), batched in zip(photos, together, strict=True):
        alone = ours.detect(pixels)
        score.add(name, of_reference(reference, pixels), alone)
        mixed.add(name, alone, batched)
    score.show()
    mixed.show()

    stored_rows = dict(
        list(pd.read_parquet(data_folder() / "lfw-dev" / "mtcnn-reference.parquet").groupby("key"))
    )
    score, live = Score("LFW dev, stored reference"), Score("LFW dev, live sample")
    seconds = {"reference": 0.0, "ours": 0.0}
    source = shards("lfw-dev")
    while batch := list(islice(source, 32)):
        detections = ours.detect([pixels for _, pixels in batch])
        for (name, _), faces in zip(batch, detections, strict=True):
            score.add(name, stored(stored_rows.get(name)), faces)
        if live.photos < options.live_lfw:
            compare_live(reference, ours, batch, live, seconds)
    score.show()
    live.show()
    speed("LFW dev, one photo at a time", live.photos, seconds)

    wild, mixed = Score("wild dev, live"), Score("wild dev, batches of 16 mixed")
    seconds = {"reference": 0.0, "ours": 0.0}
    source = islice(shards("wild-dev"), options.wild)
    while batch := list(islice(source, 16)):
        alone = compare_live(reference, ours, batch, wild, seconds)
        together = ours.detect([pixels for _, pixels in batch])
        for (name, _), one, many in zip(batch, alone, together, strict=True):
            mixed.add(name, one, many)
    wild.show()
    mixed.show()
    speed("wild dev, one photo at a time", wild.photos, seconds)


def compare_live(reference, ours, batch, score, seconds) -> list[Detections]:
    """Run both on the same photos, taking turns, and add up their CPU seconds."""
    alone = []
    for name, pixels in batch:
        began = time.process_time()
        expected = of_reference(reference, pixels)
        middle = time.process_time()
        detected = ours.detect(pixels)
        seconds["reference"] += middle - began
        seconds["ours"] += time.process_time() - middle
        score.add(name, expected, detected)
        alone.append(detected)
    return alone


def speed(title: str, photos: int, seconds: dict[str, float]) -> None:
    rates = {key: photos / value for key, value in seconds.items()}
    print(
        f"{title}, photos/cpu-s: reference {rates['reference']:.1f}, ours {rates['ours']:.1f}, "
        f"ratio {rates['ours'] / rates['reference']:.2f}"
    )


if __name__ == "__main__":
    main()
