"""Detections beside those of facenet-pytorch: the largest differences, and what is outside."""

import numpy as np
import pandas as pd

from pipeline.imaging.geometry import iou
from pipeline.models.detections import Detections

LIMITS = {"box": 0.01, "landmark": 0.01, "probability": 1e-4}


class Score:
    """Largest differences, and the photos that fall outside the limits."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.photos = self.faces = 0
        self.largest = dict.fromkeys(LIMITS, 0.0)
        self.outside: list[str] = []

    def add(self, name: str, reference: Detections, ours: Detections) -> None:
        self.photos += 1
        self.faces += len(reference)
        if len(reference) != len(ours):
            self.outside.append(f"{name}: {len(reference)} faces against {len(ours)}")
            return
        if not len(reference):
            return
        match = iou(reference.boxes, ours.boxes).argmax(axis=1)
        if len(set(match.tolist())) != len(match):
            self.outside.append(f"{name}: faces do not match one to one")
            return
        ours = ours.take(match)
        differences = {
            "box": np.abs(reference.boxes - ours.boxes).max(),
            "landmark": np.abs(reference.landmarks - ours.landmarks).max(),
            "probability": np.abs(reference.scores - ours.scores).max(),
        }
        if any(differences[key] > LIMITS[key] for key in LIMITS):
            text = ", ".join(f"{key} {value:.3g}" for key, value in differences.items())
            self.outside.append(f"{name}: {text}")
            return
        for key, value in differences.items():
            self.largest[key] = max(self.largest[key], float(value))

    def show(self) -> None:
        largest = "  ".join(f"{key} {value:.1e}" for key, value in self.largest.items())
        print(f"{self.title:34} {self.photos:5} photos {self.faces:6} faces  {largest}", end="  ")
        print(f"{len(self.outside)} outside the limits")
        for text in self.outside:
            print(f"    {text}")


def stored(frame: pd.DataFrame | None) -> Detections:
    if frame is None:
        return Detections.none()
    points = frame[[f"l{k}{axis}" for k in range(5) for axis in "xy"]]
    return Detections(
        frame[["x1", "y1", "x2", "y2"]].to_numpy(np.float32),
        frame["prob"].to_numpy(np.float32),
        points.to_numpy(np.float32).reshape(-1, 5, 2),
    )
