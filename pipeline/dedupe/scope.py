"""What a run groups: the pictures that are not alone, or those of them that anything new concerns.

All others are as they were. Families (`algorithms.families`) say who that is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.arrays import Bools, Ints
from pipeline.dedupe.algorithms.dihedral import turns
from pipeline.dedupe.algorithms.families import ALONE, chained, families, in_time, of_hashes
from pipeline.dedupe.algorithms.pictures import Pictures, pixel_classes
from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.apart import chosen, pairs_apart, parted
from pipeline.dedupe.duplicates import Duplicates
from pipeline.dedupe.evidence import EvidenceSearch, pairs_among
from pipeline.dedupe.gather import VERSION
from pipeline.dedupe.groups import Evidence, HashPairs, plain_hashes, turnable_hashes
from pipeline.dedupe.tables import pair_rows
from pipeline.errors import StorageError
from pipeline.lake import schema
from pipeline.people.constraints import Constraint

# Versions and rows of the parts, as they were gathered.
Parts = Mapping[str, tuple[str, int]]


@dataclass(frozen=True)
class Before:
    """What the search before found out about all pictures.

    Attributes:
        parts: in the order of the pictures.
        families: rows of `schema.FAMILIES`.
        rows: of `schema.DUPLICATES`.
        about: what is noted beside its tables.
    """

    parts: Parts
    families: pa.Table
    rows: pa.Table
    about: Mapping[str, Any]

    @classmethod
    def of(cls, duplicates: Duplicates, config: DedupeConfig) -> "Before | None":
        """Return it, None where groups cannot be built on it.

        What looks at all pictures again (`--crops`, `--embedding`) finds pairs of old ones too.
        """
        about = duplicates.current()
        if about is None or config.full or config.crops or config.model is not None:
            return None
        same = json_like(asdict(config)) == about.get("config")
        gathered = about.get("gathered")
        if not same or not gathered or gathered["version"] != VERSION:
            return None
        try:
            families, rows = duplicates.families(), duplicates.table()
        except StorageError:
            return None
        parts = {name: (version, count) for name, (version, count) in gathered["parts"].items()}
        return cls(parts, families, rows, about)


def json_like(value: Any) -> Any:
    """Return a value as JSON gives it back."""
    if isinstance(value, dict):
        return {key: json_like(one) for key, one in value.items()}
    return [json_like(one) for one in value] if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True)
class Kept:
    """What is taken over from the search before.

    Attributes:
        rows: of `schema.DUPLICATES`.
        looks: of `schema.LOOKS`.
        families: of `schema.FAMILIES`, `row` as it is now.
    """

    rows: pa.Table
    looks: pa.Table
    families: pa.Table


NOTHING = Kept(
    schema.DUPLICATES.empty_table(), schema.LOOKS.empty_table(), schema.FAMILIES.empty_table()
)


@dataclass(frozen=True)
class Scope:
    """The pictures that are grouped, and what is known of all.

    Attributes:
        pictures: that are grouped.
        row: place of each among all pictures, int64 [N].
        parts: of the lake, in the order of all pictures.
        evidence: about the pictures.
        pairs: rows of `schema.HASH_PAIRS`, of all pictures.
        crops: pairs of pictures as rows of `schema.CROP_PAIRS`, of all.
        kept: what is taken over.
        counts: figures of the run: images, new_images, hashes, new_hashes.
        burst_s: seconds from one shot of a burst to the next.
    """

    pictures: Pictures
    row: Ints
    parts: Parts
    evidence: Evidence
    pairs: pa.Table
    kept: Kept
    counts: Mapping[str, int]
    burst_s: float

    @property
    def part(self) -> Ints:
        """Number of the part of each picture, int64 [N]."""
        ends = np.cumsum([rows for _, rows in self.parts.values()])
        return np.searchsorted(ends, self.row, side="right").astype(np.int64)

    def families(self, kept: Ints, refused: Ints, unread: Bools) -> pa.Table:
        """Return rows of `schema.FAMILIES` of all pictures.

        Args:
            kept: picture that is kept of the group of each.
            refused: pairs of each that a second look refused.
            unread: which could not be read for one.
        """
        own = families(len(self.pictures), links(self.pictures, self.evidence, self.burst_s))
        before = self.kept.families["family"].to_numpy()
        spare = np.where(kept != np.arange(len(kept)), self.pictures.bytes, 0)
        rows = np.flatnonzero(own != ALONE)
        columns = (self.row, own + before.max(initial=0), spare, refused, unread)
        new = pa.table([pa.array(one[rows]) for one in columns], schema=schema.FAMILIES)
        return pa.concat_tables([self.kept.families, new]).sort_by("row")


def links(pictures: Pictures, evidence: Evidence, burst_s: float) -> Iterator[Ints]:
    """Yield pairs of pictures that hang together, int64 [L, 2] each."""
    yield chained(np.arange(len(pictures)), pixel_classes(pictures))
    for one in (evidence.plain, evidence.turned):
        yield from of_hashes(one.hashes, iter(one.pairs.values()))
    yield evidence.crops
    yield evidence.similar
    yield in_time(pictures, burst_s)


def evidence_among(
    pictures: Pictures, pairs: pa.Table, said: Sequence[Constraint], config: DedupeConfig
) -> Evidence:
    """Return the evidence about pictures that rows of `schema.HASH_PAIRS` and people give."""
    kinds = turns(config.mirrored, config.rotated)
    plain, turnable = plain_hashes(pictures), turnable_hashes(pictures)
    none = np.zeros((0, 2), np.int64)
    return Evidence(
        HashPairs(plain, pairs_among(pairs, plain, (None,))),
        HashPairs(turnable, pairs_among(pairs, turnable, (None, *kinds))),
        none,
        none,
        pairs_apart(said, pictures),
        chosen(said, pictures),
    )


def whole(search: EvidenceSearch, parts: Parts, said: Sequence[Constraint]) -> Scope:
    """Return what is grouped when all pictures are looked at."""
    pictures, config = search.pictures, search.config
    apart = pairs_apart(said, pictures)
    found = search.evidence(parted(pixel_classes(pictures), apart), apart)
    pairs = pair_rows([found.plain, found.turned])
    hashes = found.plain.hashes
    counts = {
        "images": len(pictures),
        "new_images": len(pictures) - search.first_new,
        "hashes": len(hashes.values),
        "new_hashes": int(hashes.new(search.first_new).sum()),
    }
    family = families(len(pictures), links(pictures, found, config.burst_s))
    row = np.flatnonzero(family != ALONE)
    place = np.full(len(pictures), -1, np.int64)
    place[row] = np.arange(len(row))
    own = pictures.take(row)
    evidence = replace(
        evidence_among(own, pairs, said, config),
        crops=place[found.crops],
        similar=place[found.similar],
    )
    return Scope(own, row, parts, evidence, pairs, NOTHING, counts, config.burst_s)
