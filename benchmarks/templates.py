"""Near pictures that are copies, and near pictures on one template: what a second look says.

    FACELAKE_DATA=... python -m benchmarks.templates [--pairs 1000] [--lfw 100] [--wild 40] [--more]

Templates: six kinds, 220 different pictures each (`tests.support.templates`), with portraits of
LFW; of the pairs whose hashes are within the radius some are drawn. With --more eight other kinds
alone, made by somebody who did not know the method. Copies: the labelled variants of
`benchmarks.variants` that the hashes find. Precision is that of both together, each drawn pair
counted as often as it stands for others. The constants of `dedupe.algorithms.looks` were chosen on
series 0, and on the first 55 LFW and 30 wild photos, which are left out here.
"""

import argparse
import io
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks.duplicates import MAX_EXAMPLE_SIDE, photos
from benchmarks.variants import encode, variants
from pipeline.dedupe.algorithms.looks import are_one_picture, look
from pipeline.dedupe.confirm import SAME_COSINE, SURE_SCORE
from pipeline.imaging.borders import content
from pipeline.imaging.fingerprint import fingerprint
from pipeline.imaging.phash import MATCH_BITS, MIN_QUALITY, distance
from pipeline.models import face_crops, load_detector, load_embedder
from tests.support import more_templates, templates
from tests.support.data import shard_files
from tests.support.decoding import decode

EACH, SERIES = 220, 1
TUNED_LFW, TUNED_WILD = 55, 30
FACE = (55, 40, 195, 210)  # of LFW's aligned photos
LATER = {"mirror", "flip", "rotate"}  # found with options alone


class Seen(NamedTuple):
    """What is compared of a picture."""

    hashes: list[bytes]
    turnable: bytes
    looks: list[np.ndarray]
    faces: np.ndarray


def seen(data: bytes, models: tuple | None = None) -> Seen:
    """Return hashes, looks and, with a detector and an embedder, the sure faces of a picture."""
    pixels = decode(data).pixels
    marks = fingerprint(pixels)
    hashes = [marks.phash] if marks.phash_quality >= MIN_QUALITY else []
    hashes += [marks.phash_inner] if marks.phash_inner else []
    looks = [look(pixels)]
    if (box := content(pixels)) is not None:
        x1, y1, x2, y2 = box
        looks.append(look(np.ascontiguousarray(pixels[y1:y2, x1:x2])))
    vectors = np.zeros((0, 128), np.float32)
    if models:
        detector, embedder = models
        faces = detector.detect(pixels)
        faces = faces.take(np.flatnonzero(faces.scores >= SURE_SCORE))
        vectors = embedder.embed(face_crops(pixels, faces, embedder.card))[0]
    return Seen(hashes, marks.phash_turnable, looks, vectors)


def near(one: Seen, other: Seen) -> bool:
    """Whether the hashes of two pictures are within the radius."""
    pairs = [(a, b) for a in one.hashes for b in other.hashes]
    if one.hashes and other.hashes:
        pairs.append((one.turnable, other.turnable))
    return min((distance(a, b) for a, b in pairs), default=256) <= MATCH_BITS


def confirmed(one: Seen, other: Seen) -> bool:
    """Whether a second look, and the faces, say that two pictures are copies."""
    people = one.faces @ other.faces.T
    strangers = people.size and people.max() < SAME_COSINE
    return not strangers and are_one_picture(one.looks, other.looks)


def of_template(kind: str, faces: list[Image.Image], most: int) -> tuple[str, int, int, int, float]:
    """Return near pairs of a kind, how many were drawn and confirmed, and seconds a pair."""
    models = load_detector(), load_embedder("sface")
    random = np.random.default_rng(SERIES)
    makers = templates if kind in templates.KINDS else more_templates
    pictures = makers.series(kind, EACH, faces, SERIES)
    rows = [seen(templates.saved(picture, random), models) for picture in pictures]
    pairs = [(a, b) for i, a in enumerate(rows) for b in rows[:i] if near(a, b)]
    drawn = random.permutation(len(pairs))[:most]
    began = time.process_time()
    wrong = sum(confirmed(*pairs[i]) for i in drawn)
    return kind, len(pairs), len(drawn), wrong, (time.process_time() - began) / max(1, len(drawn))


def of_photo(photo: tuple[str, bytes]) -> list[tuple[str, str, bool, bool]]:
    """Return transformation and strength of variants, whether near, and whether confirmed."""
    name, data = photo
    image = Image.fromarray(decode(data).pixels)
    if max(image.size) > MAX_EXAMPLE_SIDE:
        image.thumbnail((MAX_EXAMPLE_SIDE, MAX_EXAMPLE_SIDE), Image.Resampling.LANCZOS)
        data = encode(image, 95)
    original = seen(data)
    out = []
    for variant in variants(name, data, image):
        if variant.transformation in LATER:
            continue
        other = seen(variant.data)
        close = near(original, other)
        same = bool(np.array_equal(decode(data).pixels, decode(variant.data).pixels))
        sure = same or (close and confirmed(original, other))
        out.append((variant.transformation, variant.strength, close or same, sure))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000, help="of each template")
    parser.add_argument("--lfw", type=int, default=100)
    parser.add_argument("--wild", type=int, default=40)
    parser.add_argument("--more", action="store_true", help="the eight further kinds alone")
    options = parser.parse_args()
    portraits = [
        Image.open(io.BytesIO(data)).convert("RGB").crop(FACE)
        for _, data in islice(photos("lfw-dev", 700), 400, 400 + EACH)
    ]
    lfw = list(photos("lfw-dev", TUNED_LFW + options.lfw))[TUNED_LFW : TUNED_LFW + options.lfw]
    wild = list(islice(shard_files("wild-dev"), TUNED_WILD, TUNED_WILD + options.wild))
    wrong = 0.0
    with ProcessPoolExecutor(2) as pool:
        kinds = more_templates.KINDS if options.more else templates.KINDS
        tasks = [pool.submit(of_template, k, portraits, options.pairs) for k in kinds]
        found = [] if options.more else list(pool.map(of_photo, lfw + wild))
        print("template: near pairs, drawn, called copies, ms a pair")
        for task in tasks:
            kind, pairs, drawn, bad, took = task.result()
            wrong += bad * pairs / max(1, drawn)
            print(f"{kind}: {pairs:,}, {drawn:,}, {bad}, {1000 * took:.0f}")
    if options.more:
        return
    by_kind = defaultdict(list)
    for name, strength, close, sure in (row for rows in found for row in rows):
        by_kind[name, strength].append((close, sure))
    every = np.array([row for rows in by_kind.values() for row in rows])
    before, after = every.mean(axis=0)
    right = int(every[:, 1].sum())
    print(f"\nvariants: {len(every):,}; recall {before:.4f} by hashes, {after:.4f} confirmed")
    print(
        f"wrong pairs, all near ones counted: {wrong:.0f}; precision {right / (right + wrong):.5f}"
    )
    for key, rows in by_kind.items():
        one, two = np.mean(rows, axis=0)
        if one - two > 0.005:
            print(f"  {' '.join(key)}: {one:.3f} -> {two:.3f}")


if __name__ == "__main__":
    main()
