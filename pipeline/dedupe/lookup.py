"""Looks one picture up in a lake: which of its images are copies of it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Bools, Bytes, Ints
from pipeline.dedupe.algorithms.banding import distances, spread
from pipeline.dedupe.algorithms.dihedral import turned, turns
from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.gather import binary
from pipeline.dedupe.tables import EXACT, MIRRORED, NEAR, PIXELS, ROTATED
from pipeline.imaging.phash import HASH_BYTES, MIN_QUALITY
from pipeline.imaging.record import Fingerprint
from pipeline.lake.store import LakeStore
from pipeline.sources.photo import decode_photo

READ = ["image_id", "uri", "width", "height", "bytes", "sha256", "pixels_sha256", "phash",
        "phash_quality", "phash_inner", "phash_turnable"]  # fmt: skip


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
    data, _, marks = decode_photo(path, options)
    return Probe(hashlib.sha256(data).hexdigest(), marks)


def look_up(lake: LakeStore, probe: Probe, config: DedupeConfig) -> list[dict[str, Any]]:
    """Return the images of the lake that are copies of the picture, the surest first.

    Each has image_id, uri, width, height, bytes, kind and distance, as in `duplicates`.
    """
    table = lake.read("images", READ)
    evidence: dict[int, tuple[int, str, int]] = {}

    def add(rows: np.ndarray, order: int, kind: str, bits: np.ndarray) -> None:
        for row, distance in zip(rows.tolist(), bits.tolist(), strict=True):
            best = (order, kind, distance)
            evidence[row] = min(evidence.get(row, best), best, key=lambda b: (b[0], b[2]))

    for order, (column, kind, value) in enumerate(
        [("sha256", EXACT, probe.sha256), ("pixels_sha256", PIXELS, probe.marks.pixels_sha256)]
    ):
        rows = np.flatnonzero(pc.equal(table[column], value).fill_null(False))
        add(rows, order, kind, np.zeros(len(rows), int))
    marks = probe.marks
    own_hashes = [marks.phash] if marks.phash_quality >= MIN_QUALITY else []
    own_hashes += [marks.phash_inner] if marks.phash_inner else []
    if own_hashes:
        probe_hashes = np.frombuffer(b"".join(own_hashes), np.uint8).reshape(-1, HASH_BYTES)
        for values, rows in plain_columns(table):
            bits = distances(spread(values)[:, np.newaxis], spread(probe_hashes)).min(axis=1)
            close = np.flatnonzero(bits <= config.radius)
            add(rows[close], 2, NEAR, bits[close])
    if marks.phash_quality < MIN_QUALITY:
        return ranked(table, evidence)
    values, rows = turnable_column(table)
    own_turnable = np.frombuffer(marks.phash_turnable, np.uint8)[np.newaxis]
    for turn in (None, *turns(config.mirrored, config.rotated)):
        kind = NEAR if turn is None else MIRRORED if turn.mirrored else ROTATED
        probe_hashes = own_turnable if turn is None else turned(own_turnable, turn)
        if turn is not None and not turn.mutual:  # and the other way round
            probe_hashes = np.concatenate([probe_hashes, turned(turned(probe_hashes, turn), turn)])
        bits = distances(spread(values)[:, np.newaxis], spread(probe_hashes)).min(axis=1)
        close = np.flatnonzero(bits <= config.radius)
        add(rows[close], 2 + (turn is not None), kind, bits[close])
    return ranked(table, evidence)


def ranked(table: pa.Table, evidence: dict[int, tuple[int, str, int]]) -> list[dict[str, Any]]:
    """Return rows of the table with kind and distance, the surest evidence first."""
    order = sorted(evidence.items(), key=lambda item: (item[1][0], item[1][2], item[0]))
    shown = table.select(READ[:5])
    return [
        {**shown.slice(row, 1).to_pylist()[0], "kind": kind, "distance": distance}
        for row, (_, kind, distance) in order
    ]


def plain_columns(table: pa.Table) -> list[tuple[Bytes, Ints]]:
    """Return the hashes of images and of what lies inside their bars, with their rows."""
    outer, valid = binary(table["phash"], HASH_BYTES)
    inner, has_inner = binary(table["phash_inner"], HASH_BYTES)
    good = valid & means_something(table)
    return [
        (outer[good], np.flatnonzero(good)),
        (inner[has_inner], np.flatnonzero(has_inner)),
    ]


def turnable_column(table: pa.Table) -> tuple[Bytes, Ints]:
    """Return the hashes of images that can be mirrored and turned, with their rows."""
    values, valid = binary(table["phash_turnable"], HASH_BYTES)
    good = valid & means_something(table)
    return values[good], np.flatnonzero(good)


def means_something(table: pa.Table) -> Bools:
    """Return of which images the hash says something."""
    quality = table["phash_quality"].fill_null(0).to_numpy()
    good: Bools = quality >= MIN_QUALITY
    return good
