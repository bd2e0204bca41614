"""Finds the faces in the frames of a video and draws them: what face_tracking.ipynb does.

python examples/facenet/track.py VIDEO OUTPUT

VIDEO and OUTPUT are pictures that move (GIF, WebP, APNG). Other videos: give `track` frames
from a reader of your choice, such as `cv2.VideoCapture`, as RGB.
"""

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageSequence

from pipeline.facenet import MTCNN

BATCH = 32  # frames held and searched at once


def track(frames: Iterable[Image.Image]) -> Iterator[tuple[Image.Image, list[list[float]]]]:
    """Yield each frame with its faces framed, and their boxes."""
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    mtcnn = MTCNN(keep_all=True, device=device)
    frames = iter(frames)
    while batch := list(islice(frames, BATCH)):
        all_boxes, _ = mtcnn.detect(batch)
        for frame, boxes in zip(batch, all_boxes, strict=True):
            drawn = frame.copy()
            draw = ImageDraw.Draw(drawn)
            for box in [] if boxes is None else boxes:
                draw.rectangle(box.tolist(), outline=(255, 0, 0), width=6)
            yield drawn, [] if boxes is None else boxes.tolist()


def main(video: str | Path, output: str | Path) -> list[list[list[float]]]:
    """Return the boxes of each frame."""
    with Image.open(video) as picture:
        frames = (frame.convert("RGB") for frame in ImageSequence.Iterator(picture))
        drawn, boxes = zip(*track(frames), strict=True)
    drawn[0].save(output, save_all=True, append_images=drawn[1:], duration=40, loop=0)
    print(f"{len(drawn)} frames, {sum(map(len, boxes))} faces: {output}")
    return list(boxes)


if __name__ == "__main__":
    main(*sys.argv[1:])
