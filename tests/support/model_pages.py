"""What pages of models are made of: a lake of people with hostile names, a network's epochs."""

import csv

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.lakes import archive
from tests.support.photo_lakes import face, image_id, photo_lake, thumbnail
from tests.support.report_lakes import HOSTILE

EACH, STRANGERS = 8, 12
SWAPPED = 2  # photos of the first person that are labelled as the second
NAMES = [*HOSTILE[:4], HOSTILE[6], "n" * 300]


def training_lake(folder, thumbnails=True, names=NAMES, strangers=STRANGERS, swapped=SWAPPED):
    """Write a lake beside its labels, and return the file of these."""
    vectors, _ = archive(len(names) + strangers, EACH)
    photos, labels = {}, []
    for person in range(len(names) + strangers):
        for k in range(EACH if person < len(names) else 2):
            photo = f"{person}-{k}.jpg"
            jpeg = thumbnail(person * EACH + k) if thumbnails else None
            photos[photo] = [face(vectors[person * EACH + k], thumbnail=jpeg)]
            name = names[person] if person < len(names) else f"<i>stranger {person}"
            wrong = person == 0 and k < swapped
            labels.append((image_id(photo), names[1] if wrong else name))
    photo_lake(folder, photos)
    path = folder.parent / "labels.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("image", "label"), *labels])
    return path


EPOCHS = [
    {"epoch": k, "loss": 9.0 / k, "accuracy": accuracy, "auc": accuracy + 0.1,
     "likeness_of_strangers": 0.1}
    for k, accuracy in enumerate((0.6, 0.7, 0.75, 0.73), 1)
]  # fmt: skip
NETWORK = {
    "name": "mobileface", "init": "/home/me/models/first", "teacher": None, "best_epoch": 3,
    "epochs": EPOCHS, "versions": {"torch": "9.9", "kornia": None},
}  # fmt: skip


def history(steps):
    """Return the table of the losses of a training."""
    losses = 9 / np.sqrt(1 + np.arange(steps))
    return pa.table({"step": 1 + np.arange(steps), "epoch": np.ones(steps, int), "loss": losses})


def tables_of(folder):
    """Return the tables of a model's folder by name."""
    return {path.name.partition("-")[0]: pq.read_table(path) for path in folder.glob("*.parquet")}
