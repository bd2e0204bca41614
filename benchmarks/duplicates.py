"""Copies of photos found by perceptual hashes: recall by transformation, at equal precision.

    python -m benchmarks.duplicates variants [--photos 1000] [--set lfw-dev] [--sheet near.png]

Photos of different people (the first of each; more than there are people takes the others too) and
all examples, 79 variants of each. A photo and its variant are a true pair; a photo with another
photo or another's variant a false one, but for the pairs in known_copies.txt, which are neither.
Each method gets the largest threshold at which at least 99 % of the pairs within it are true, and
in a second table the threshold that its authors give.
"""

import argparse
import io
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.distances import Counts, count, nearest, pack
from benchmarks.methods import Hashes, Method, available
from benchmarks.variants import TRANSFORMATIONS, encode, variants
from tests.support.data import EXAMPLES, shard_files
from tests.support.decoding import decode

PRECISION = 0.99
WORKERS = 2
MAX_EXAMPLE_SIDE = 1024  # larger examples are first reduced: the time goes into encoding
LABELS = [(name, strength) for name, each in TRANSFORMATIONS.items() for strength in each]


def photos(name: str, limit: int) -> Iterator[tuple[str, bytes]]:
    """Yield name and file of `limit` photos of a set, each person's first before any second."""
    first, others, seen = [], [], set()
    for key, data in shard_files(name):
        person = key.rsplit("_", 1)[0]
        (others if person in seen else first).append((key, data))
        seen.add(person)
    yield from (first + others)[:limit]
    for path in sorted(EXAMPLES.iterdir()):
        if path.suffix in {".jpg", ".png"}:
            data = path.read_bytes()
            image = Image.fromarray(decode(data).pixels)
            if max(image.size) > MAX_EXAMPLE_SIDE:
                image.thumbnail((MAX_EXAMPLE_SIDE, MAX_EXAMPLE_SIDE), Image.Resampling.LANCZOS)
                data = encode(image, 95)
            yield path.stem, data


def hashed(photo: tuple[str, bytes]) -> list[list[Hashes]]:
    """Return the hashes of a photo and of all its variants, by method."""
    name, data = photo
    pixels = decode(data).pixels
    files = (variant.data for variant in variants(name, data, Image.fromarray(pixels)))
    pictures = [pixels, *(decode(file).pixels for file in files)]
    return [[method.hashes(picture) for picture in pictures] for method in available()[0]]


def known_copies(names: list[str]) -> np.ndarray:
    """Return bool [N, N]: pairs that show one photograph, and the diagonal."""
    place = {name: row for row, name in enumerate(names)}
    same = np.eye(len(names), dtype=bool)
    for line in Path(__file__).with_name("known_copies.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        a, b = line.split()
        if a in place and b in place:
            same[place[a], place[b]] = same[place[b], place[a]] = True
    return same


def threshold_at(counts: Counts, precision: float) -> int:
    """Return the largest threshold whose pairs are true to at least that share; -1 for none."""
    bits = len(counts.false) - 2
    correct = np.bincount(counts.true.ravel(), minlength=bits + 2)[: bits + 1].cumsum()
    wrong = counts.false[: bits + 1].cumsum()
    good = np.flatnonzero((correct > 0) & (correct >= precision * (correct + wrong)))
    return int(good.max(initial=-1))


def table(methods: list[Method], results: list[Counts], thresholds: list[int]) -> str:
    """Return recalls as Markdown: a row for each transformation, its strengths in order."""
    head = ["", "strengths", *(method.name for method in methods)]
    rows = [head, ["---"] * len(head), ["threshold, bits", "", *map(str, thresholds)]]
    pairs = list(zip(results, thresholds, strict=True))
    true = [int((r.true <= t).sum()) for r, t in pairs]
    false = [int(r.false[: t + 1].sum()) for r, t in pairs]
    share = [f"{a / max(a + b, 1):.4f}" for a, b in zip(true, false, strict=True)]
    rows.append(["precision", "", *share])
    rows.append(["false pairs", "", *(f"{wrong:,}" for wrong in false)])
    rows.append(["recall of all", "", *(f"{(r.true <= t).mean():.3f}" for r, t in pairs)])
    for name, strengths in TRANSFORMATIONS.items():
        places = [LABELS.index((name, strength)) for strength in strengths]
        cells = [" / ".join(f"{(r.true[p] <= t).mean():.3f}" for p in places) for r, t in pairs]
        rows.append([name, ", ".join(strengths), *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def write_sheet(path: str, files: list[tuple[str, bytes]], hashes: list[Hashes]) -> None:
    """Write a picture of the 40 closest pairs of originals, with their names and distances."""
    packed, _ = pack(hashes)
    distance = nearest(packed, packed)
    a, b = np.triu_indices(len(files), 1)
    side, order = 150, np.argsort(distance[a, b], kind="stable")[:40]
    sheet = Image.new("RGB", (8 * side, 10 * (side + 24)), "white")
    draw = ImageDraw.Draw(sheet)
    for k, pair in enumerate(order):
        x, y = k % 4 * 2 * side, k // 4 * (side + 24)
        for column, row in enumerate((a[pair], b[pair])):
            image = Image.open(io.BytesIO(files[row][1])).convert("RGB")
            image.thumbnail((side - 2, side - 2))
            sheet.paste(image, (x + column * side, y + 24))
            draw.text((x + column * side, y + 11), files[row][0][:24], "black")
        draw.text((x, y), f"{distance[a[pair], b[pair]]} bits", "black")
    sheet.save(path)


def compare(limit: int, name: str, sheet: str | None) -> None:
    began = time.perf_counter()
    files = list(photos(name, limit))
    methods, missing = available()
    with ProcessPoolExecutor(WORKERS) as pool:
        rows = list(pool.map(hashed, files, chunksize=4))
    same = known_copies([file for file, _ in files])
    with ThreadPoolExecutor(WORKERS) as pool:  # NumPy's loops leave the interpreter alone
        columns = [list(zip(*(row[k] for row in rows), strict=True)) for k in range(len(methods))]
        work = [
            (method, own[0], own[1:], same) for method, own in zip(methods, columns, strict=True)
        ]
        results = list(pool.map(lambda each: count(*each), work))
    if sheet:
        write_sheet(sheet, files, [row[0][0] for row in rows])
    print(
        f"{len(files):,} photos, {len(LABELS)} variants of each: {results[0].true.size:,} true "
        f"pairs, {results[0].false.sum():,} false pairs, {(same.sum() - len(same)) // 2} pairs of "
        f"known copies left out; {time.perf_counter() - began:.0f} s"
    )
    for absent in missing:
        print(f"Not installed, left out: {absent}")
    best = [threshold_at(result, PRECISION) for result in results]
    print(f"\nAt precision {PRECISION}:\n\n{table(methods, results, best)}")
    customary = [method.customary for method in methods]
    print(f"\nAt the customary thresholds:\n\n{table(methods, results, customary)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    command = parser.add_subparsers(required=True).add_parser(
        "variants", help="recall and precision"
    )
    command.add_argument(
        "--photos", type=int, default=1000, help="of the set, without the examples"
    )
    command.add_argument("--set", default="lfw-dev", help="folder of tars in FACELAKE_DATA")
    command.add_argument("--sheet", help="PNG to write, of the closest pairs of originals")
    options = parser.parse_args()
    compare(options.photos, options.set, options.sheet)


if __name__ == "__main__":
    main()
