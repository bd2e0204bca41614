"""`facelake dedupe` over millions of made-up pictures, some of them copies of others.

    python -m benchmarks.hashes [--pictures 1000000 10000000] [--folder DIR] [-- OPTIONS]

A picture is a random hash; one in fifty is another one with 1 to 40 bits changed. Recall is the
share of those planted within the radius that were found as pairs; a sample of hashes is also
compared with all others. Then 1 % new pictures are added, and the time for them is measured.

"Driver" is the private memory of the command's own process, above that of one with no pictures to
speak of; from 300,000 pictures on its tasks run in others (`-- --ray always`: for fewer too).
"""

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from benchmarks.driver import memory
from benchmarks.memory import pss
from benchmarks.reliability import children
from pipeline.dedupe.duplicates import Duplicates
from pipeline.dedupe.tables import hash_column
from pipeline.imaging.phash import HASH_BYTES, MATCH_BITS
from pipeline.lake import schema
from pipeline.lake.store import LakeStore, Models

DIMENSION = 8
PART = 250_000
EVERY, FARTHEST = 50, 40
EVERY_OTHER = 25  # looks at the driver, to one at all processes
SAMPLE = 100
HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


def archive(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return hashes uint8 [N, 32], and for planted copies: row of the copy, row of the original."""
    random = np.random.default_rng(seed)
    hashes = random.integers(0, 256, (count, HASH_BYTES), dtype=np.uint8)
    copies = np.arange(EVERY, count, EVERY)
    originals = copies - random.integers(1, EVERY, len(copies))
    for start in range(0, len(copies), 100_000):
        rows = slice(start, start + 100_000)
        bits = np.unpackbits(hashes[originals[rows]], axis=1)
        order = np.argsort(random.random(bits.shape, np.float32), axis=1)
        changes = random.integers(1, FARTHEST + 1, len(bits))
        flip = np.zeros_like(bits)
        chosen = np.arange(bits.shape[1]) < changes[:, np.newaxis]
        np.put_along_axis(flip, order, chosen.astype(np.uint8), axis=1)
        hashes[copies[rows]] = np.packbits(bits ^ flip, axis=1)
    return hashes, copies, originals


def hex_strings(data: np.ndarray, prefix: bytes = b"") -> pa.Array:
    """Return bytes [N, B] as strings of hex digits."""
    digits = np.stack([HEX[data >> 4], HEX[data & 15]], axis=2).reshape(len(data), -1)
    head = np.broadcast_to(np.frombuffer(prefix, np.uint8), (len(data), len(prefix)))
    text = np.ascontiguousarray(np.concatenate([head, digits], axis=1))
    offsets = np.arange(len(data) + 1, dtype=np.int32) * text.shape[1]
    return pa.StringArray.from_buffers(len(data), pa.py_buffer(offsets), pa.py_buffer(text))


def write(lake: LakeStore, hashes: np.ndarray, seed: int) -> None:
    """Add a picture for each hash."""
    random = np.random.default_rng(seed)
    faces = schema.faces_schema(DIMENSION).empty_table()
    for start in range(0, len(hashes), PART):
        hashes_of_part = hashes[start : start + PART]
        count = len(hashes_of_part)
        ids = random.integers(0, 256, (count, 32), dtype=np.uint8)
        width = random.integers(500, 6000, count).astype(np.int32)
        columns = {f.name: pa.nulls(count, f.type) for f in schema.IMAGES} | {
            "image_id": hex_strings(ids[:, :16]),
            "uri": hex_strings(ids[:, :16], b"s3://archive/2024/IMG_"),
            "shard": pa.array(["s3://archive/2024"] * count),
            "sha256": hex_strings(ids),
            "pixels_sha256": hex_strings(ids[:, ::-1]),
            "bytes": pa.array(width.astype(np.int64) * 300),
            "width": pa.array(width),
            "height": pa.array(width * 2 // 3),
            "phash": hash_column(hashes_of_part),
            "phash_turnable": hash_column(hashes_of_part),
            "phash_quality": pa.array(np.full(count, 100, np.int8)),
            "sharpness": pa.array(random.random(count, np.float32)),
            "faces": pa.array(np.zeros(count, np.int32)),
            "run_id": pa.array(["synthetic"] * count),
        }
        lake.publish_part(
            pa.table([columns[f.name] for f in schema.IMAGES], schema=schema.IMAGES), faces
        )


@dataclass(frozen=True)
class Cost:
    """Seconds, and the peak of memory: of all processes, and what is the command's own alone."""

    seconds: float
    peak: int
    private: int


def dedupe(lake: LakeStore, options: list[str]) -> Cost:
    """Run the command, and return what it took."""
    # the hashes are of no pictures: there is nothing to look at again
    named = ["dedupe", lake.folder.url, "--no-confirm", *options]
    command = [sys.executable, "-m", "pipeline.commands.main", *named]
    began, peak, own, number = time.monotonic(), 0, 0, 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        with suppress(OSError):  # it has just ended
            own = max(own, memory(process.pid).get("RssAnon", 0))
        if number % EVERY_OTHER == 0:
            tree = [process.pid, *(pid for pid, _ in children(process.pid))]
            peak = max(peak, sum(pss(pid)[0] for pid in tree))
        number += 1
        time.sleep(0.02)
    if process.returncode:
        sys.exit(f"facelake dedupe ended with {process.returncode}")
    return Cost(time.monotonic() - began, peak, own)


def lake_of(folder: str, hashes: np.ndarray) -> LakeStore:
    """Return a new lake with a picture for each hash."""
    lake = LakeStore(folder)
    lake.claim(Models("synthetic@1", "synthetic@1", DIMENSION))
    write(lake, hashes, 2)
    return lake


def least(options: list[str], parent: str | None) -> Cost:
    """Return what a thousand pictures take."""
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        return dedupe(lake_of(folder, archive(1000, 1)[0]), options)


def found_pairs(lake: LakeStore) -> set[bytes]:
    """Return both hashes of each pair, the lower one first, as bytes."""
    table = Duplicates(lake).pairs()
    ends = zip(table["first"].to_pylist(), table["second"].to_pylist(), strict=True)
    return {b"".join(sorted(pair)) for pair in ends}


def recall(
    hashes: np.ndarray, copies: np.ndarray, originals: np.ndarray, pairs_found: set[bytes]
) -> str:
    """Tell how many planted pairs were found, and whether a sample has any others."""
    bits = np.bitwise_count(hashes[copies] ^ hashes[originals]).sum(axis=1, dtype=np.int64)
    near = bits <= MATCH_BITS
    wanted = {
        b"".join(sorted((hashes[a].tobytes(), hashes[b].tobytes())))
        for a, b in zip(copies[near].tolist(), originals[near].tolist(), strict=True)
    }
    words = hashes.view(np.uint64)
    missed = 0
    for row in np.random.default_rng(0).choice(len(hashes), SAMPLE, replace=False).tolist():
        apart = np.bitwise_count(words ^ words[row]).sum(axis=1, dtype=np.int64)
        for other in np.flatnonzero((apart <= MATCH_BITS) & (apart > 0)).tolist():
            pair = b"".join(sorted((hashes[row].tobytes(), hashes[other].tobytes())))
            missed += pair not in pairs_found
    return (
        f"{len(wanted & pairs_found) / len(wanted):.6f} of {len(wanted):,}, sample misses {missed}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--folder", help="where the lakes are made")
    parser.add_argument("options", nargs="*", help="of facelake dedupe, after --")
    options = parser.parse_args()
    print(
        "| pictures | seconds | exponent | peak memory | a picture | driver, a picture | "
        "pairs found | recall | 1 % more, seconds | share | driver then, a picture |\n"
        f"|{'---|' * 11}",
        flush=True,
    )
    last, base = None, least(options.options, options.folder).private
    for count in options.pictures:
        hashes, copies, originals = archive(count, 1)
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            lake = lake_of(folder, hashes)
            cost = dedupe(lake, options.options)
            seconds, peak = cost.seconds, cost.peak
            pairs = found_pairs(lake)
            share = recall(hashes, copies, originals, pairs)
            more, _, _ = archive(max(1, count // 100), 3)
            more[::2] = hashes[: len(more[::2])]
            more[::2, 0] ^= 1  # half of them copies, one bit apart
            write(lake, more, 4)
            again = dedupe(lake, options.options)
        power = "" if last is None else (
            f"{np.log(seconds / last[1]) / np.log(count / last[0]):.2f}"
        )  # fmt: skip
        cells = (
            f"{count:,}", f"{seconds:.0f}", power, f"{peak / 1e9:.1f} GB", f"{peak / count:.0f} B",
            f"{(cost.private - base) / count:.0f} B", f"{len(pairs):,}", share,
            f"{again.seconds:.1f}", f"{again.seconds / seconds:.1%}",
            f"{(again.private - base) / count:.0f} B",
        )  # fmt: skip
        print(f"| {' | '.join(cells)} |", flush=True)
        last = count, seconds


if __name__ == "__main__":
    main()
