"""A trained network beside its teacher, and trainings that are killed or shared by workers.

    FACELAKE_DATA=... python -m benchmarks.networks student LAKE_OF_LFW MODEL_DIR
    FACELAKE_DATA=... python -m benchmarks.networks curves LAKE_OF_LFW LABELS

`student` compares the embedder of a model, trained on the lake by `facelake train --network`, with
the embedder of the lake: pairs of faces of people who were kept apart for the test, and faces a
second on one core. `curves` trains a few steps whole, killed by SIGKILL and resumed, and on two
workers.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pipeline.evaluation.measures.verification import pair_scores, verification
from pipeline.lake.checkpoints import TaskRunner, Workspace, in_process
from pipeline.lake.lookup import vectors_of
from pipeline.lake.store import LakeStore
from pipeline.models.cards.card import find_card
from pipeline.models.embedder import load_embedder
from pipeline.storage.folder import Folder
from pipeline.training.data.crops import Cut, cut_crops
from pipeline.training.fit.verification import held_pairs
from pipeline.training.train import STRANGER_TEST, TEST, TRAIN

Parts = dict[str, list[tuple[str, str]]]

SPEED_S, MEASURES = 5.0, ("accuracy", "auc", "eer", "tar_at_far_1e-02", "tar_at_far_1e-03")
SMALL = [
    "--network", "mobileface", "--min-images", "30", "--held-out", "0.05", "--epochs", "1",
    "--batch", "32", "--chunk", "16", "--face", "central", "--augment", "standard",
    "--bootstrap", "0", "--checkpoint-steps", "1",
]  # fmt: skip


def student(options: argparse.Namespace) -> None:
    lake, parts = LakeStore(options.lake), samples(options.model)
    with tempfile.TemporaryDirectory() as folder:
        tasks = TaskRunner(Workspace(Folder(folder)), in_process)
        own = load_embedder(options.model, precision="float32")
        faces = [face for part in (TRAIN, TEST, STRANGER_TEST) for face, _ in parts[part]]
        shards = cut_crops(tasks, lake, set(faces), Cut(own.card))
        where, _ = shards.places()
        crops = shards.pixels([where[face] for face in faces])
    teacher = load_embedder(model_of(lake), precision="float32")
    vectors = {"teacher": vectors_of(lake, faces), "student": own.embed(crops)[0].astype(float)}
    row = {face: k for k, face in enumerate(faces)}
    apart = [face for face, _ in parts[STRANGER_TEST]]
    person = np.unique([label for _, label in parts[STRANGER_TEST]], return_inverse=True)[1]
    pairs = held_pairs(person.astype(np.int64), 0)
    known = len({who for _, who in parts[TEST]})
    print(f"{len(apart)} faces of {person.max() + 1} strangers, {pairs.same.sum()} pairs of a kind")
    print(f"{len(parts[TEST])} faces of {known} known people")
    print("| embedder | " + " | ".join(MEASURES) + " | named by centroid | faces/s | weights |")
    print("|---" * (len(MEASURES) + 4) + "|")
    for name, embedder in (("teacher", teacher), ("student", own)):
        held = vectors[name][[row[face] for face in apart]]
        found = verification(pair_scores(held, pairs), pairs, bootstrap=1000)
        cells = [interval(found, one) for one in MEASURES]
        card = find_card(model_of(lake) if name == "teacher" else options.model)
        cells += [f"{named(vectors[name], row, parts):.4f}", f"{speed(embedder, crops):.0f}"]
        print(f"| {name} | {' | '.join(cells)} | {size(card)} |")


def named(vectors: np.ndarray, row: dict[str, int], parts: Parts) -> float:
    """Return how many faces of the test are nearest to the mean of their own person."""
    people = sorted({label for _, label in parts[TRAIN]})
    means = []
    for who in people:
        mean = vectors[[row[face] for face, label in parts[TRAIN] if label == who]].mean(axis=0)
        means.append(mean / np.linalg.norm(mean))
    tested = vectors[[row[face] for face, _ in parts[TEST]]]
    nearest = (tested @ np.stack(means).T).argmax(axis=1)
    right = [people[k] == label for k, (_, label) in zip(nearest, parts[TEST], strict=True)]
    return float(np.mean(right))


def samples(folder: str) -> Parts:
    """Return face and label of the faces of each part of a model."""
    (file,) = Path(folder).glob("samples-*.parquet")
    parts: Parts = defaultdict(list)
    for one in pq.read_table(file).to_pylist():
        parts[one["part"]].append((one["face_id"], one["label"]))
    return parts


def model_of(lake: LakeStore) -> str:
    return lake.existing_models().names[1]


def interval(found, name: str) -> str:
    low, high = found.intervals.get(name, (float("nan"),) * 2)
    return f"{found.measures[name]:.4f} ({low:.3f} to {high:.3f})"


def speed(embedder, crops) -> float:
    embedder.embed(crops[:16])
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < SPEED_S:
        done += len(embedder.embed(crops[:64])[0])
    return done / (time.perf_counter() - began)


def size(card) -> str:
    path = (card.folder or Path()) / card.files[0].name
    bytes_ = card.size or (path.stat().st_size if path.exists() else 0)
    return f"{bytes_ / 2**20:.1f} MiB"


def curves(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = losses(options, folder / "whole", [])
        killed = losses(options, folder / "killed", [], kill_after=options.kill_after)
        two = losses(options, folder / "two", ["--workers", "2"])
    print("| step | whole | killed and resumed | two workers |\n|---|---|---|---|")
    for k, row in enumerate(zip(whole, killed, two, strict=True)):
        print(f"| {k + 1} | " + " | ".join(f"{one:.6f}" for one in row) + " |")
    for title, other in (("killed and resumed", killed), ("two workers", two)):
        relative = np.abs(np.array(other) / np.array(whole) - 1)
        print(f"{title}: largest relative difference {relative.max():.1e}")


def losses(options, output: Path, more: list[str], kill_after: int = 0) -> list[float]:
    command = [sys.executable, "-m", "pipeline.commands.main", "train", options.lake, "--labels",
               options.labels, "--output", str(output), "--crops", str(output.parent / "crops"),
               *SMALL, *more]  # fmt: skip
    if kill_after:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        card = output / "training" / "checkpoint.json"
        while not (card.exists() and step_of(card) >= kill_after):
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        print(f"killed at step {step_of(card)} or after", flush=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (history,) = output.glob("history-*.parquet")
    return pq.read_table(history)["loss"].to_pylist()


def step_of(card: Path) -> int:
    try:
        return len(json.loads(card.read_bytes())["progress"]["losses"])
    except (OSError, ValueError):
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("student")
    one.add_argument("lake")
    one.add_argument("model")
    one.set_defaults(run=student)
    two = commands.add_parser("curves")
    two.add_argument("lake")
    two.add_argument("labels")
    two.add_argument("--kill-after", type=int, default=5, help="steps")
    two.set_defaults(run=curves)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
