"""Copies that hashes miss, found by an image embedding and a second look: recall, and false pairs.

    FACELAKE_DATA=... python -m benchmarks.embeddings [--set lfw-dev] [--photos 30] [--model sface]

Crops, tilts, captions and screenshots of photos, two of each person where there are two, as one
lake without faces. Copies of another photo are false. The second look alone is shown on each
photo with its variants, and on pairs of different ones. Constants were chosen on `--half tuning`.
"""

import argparse
import io
import tempfile
import time
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.small_lakes import HALVES
from benchmarks.variants import TRANSFORMATIONS, Source, encode
from pipeline.arrays import Bytes
from pipeline.dedupe.algorithms.looks import are_one_picture, look
from pipeline.dedupe.algorithms.placement import alike, lies_inside
from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.duplicates import Duplicates
from pipeline.dedupe.run import Run
from pipeline.lake.checkpoints import in_process
from pipeline.lake.store import LakeStore
from tests.support.data import shard_files
from tests.support.decoding import decode
from tests.support.pictures import indexed

KINDS = ("crop", "tilt", "caption", "screenshot")
LABELS = [(kind, strength) for kind in KINDS for strength in TRANSFORMATIONS[kind]]
MOST_SIDE = 1600


def photos(name: str, half: str, limit: int) -> list[tuple[str, Image.Image]]:
    """Return photos of people of a half, two of each where there are two."""
    found: list[tuple[str, Image.Image]] = []
    seen: Counter[str] = Counter()
    for key, data in shard_files(name):
        person = key.rsplit("_", 1)[0]
        if HALVES[zlib.crc32(person.encode()) % 2] != half or seen[person] == 2:
            continue
        seen[person] += 1
        image = Image.fromarray(decode(data).pixels)
        image.thumbnail((MOST_SIDE, MOST_SIDE))
        found.append((key.replace("/", "-"), image))
        if len(found) == limit:
            break
    return found


def files_of(originals: list[tuple[str, Image.Image]]) -> dict[str, bytes]:
    """Return the files of photos and of their variants, by name."""
    files = {}
    for name, image in originals:
        data = encode(image, 95)
        files[f"{name}~original.jpg"] = data
        for kind, strength in LABELS:
            words = zlib.crc32(f"{name}/{kind}/{strength}".encode())
            source = Source(data, image, np.random.default_rng([0, words]))
            files[f"{name}~{kind} {strength}.jpg"] = TRANSFORMATIONS[kind][strength](source)
    return files


def one_picture(first: tuple[Bytes, float], second: tuple[Bytes, float]) -> bool:
    """Whether two looks, with their aspects, are confirmed as `Confirmation` does it."""
    (one, aspect), (other, other_aspect) = first, second
    return (
        (alike(one, other) and are_one_picture([one], [other]))
        or lies_inside(one, other, (aspect, other_aspect))
        or lies_inside(other, one, (other_aspect, aspect))
    )


def second_looks(files: dict[str, bytes], pairs: int) -> None:
    """Print the recall of the second look alone, and how many pairs of photos it calls copies."""
    looks = {}
    for file, data in files.items():
        image = Image.open(io.BytesIO(data))
        looks[file] = look(np.asarray(image)), image.width / image.height
    originals = [name for name in files if "~original" in name]
    hits = Counter(
        name.split("~")[1].removesuffix(".jpg")
        for name in files
        if name not in originals
        and one_picture(looks[name.split("~")[0] + "~original.jpg"], looks[name])
    )
    random = np.random.default_rng(0)
    drawn = [random.choice(len(originals), 2, replace=False) for _ in range(pairs)]
    wrong = sum(one_picture(looks[originals[a]], looks[originals[b]]) for a, b in drawn)
    print(f"| second look at their own photo | {recalls(hits, len(originals))} "
          f"| {wrong} of {pairs} | |", flush=True)  # fmt: skip


def recalls(hits: Counter[str], photos: int) -> str:
    """Return the recall of each kind, by strength, as cells of a table."""
    cells = []
    for kind in KINDS:
        shares = [hits[f"{kind} {strength}"] / photos for strength in TRANSFORMATIONS[kind]]
        cells.append(" / ".join(f"{share:.2f}" for share in shares))
    return " | ".join(cells)


def groups(lake: LakeStore, run_id: str, config: DedupeConfig) -> dict[str, set[str]]:
    """Return the names of the pictures that each kept one stands for, itself among them."""
    Run(Duplicates(lake), config, in_process, run_id).dedupe()
    names = {row["image_id"]: Path(row["uri"]).stem
             for row in lake.read("images", ["image_id", "uri"]).to_pylist()}  # fmt: skip
    found: dict[str, set[str]] = {}
    for row in Duplicates(lake).table().to_pylist():
        if row["kind"] != "burst":
            found.setdefault(row["group_id"], set()).add(names[row["image_id"]])
    return found


def report(title: str, found: dict[str, set[str]], photos: int, seconds: float) -> None:
    """Print recall by kind and strength: variants in one group with their photo."""
    hits, wrong = Counter[str](), 0
    for group in found.values():
        owners = Counter(name.split("~")[0] for name in group)
        wrong += len(group) - max(owners.values())
        for owner in owners:
            if f"{owner}~original" in group:
                hits.update(name.split("~")[1] for name in group if name.startswith(f"{owner}~"))
    print(f"| {title} | {recalls(hits, photos)} | {wrong} | {seconds:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", default="lfw-dev")
    parser.add_argument("--photos", type=int, default=30)
    parser.add_argument("--model", default="sface")
    parser.add_argument("--pairs", type=int, default=100, help="of different photos, looked at")
    parser.add_argument("--half", choices=HALVES, default="reporting")
    options = parser.parse_args()
    originals = photos(options.set, options.half, options.photos)
    print(f"{options.set}, {len(originals)} photos of {options.half} people, {options.model}\n")
    print(f"| | {' | '.join(KINDS)} | of another photo | seconds |")
    print("|---" * (len(KINDS) + 3) + "|")
    files = files_of(originals)
    second_looks(files, options.pairs)
    with tempfile.TemporaryDirectory() as folder:
        lake = indexed(Path(folder, "lake"), files, Path(folder, "photos"))
        model = options.model
        for title, config in {
            "hashes": DedupeConfig(burst_s=0),
            "embedding, second look": DedupeConfig(burst_s=0, model=model),
            "embedding alone": DedupeConfig(burst_s=0, model=model, confirm=False),
            "embedding alone, 0.95": DedupeConfig(
                burst_s=0, model=model, model_cosine=0.95, confirm=False
            ),
        }.items():
            began = time.perf_counter()
            found = groups(lake, title.replace(" ", "-").replace(",", ""), config)
            report(title, found, len(originals), time.perf_counter() - began)


if __name__ == "__main__":
    main()
