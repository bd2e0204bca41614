"""Looks one picture up in a lake: which of its images are copies of it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.copies.banding import distances, spread
from pipeline.copies.dihedral import Turn, turned, turns
from pipeline.copies.settings import DedupeConfig
from pipeline.decode import Sandbox
from pipeline.dedupe.gather import binary
from pipeline.dedupe.tables import EXACT, MIRRORED, NEAR, PIXELS, ROTATED
from pipeline.errors import ConfigError, ImageError
from pipeline.fingerprint import Fingerprint
from pipeline.lake import Lake
from pipeline.phash import HASH_BYTES, MIN_QUALITY
from pipeline.storage import split_file, visible

READ = ["image_id", "uri", "width", "height", "bytes", "sha256", "pixels_sha256", "phash",
        "phash_quality", "phash_inner"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Probe:
    """A picture that is looked up."""

    sha256: str
    marks: Fingerprint


def read_probe(path: str, options: Mapping[str, Any]) -> Probe:
    """Return what a picture is recognised by.

    Raises:
        ConfigError: it cannot be decoded.
        StorageError: it cannot be read.
    """
    folder, name = split_file(path, options if "://" in path else {})
    data = folder.read(name)
    try:
        with Sandbox() as sandbox:
            _, marks = sandbox.decode(data)
    except ImageError as error:
        raise ConfigError(f"{visible(path)} cannot be looked up: {error}") from error
    return Probe(hashlib.sha256(data).hexdigest(), marks)


def look_up(lake: Lake, probe: Probe, config: DedupeConfig) -> list[dict[str, Any]]:
    """Return the images of the lake that are copies of the picture, the surest first.

    Each has image_id, uri, width, height, bytes, kind and distance, as in `duplicates`.
    """
    table = lake.read("images", READ)
    found: dict[int, tuple[int, str, int]] = {}

    def add(rows: np.ndarray, order: int, kind: str, bits: np.ndarray) -> None:
        for row, distance in zip(rows.tolist(), bits.tolist(), strict=True):
            best = (order, kind, distance)
            found[row] = min(found.get(row, best), best, key=lambda b: (b[0], b[2]))

    for order, (column, kind, value) in enumerate(
        [("sha256", EXACT, probe.sha256), ("pixels_sha256", PIXELS, probe.marks.pixels)]
    ):
        rows = np.flatnonzero(pc.equal(table[column], value).fill_null(False))
        add(rows, order, kind, np.zeros(len(rows), int))
    marks = probe.marks
    mine = [marks.phash] * (marks.quality >= MIN_QUALITY) + [marks.inner] * bool(marks.inner)
    ways: list[Turn | None] = [None, *turns(config.mirrored, config.rotated)]
    for values, rows in hash_columns(table):
        words = spread(values)
        for one in mine:
            hashes = np.frombuffer(one or b"", np.uint8)[np.newaxis]
            for turn in ways:
                kind = NEAR if turn is None else MIRRORED if turn.mirrored else ROTATED
                asked = [hashes] if turn is None else [turned(hashes, turn)]
                if turn is not None and not turn.mutual:  # and the other way round
                    asked.append(turned(turned(turned(hashes, turn), turn), turn))
                for way in asked:
                    bits = distances(words, spread(way))
                    close = np.flatnonzero(bits <= config.radius)
                    add(rows[close], 2 + (turn is not None), kind, bits[close])
    ranked = sorted(found.items(), key=lambda item: (item[1][0], item[1][2], item[0]))
    shown = table.select(READ[:5])
    return [
        {**shown.slice(row, 1).to_pylist()[0], "kind": kind, "distance": distance}
        for row, (_, kind, distance) in ranked
    ]


def hash_columns(table: pa.Table) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the hashes of images and of what lies inside their bars, with their rows."""
    outer, there = binary(table["phash"], HASH_BYTES)
    there &= table["phash_quality"].fill_null(0).to_numpy() >= MIN_QUALITY
    inner, has_inner = binary(table["phash_inner"], HASH_BYTES)
    return [
        (values[chosen], np.flatnonzero(chosen))
        for values, chosen in ((outer, there), (inner, has_inner))
    ]
