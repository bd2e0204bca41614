"""Parts of photos found by the faces that both show: `facelake dedupe --crops` on real photos.

    FACELAKE_DATA=... python -m benchmarks.crops [--photos 200] [--set wild-dev]

Each photo is cropped at three strengths to a part that holds its largest face, saved at JPEG
quality 85, indexed beside the photos with `sface`, and looked for. A group of two different photos
is wrong, unless they are copies in the set itself: those are named, to be looked at.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.variants import encode
from pipeline.dedupe.duplicates import Duplicates
from pipeline.lake.columns import matrix
from pipeline.lake.store import LakeStore
from tests.support.data import shard_files
from tests.support.decoding import decode

SHARES = (0.9, 0.7, 0.5)  # of both sides
QUALITY = 85


def facelake(*arguments: object) -> None:
    command = [sys.executable, "-m", "pipeline.commands.main", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def largest_faces(lake: LakeStore) -> dict[str, np.ndarray]:
    """Return the box of each photo's largest face, by file name."""
    table = lake.read("faces", ["uri", "box", "size_px"])
    best: dict[str, tuple[float, np.ndarray]] = {}
    boxes, sizes = matrix(table["box"]), table["size_px"].to_pylist()
    for uri, box, size in zip(table["uri"].to_pylist(), boxes, sizes, strict=True):
        name = Path(uri).stem
        if size > best.get(name, (0.0, box))[0]:
            best[name] = size, box
    return {name: box for name, (_, box) in best.items()}


def part(image: Image.Image, box: np.ndarray, share: float, random: np.random.Generator):
    """Return a part of that share of both sides which holds the box, None if none does."""
    corner = []
    for side, low, high in ((image.width, box[0], box[2]), (image.height, box[1], box[3])):
        length = int(side * share)
        first, last = max(0, int(high) - length + 1), min(int(low), side - length)
        if last < first:
            return None
        corner.append((int(random.integers(first, last + 1)), length))
    (x, width), (y, height) = corner
    return image.crop((x, y, x + width, y + height))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--set", default="wild-dev")
    options = parser.parse_args()
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        photos, lake = Path(folder) / "photos", LakeStore(f"{folder}/lake")
        (photos / "parts").mkdir(parents=True)
        files = dict(sorted(shard_files(options.set))[: options.photos])
        for name, data in files.items():
            (photos / f"{name}.jpg").write_bytes(data)
        facelake("index", photos, "--output", lake.folder.url, "--embedder", "sface")
        made: Counter[float] = Counter()
        for name, box in sorted(largest_faces(lake).items()):
            image = Image.fromarray(decode(files[name]).pixels)
            for share in SHARES:
                cropped = part(image, box, share, random)
                if cropped is not None:
                    made[share] += 1
                    target = photos / "parts" / f"{name}-{share}.jpg"
                    target.write_bytes(encode(cropped, QUALITY))
        facelake("index", photos, "--output", lake.folder.url, "--embedder", "sface")
        for extra in ((), ("--crops",)):
            facelake("dedupe", lake.folder.url, *extra)
            report(lake, made, " ".join(extra) or "hashes alone")


def report(lake: LakeStore, made: Counter[float], what: str) -> None:
    """Print how many parts are in the group of their photo, and which groups mix photos."""
    rows = Duplicates(lake).table()
    images = lake.read("images", ["image_id", "uri"]).to_pydict()
    name = dict(zip(images["image_id"], (Path(u).stem for u in images["uri"]), strict=True))
    kept = {
        group: name[image]
        for group, image, kind in zip(
            *(rows[c].to_pylist() for c in ("group_id", "image_id", "kind")), strict=True
        )
        if kind == "kept"
    }
    right: Counter[float] = Counter()
    wrong = set()
    for row in rows.to_pylist():
        if row["kind"] in ("kept", "burst"):
            continue
        original, _, share = name[row["image_id"]].partition("-")
        if kept[row["group_id"]].partition("-")[0] != original:
            wrong.add((row["kind"], original, kept[row["group_id"]]))
        elif share:
            right[float(share)] += 1
    cells = [f"{right[s]} of {made[s]} ({right[s] / max(1, made[s]):.1%})" for s in SHARES]
    print(f"| {what} | {' | '.join(cells)} | {len(wrong)} |", flush=True)
    for one in sorted(wrong):
        print("  different photos in one group:", *one)


if __name__ == "__main__":
    main()
