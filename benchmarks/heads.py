"""Heads on the vectors of LFW: known people, few photos, and 30 known people among strangers.

    FACELAKE_DATA=... python -m benchmarks.heads LAKE_OF_LFW [--seeds 10]

The lake is made with `facelake index ... --embedder sface`. Each seed draws another split, and
other known people. The nearest neighbour has the same faces to compare with, and its threshold is
set on the same strangers.
"""

import argparse
import csv
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from benchmarks.clustering import labelled
from pipeline import Lake
from pipeline.lake.store import LakeStore
from pipeline.storage.folder import Folder
from pipeline.training.algorithms.heads import KINDS
from pipeline.training.algorithms.openset import threshold_at
from pipeline.training.model import load_model
from pipeline.training.train import STRANGER, STRANGER_TEST, TEST, TRAIN

KNOWN, PHOTOS, FEW, ALARMS = 30, 10, 3, 0.01
NEAREST = "nearest neighbour"


def written(folder: Path, label: dict[str, str]) -> Path:
    path = folder / "labels.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["face_id", "label"])
        writer.writerows(sorted(label.items()))
    return path


def nearest(vectors: dict[str, np.ndarray], label: dict[str, str], model: Path) -> dict[str, float]:
    """Return how the nearest neighbour fares on the parts that a model was made of."""
    samples = load_model(Folder(str(model))).samples.to_pylist()
    faces = defaultdict(list)
    for row in samples:
        faces[row["part"]].append(row["face_id"])
    gallery = np.stack([vectors[face] for face in faces[TRAIN]])
    owner = np.array([label[face] for face in faces[TRAIN]])
    top, named = {}, {}
    for part in (TEST, STRANGER, STRANGER_TEST):
        cosine = np.stack([vectors[face] for face in faces[part]]) @ gallery.T
        top[part], named[part] = cosine.max(axis=1), owner[cosine.argmax(axis=1)]
    right = named[TEST] == np.array([label[face] for face in faces[TEST]])
    detected = {}
    for part in (STRANGER, STRANGER_TEST):
        scores = np.concatenate([top[TEST], top[part]])
        stranger = np.arange(len(scores)) >= len(right)
        detected[part] = threshold_at(scores, stranger, ALARMS)
    threshold = detected[STRANGER]
    return {
        "accuracy": float(right.mean()),
        "detected": float((right & (top[TEST] >= threshold)).mean()),
        "false_alarms": float((top[STRANGER_TEST] >= threshold).mean()),
        "detected_at_false_alarms": float((right & (top[TEST] >= detected[STRANGER_TEST])).mean()),
    }


def trained(lake: Lake, labels: Path, model: Path, **options: object) -> dict[str, float]:
    """Return what a training measures, and the seconds that it takes."""
    began = time.perf_counter()
    card = lake.train(model, labels, bootstrap=0, false_alarms=ALARMS, **options).card
    took = time.perf_counter() - began
    closed, measured = card["measures"]["closed_set"], card["measures"]["open_set"]
    names = ("detected", "false_alarms", "detected_at_false_alarms")
    return {
        "accuracy": closed["accuracy"], "macro_f1": closed["macro_f1"], "seconds": took,
        **{name: measured[name] for name in names},
        "ece": measured["probabilities"]["ece"], "people": card["classes"],
    }  # fmt: skip


def line(name: str, rows: list[dict[str, float]]) -> str:
    """Return a row of a table: means, and the range of the seeds where they differ."""
    cells = []
    for column in ("accuracy", "macro_f1", "detected_at_false_alarms", "detected", "false_alarms",
                   "ece"):  # fmt: skip
        values = [row[column] for row in rows if column in row]
        spread = f" ({min(values):.3f} to {max(values):.3f})" if values else ""
        cells.append(f"{np.mean(values):.4f}{spread}" if values else "")
    seconds = [row["seconds"] for row in rows if "seconds" in row]
    cells.append(f"{np.mean(seconds):.1f}" if seconds else "")
    return f"| {name} | {' | '.join(cells)} |"


def known_and_strangers(label: dict[str, str], seed: int) -> dict[str, str]:
    """Return labels of which 30 people alone have enough photos to be learnt."""
    random = np.random.default_rng(seed)
    photos = defaultdict(list)
    for face, person in sorted(label.items()):
        photos[person].append(face)
    enough = sorted(person for person, faces in photos.items() if len(faces) >= PHOTOS)
    known = set(random.permutation(enough)[:KNOWN].tolist())
    return {
        face: person for person, faces in photos.items()
        for face in (faces if person in known else faces[: PHOTOS - 1])
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lake", help="lake of lfw-dev")
    parser.add_argument("--seeds", type=int, default=10, help="splits that are drawn")
    options = parser.parse_args()
    lake = Lake(options.lake)
    ids, matrix, people = labelled(LakeStore(options.lake), "lfw-dev")
    rows = zip(ids, matrix, people, strict=True)
    kept = {str(face): (row.astype(float), str(who)) for face, row, who in rows if who is not None}
    vectors = {face: row for face, (row, _) in kept.items()}
    whole = {face: who for face, (_, who) in kept.items()}
    subjects = {
        f"people with {PHOTOS} photos or more": (PHOTOS, lambda _: whole),
        f"people with {FEW} photos or more": (FEW, lambda _: whole),
        f"{KNOWN} known people": (PHOTOS, lambda seed: known_and_strangers(whole, seed)),
    }
    for title, (least, choose) in subjects.items():
        results = defaultdict(list)
        for seed in range(options.seeds):
            label = choose(seed)
            with tempfile.TemporaryDirectory() as name:
                labels, model = written(Path(name), label), Path(name) / "model"
                for kind in KINDS:
                    results[kind].append(
                        trained(lake, labels, model, head=kind, min_images=least, seed=seed)
                    )
                results[NEAREST].append(nearest(vectors, label, model))
        learnt = results[KINDS[0]][0]["people"]
        count = sum(n < least for n in Counter(label.values()).values())
        print(f"\n### {title}: {learnt} learnt, {count:,} strangers\n")
        print("| head | accuracy | macro F1 | DIR at FAR 1 % | DIR at the threshold set before | "
              "FAR there | calibration error | seconds |\n" + "|---" * 8 + "|")  # fmt: skip
        for kind, measured in results.items():
            print(line(kind, measured), flush=True)


if __name__ == "__main__":
    main()
