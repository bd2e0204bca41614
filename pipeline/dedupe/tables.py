"""Rows of `duplicates` from groups of pictures."""

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Bytes, Ints
from pipeline.dedupe.algorithms.banding import distances, spread
from pipeline.dedupe.algorithms.dihedral import Turn
from pipeline.dedupe.algorithms.pictures import Pictures
from pipeline.dedupe.gather import binary
from pipeline.dedupe.groups import Groups, HashPairs
from pipeline.imaging.phash import HASH_BYTES
from pipeline.lake import schema

KEPT, EXACT, PIXELS, NEAR, BURST = "kept", "exact", "pixels", "near", "burst"
MIRRORED, ROTATED, CROP, SIMILAR = "mirrored", "rotated", "crop", "similar"
# What `--apply` and `--plan` may act on, in the order in which they are shown.
COPIES = (EXACT, PIXELS, NEAR, MIRRORED, ROTATED, CROP, SIMILAR)

WORDS = {
    EXACT: "the same file",
    PIXELS: "the same pixels in another file",
    NEAR: "nearly the same picture",
    CROP: "a part of it, by a face that both show",
    SIMILAR: "the same picture, or a part of it, by the image embedding and a second look",
}


def rows(groups: Groups, run_id: str) -> pa.Table:
    """Return the rows of `duplicates`, group by group, the kept picture first."""
    every = [*copies(groups, run_id), *shots(groups, run_id)]
    return by_group(pa.Table.from_pylist(every, schema.DUPLICATES))


def by_group(table: pa.Table) -> pa.Table:
    """Return rows of `duplicates` in the order of their groups, each group's as they stand."""
    order = np.argsort(np.array(table["group_id"].to_pylist(), "S16"), kind="stable")
    return table.take(pa.array(order))


def copies(groups: Groups, run_id: str) -> list[dict[str, Any]]:
    """Return the rows of copies."""
    kept = groups.kept
    sizes = np.bincount(kept, minlength=len(kept))
    members = np.flatnonzero(sizes[kept] > 1)
    members = members[np.lexsort((groups.ranks[members], groups.ranks[kept[members]]))]
    # The runner-up of each group tells best what decided.
    second: dict[int, int] = {}
    for picture in members.tolist():
        if kept[picture] != picture:
            second.setdefault(int(kept[picture]), picture)
    out = []
    for picture in members.tolist():
        best = int(kept[picture])
        if picture == best:
            kind, distance = KEPT, None
            text = groups.preference.reason(best, second[best])
        else:
            kind, distance, what = evidence(groups, picture, best)
            text = f"{what}; the kept one {groups.preference.reason(best, picture)}"
            if why := must_stay(groups, picture, best):
                text = f"{what}, but {why}"
        out.append(
            {
                "image_id": hex_id(groups, picture),
                "group_id": group_id(groups, best, "copies"),
                "kind": kind,
                "distance": distance,
                "keep": picture == best or must_stay(groups, picture, best) is not None,
                "reason": text,
                "run_id": run_id,
            }
        )
    return out


def must_stay(groups: Groups, picture: int, best: int) -> str | None:
    """Return why a copy is no copy to remove, None if it is one."""
    pictures = groups.pictures
    if pictures.place[picture] == pictures.place[best]:
        return "it is the kept file itself, indexed twice"
    if pictures.reference[picture]:
        return "in a reference folder"
    same = (pictures.sha[picture] == pictures.sha[best]).all()
    if pictures.holds_more[picture] and not same:
        return "its file holds further pages, frames or depth"
    return None


def evidence(groups: Groups, picture: int, best: int) -> tuple[str, int | None, str]:
    """Return the kind of a copy, the distance of its hash, and the kind in words."""
    pictures = groups.pictures
    if (pictures.sha[picture] == pictures.sha[best]).all():
        return EXACT, 0, WORDS[EXACT]
    if groups.classes[picture] == groups.classes[best]:
        return PIXELS, 0, WORDS[PIXELS]
    kind, bits = (int(v[groups.classes[picture]]) for v in (groups.stars.kind, groups.stars.bits))
    if kind == 0:
        return NEAR, bits, WORDS[NEAR]
    if kind > len(groups.turns):
        other = (CROP, SIMILAR)[kind - len(groups.turns) - 1]
        return other, None, WORDS[other]
    turn = groups.turns[kind - 1]
    return (MIRRORED if turn.mirrored else ROTATED), bits, f"the same picture, {turn.name}"


def shots(groups: Groups, run_id: str) -> list[dict[str, Any]]:
    """Return the rows of bursts: all shots are kept, the best is named."""
    pictures = groups.pictures
    members = np.flatnonzero(groups.burst >= 0)
    members = members[np.lexsort((groups.ranks[members], groups.burst[members]))]
    starts = np.flatnonzero(np.diff(groups.burst[members], prepend=-1))
    sizes = np.diff(np.append(starts, len(members)))
    best_of = [sharpest(groups, members[a : a + n]) for a, n in zip(starts, sizes, strict=True)]
    best = np.repeat(np.array(best_of, np.int64), sizes)
    words = spread(pictures.phash[members]), spread(pictures.phash[best])
    return [
        {
            "image_id": hex_id(groups, picture),
            "group_id": group_id(groups, sharp, BURST),
            "kind": BURST,
            "distance": bits,
            "keep": True,
            "reason": "the sharpest of a burst" if picture == sharp else "another shot of a burst",
            "run_id": run_id,
        }
        for picture, sharp, bits in zip(
            members.tolist(), best.tolist(), distances(*words).tolist(), strict=True
        )
    ]


def sharpest(groups: Groups, members: Ints) -> int:
    """Return the sharpest of some pictures, the preferred one of equals."""
    sharp = np.nan_to_num(groups.pictures.sharpness[members])
    return int(members[np.lexsort((groups.ranks[members], -sharp))[0]])


def hex_id(groups: Groups, picture: int) -> str:
    """Return the image_id of a picture."""
    return bytes(groups.pictures.image_id[picture]).hex()


def group_id(groups: Groups, best: int, kind: str) -> str:
    """Return an id that a group keeps as long as its best picture stays the best."""
    return blake2b(f"{kind}{hex_id(groups, best)}".encode(), digest_size=8).hexdigest()


def counts(table: pa.Table) -> dict[str, int]:
    """Return how many rows there are of each kind."""
    return dict(Counter(table["kind"].to_pylist()))


def crop_rows(pictures: Pictures, crops: Ints) -> pa.Table:
    """Return pairs of pictures as rows of `schema.CROP_PAIRS`."""
    ends = [
        pa.array([bytes(pictures.image_id[i]).hex() for i in end.tolist()], pa.string())
        for end in crops.T
    ]
    return pa.table(ends, schema=schema.CROP_PAIRS)


def pair_rows(hash_pairs: Sequence[HashPairs]) -> pa.Table:
    """Return pairs as rows of `schema.HASH_PAIRS`."""
    parts = [schema.HASH_PAIRS.empty_table()]
    for of_kind in hash_pairs:
        for turn, pairs in of_kind.pairs.items():
            values = of_kind.hashes.values
            parts.append(pairs_of(values[pairs.first], values[pairs.second], pairs.bits, turn))
    return distinct_pairs(pa.concat_tables(parts))


def pairs_of(first: Bytes, second: Bytes, bits: Ints, turn: Turn | None) -> pa.Table:
    """Return pairs of hashes uint8 [P, 32] as rows of `schema.HASH_PAIRS`."""
    name = pa.array([turn.name if turn else None] * len(bits), pa.string())
    columns = [hash_column(first), hash_column(second), pa.array(bits.astype(np.int16)), name]
    return pa.table(columns, schema=schema.HASH_PAIRS)


def distinct_pairs(table: pa.Table) -> pa.Table:
    """Return each pair and turn once, at its smaller distance, the lower hash first, in order."""
    ends = [binary(table[name], HASH_BYTES)[0].view("S32").ravel() for name in ("first", "second")]
    number = np.unique(np.concatenate(ends), return_inverse=True)[1].reshape(2, -1)
    low, high = number.min(axis=0), number.max(axis=0)
    bits = table["bits"].to_numpy().astype(np.int64)
    turns = np.array([name or "" for name in table["turn"].to_pylist()], "U32")
    order = np.lexsort((bits, high, low, turns))
    keys = np.stack([np.unique(turns, return_inverse=True)[1], low, high], axis=1)[order]
    keep = np.ones(len(order), bool)
    keep[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    rows = order[keep]
    swapped = pa.array(number[0][rows] > number[1][rows])
    table = table.take(pa.array(rows))
    first = pc.if_else(swapped, table["second"], table["first"])
    second = pc.if_else(swapped, table["first"], table["second"])
    return table.set_column(0, schema.HASH_PAIRS.field("first"), first).set_column(
        1, schema.HASH_PAIRS.field("second"), second
    )


def hash_column(hashes: Bytes) -> pa.Array:
    """Return hashes [N, 32] as a column of fixed-size bytes."""
    data = pa.py_buffer(np.ascontiguousarray(hashes))
    kind = pa.binary(HASH_BYTES)
    return pa.Array.from_buffers(kind, len(hashes), [None, data])
