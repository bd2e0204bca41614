"""The whole job on 12-megapixel photos, beside a plain facenet-pytorch loop and beside one stage.

    FACELAKE_DATA=... python -m benchmarks.end_to_end [--photos 400] [--reference 6] [--json FILE]

On all cores: `facelake index` of a folder (Ray's start included, and left out), a loop that decodes
with Pillow, detects and embeds with facenet-pytorch in one process with as many threads, and the
stage that takes longest alone: decoding and detecting, in as many processes, without Ray. The
FaceNet network has random weights; its speed does not depend on them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from PIL import Image

from benchmarks.large import pasted, scenes
from benchmarks.reference import import_reference
from pipeline.config import DecodeConfig
from pipeline.models.cards.card import find_card
from pipeline.models.facenet.inception_resnet_v1 import InceptionResnetV1

EMBEDDER = "facenet-casia-webface"  # no checksum of it was published, so random weights pass
DISTINCT = 24
FACES = (60, 150, 400)  # pixels, in every other photo; the others have one large face mostly
BATCH = 16


def write_photos(folder: Path, count: int) -> list[Path]:
    """Write `count` photos, a few distinct ones over and over."""
    photos = (*pasted(DISTINCT // 2, FACES), *scenes(DISTINCT // 2))
    distinct = [photo.data for photo in photos]
    paths = []
    for number, data in enumerate(islice(cycle(distinct), count)):
        paths.append(folder / f"{number:05}.jpg")
        paths[-1].write_bytes(data)
    return paths


def plain_loop(paths: list[Path], wheel: Path | None, threads: int) -> float:
    """Return photos a second of facenet-pytorch as its README uses it, all faces kept."""
    torch.set_num_threads(threads)
    module = import_reference(wheel)
    mtcnn, network = module.MTCNN(keep_all=True), module.InceptionResnetV1().eval()
    began = time.perf_counter()
    with torch.inference_mode():
        for path in paths:
            crops = mtcnn(Image.open(path).convert("RGB"))
            if crops is not None:
                network(crops)
    return len(paths) / (time.perf_counter() - began)


def alone(paths: list[Path], workers: int) -> float:
    """Return photos a second of decoding and detecting in `workers` processes, without Ray."""
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=start_stage) as pool:
        batches = [paths[i : i + BATCH] for i in range(0, len(paths), BATCH)]
        list(pool.map(run_stage, batches[:workers] * 2))  # each has compiled and loaded
        began = time.perf_counter()
        list(pool.map(run_stage, batches))
        return len(paths) / (time.perf_counter() - began)


def start_stage() -> None:
    global _decode, _detect
    from pipeline.stages.decode import Decode
    from pipeline.stages.detect import Detect

    torch.set_num_threads(1)
    _decode, _detect = Decode(DecodeConfig()), Detect(find_card(EMBEDDER))


def run_stage(paths: list[Path]) -> int:
    rows = {"data": [path.read_bytes() for path in paths], "error": [None] * len(paths)}
    return sum(len(_detect(part)) for part in _decode(encoded(rows)))


def encoded(rows: dict[str, list[Any]]) -> pa.Table:
    """Return a table of schema `ENCODED` that knows nothing but bytes."""
    from pipeline.sources.read import ENCODED

    count = len(rows["data"])
    columns = {f.name: rows.get(f.name, [None] * count) for f in ENCODED}
    return pa.table({name: pa.array(v, ENCODED.field(name).type) for name, v in columns.items()})


def index(folder: Path, work: Path) -> Iterator[tuple[str, float]]:
    """Index a folder; yield photos a second with Ray's start and without it."""
    weights = work / "weights"
    weights.mkdir()
    (name,) = (file.name for file in find_card(EMBEDDER).files)
    torch.save(InceptionResnetV1().state_dict(), weights / name)
    lake = work / "lake"
    command = [sys.executable, "-m", "pipeline.commands.main", "index", folder, "--output", lake]
    options = ["--embedder", EMBEDDER, "--weights-url", weights, "--weights-dir", work / "cache"]
    began = time.perf_counter()
    subprocess.run([*map(str, command + options)], check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - began
    (manifest,) = (json.loads(p.read_text()) for p in (lake / "runs").glob("*.json"))
    yield "with Ray's start", manifest["images"] / wall
    parts = sorted(p.stat().st_mtime for p in (lake / "images").glob("*.parquet"))
    share = 1 - 1 / len(parts)  # from the first part on: what came with it was done before
    if share:
        yield "steady", manifest["images"] * share / (parts[-1] - parts[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=400)
    parser.add_argument("--reference", type=int, default=6, help="photos of the plain loop")
    parser.add_argument("--wheel", type=Path, help="facenet-pytorch 2.6.0")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "photos").mkdir()
        paths = write_photos(work / "photos", options.photos)
        rates = {f"decode and detect alone, {cores} processes": alone(paths[: 8 * DISTINCT], cores)}
        print(rates, flush=True)
        for kind, rate in index(work / "photos", work):
            rates[f"facelake index, {kind}"] = rate
        print(rates, flush=True)
        few = paths[:: max(1, DISTINCT // options.reference)][: options.reference]
        plain = f"facenet-pytorch loop, {cores} threads"
        rates[plain] = plain_loop(few, options.wheel, cores)
    for kind, rate in rates.items():
        print(f"{kind:45} {rate:6.2f} photos/s  {rate / rates[plain]:6.1f} times the loop")
    if options.json:
        options.json.write_text(json.dumps(rates, indent=1) + "\n")


if __name__ == "__main__":
    main()
