"""Stands in for the weights of InceptionResnetV1, which are too large to bundle: random ones."""

from pathlib import Path

import torch

from pipeline.models.facenet.drop_in.network import CLASSES, InceptionResnetV1
from pipeline.models.weights.store import WeightStore


def random_weights(path: Path, classes: int = CLASSES["casia-webface"]) -> Path:
    """Write a file as the published ones are, with logits."""
    torch.manual_seed(0)
    torch.save(InceptionResnetV1(classify=True, num_classes=classes).state_dict(), path)
    return path


def stand_in(folder: Path) -> None:
    """Let every FaceNet model of this process have random weights."""
    bundled = WeightStore.path

    def path(store: WeightStore, card, progress=None) -> Path:
        classes = CLASSES.get(card.name.removeprefix("facenet-"))
        if classes is None:
            return bundled(store, card, progress)
        file = folder / f"{card.name}.pt"
        return file if file.exists() else random_weights(file, classes)

    WeightStore.path = path
