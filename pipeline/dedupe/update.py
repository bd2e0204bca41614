"""Finds what new pictures concern, on top of the search before, in one pass over the old ones."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.arrays import Bools, Bytes, Ints
from pipeline.dedupe.algorithms.dihedral import Turn, turned, turns
from pipeline.dedupe.algorithms.families import beside, timed
from pipeline.dedupe.algorithms.known import Known, KnownHashes
from pipeline.dedupe.algorithms.pictures import Pictures
from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.duplicates import Duplicates
from pipeline.dedupe.gather import EMPTY, Gathered, binary, hexes, plan_tasks
from pipeline.dedupe.groups import hash_columns, plain_hashes, turnable_hashes
from pipeline.dedupe.scope import Before, Kept, Scope, evidence_among
from pipeline.dedupe.tables import distinct_pairs, pairs_of
from pipeline.imaging.phash import HASH_BYTES
from pipeline.lake import schema
from pipeline.lake.checkpoints import Arrays, TaskRunner, Workspace
from pipeline.lake.moves import replaced
from pipeline.people.constraints import Constraint

# Where more of the pictures are new, or gone, all are grouped.
MOST_NEW = 0.1
ASKED = "asked"
NO_PAIRS = np.zeros(
    0,
    [("old", np.uint8, (HASH_BYTES,)), ("new", np.uint8, (HASH_BYTES,)), ("bits", np.int64),
     ("probe", np.int64)],
)  # fmt: skip


@dataclass(frozen=True)
class Probe:
    """One way to look at the hashes of new pictures.

    Attributes:
        turnable: whether the hashes are of that kind.
        turn: what was done to one of two copies.
        hashes: uint8 [N, 32], turned.
        values: as they are.
    """

    turnable: bool
    turn: Turn | None
    hashes: Bytes
    values: Bytes


def probes(plain: Bytes, turnable: Bytes, kinds: Sequence[Turn]) -> list[Probe]:
    """Return all ways to look at hashes that find whatever is close to them."""
    found = [Probe(False, None, plain, plain), Probe(True, None, turnable, turnable)]
    for turn in kinds:
        once = turned(turnable, turn)
        found.append(Probe(True, turn, once, turnable))
        if not turn.mutual:  # three quarter turns take one back
            found.append(Probe(True, turn, turned(turned(once, turn), turn), turnable))
    return found


def touch(
    workspace: Workspace,
    name: str,
    gathered: Gathered,
    parts: Mapping[str, str],
    config: DedupeConfig,
) -> None:
    """Leave which pictures of some parts a new one concerns, and the pairs of their hashes."""
    asked = workspace.load(ASKED)
    looks = probes(asked["plain"], asked["turnable"], turns(config.mirrored, config.rotated))
    known = [KnownHashes(one.hashes, config.radius) for one in looks]
    exact = {column: Known(asked[column]) for column in ("sha", "pixels", "image_id")}
    rows, found, first = [np.zeros(0, np.int64)], [NO_PAIRS], 0
    for part, version in parts.items():
        pictures = gathered.load(part, version)
        touched = beside(pictures, asked["camera"], asked["taken_ms"], config.burst_s)
        for column, rows_known in exact.items():
            touched |= rows_known.among(getattr(pictures, column))
        for number, look in enumerate(looks):
            for own, hashes in hash_columns(pictures, look.turnable):
                pairs = known[number].close(hashes)
                touched[own[pairs.first]] = True
                one = np.zeros(len(pairs.bits), NO_PAIRS.dtype)
                one["old"], one["new"] = hashes[pairs.first], look.values[pairs.second]
                one["bits"], one["probe"] = pairs.bits, number
                found.append(one[(one["old"] != one["new"]).any(axis=1)])
        rows.append(np.flatnonzero(touched) + first)
        first += len(pictures)
    workspace.save(name, {"rows": np.concatenate(rows), "pairs": np.concatenate(found)})


@dataclass(frozen=True)
class Update:
    """A search for what is new since the one before.

    Attributes:
        duplicates: of the lake.
        config: settings, those of the search before.
        tasks: runs them.
        gathered: the columns of all parts.
        before: what the search before found out.
        parts: of the lake now, names to versions.
    """

    duplicates: Duplicates
    config: DedupeConfig
    tasks: TaskRunner
    gathered: Gathered
    before: Before
    parts: Mapping[str, str]

    def scope(self, said: Sequence[Constraint], asked: Sequence[str]) -> Scope | None:
        """Return what is grouped; None: too much is new, or it cannot be told what went.

        Args:
            said: what people say of pictures.
            asked: ids of the pictures of what they say since, or say no longer.
        """
        known = {n: version for n, (version, _) in self.before.parts.items()}
        old = {n: version for n, version in known.items() if self.parts.get(n) == version}
        gone = {n: version for n, version in known.items() if n not in old}
        fresh = {n: version for n, version in self.parts.items() if n not in old}
        went = [self.gathered.sound(*one) for one in gone.items()]
        loaded = {n: self.gathered.load(n, version).copy() for n, version in fresh.items()}
        changed = sum(map(len, loaded.values())) + sum(self.before.parts[n][1] for n in gone)
        total = sum(rows for _, rows in self.before.parts.values())
        # Of reference folders something must be there, which nobody counts here.
        unsure = any(one is None for one in went) or (gone and self.config.reference)
        if changed > MOST_NEW * total or unsure:
            return None
        left = Pictures.join([EMPTY, *(one for one in went if one is not None)])
        new = Pictures.join([EMPTY, *loaded.values()])
        now = {n: self.before.parts[n] for n in old}
        now |= {n: (version, len(loaded[n])) for n, version in fresh.items()}
        return self._scope(new, left, now, self._touched(new, old, asked), said)

    def _touched(
        self, new: Pictures, old: Mapping[str, str], asked: Sequence[str]
    ) -> tuple[Ints, pa.Table]:
        """Return which old pictures new ones concern, and pairs of hashes with a new one."""
        plain, turnable = plain_hashes(new).values, turnable_hashes(new).values
        shots = np.flatnonzero(timed(new))
        shots = shots[np.argsort(new.taken_ms[shots])]
        what: Arrays = {
            "plain": plain, "turnable": turnable, "sha": new.sha,
            "pixels": new.pixels[new.pixels.any(axis=1)],
            "image_id": hexes(pa.chunked_array([list(asked)], pa.string())),
            "camera": new.camera[shots], "taken_ms": new.taken_ms[shots],
        }  # fmt: skip
        if ASKED not in self.tasks.workspace.names():
            self.tasks.workspace.save(ASKED, what)
        units = [(self.gathered, {n: old[n] for n in unit}, self.config)
                 for unit in plan_tasks(old, old)]  # fmt: skip
        self.tasks.run("touch", touch, units)
        kinds = turns(self.config.mirrored, self.config.rotated)
        looks = probes(plain, turnable, kinds)
        rows, first = [np.zeros(0, np.int64)], 0
        pairs = [schema.HASH_PAIRS.empty_table()]
        for number, (_, unit, _) in enumerate(units):
            left = self.tasks.workspace.load(f"touch-{number:05}")
            rows.append(left["rows"] + first)
            first += sum(self.before.parts[n][1] for n in unit)
            found = left["pairs"]
            for probe, look in enumerate(looks):
                own = found[found["probe"] == probe]
                pairs.append(pairs_of(own["old"], own["new"], own["bits"], look.turn))
        for look in looks:
            among = KnownHashes(look.hashes, self.config.radius).close(look.values)
            ends = look.values[among.first], look.values[among.second]
            apart = (ends[0] != ends[1]).any(axis=1)
            pairs.append(pairs_of(ends[0][apart], ends[1][apart], among.bits[apart], look.turn))
        return np.concatenate(rows), pa.concat_tables(pairs)

    def _scope(
        self,
        new: Pictures,
        gone: Pictures,
        now: Mapping[str, tuple[str, int]],
        touched: tuple[Ints, pa.Table],
        said: Sequence[Constraint],
    ) -> Scope:
        """Return what is grouped: what is touched, what hangs together with it, and what is new.

        Args:
            new: pictures that came.
            gone: pictures that went.
            now: versions and rows of the parts, the old ones first.
            touched: see `_touched`.
            said: what people say of pictures.
        """
        rows, apart = self._families_now(now, touched[0])
        old = Pictures.join([EMPTY, *self._take(now, rows)])
        pictures = Pictures.join([old, new])
        total = sum(count for _, count in now.values())
        row = np.concatenate([rows, np.arange(total - len(new), total)])
        pairs = distinct_pairs(pa.concat_tables([self._pairs_left(gone, now), touched[1]]))
        evidence = evidence_among(pictures, pairs, said, self.config)
        hashes = evidence.plain.hashes
        before = plain_hashes(Pictures.join([old, gone])).values
        counts = {
            "images": total,
            "new_images": len(new),
            "hashes": self.before.about["hashes"] - len(before) + len(hashes.values),
            "new_hashes": int(hashes.new(len(old)).sum()),
        }
        kept = Kept(*self._kept(old, gone), apart)
        return Scope(pictures, row, now, evidence, pairs, kept, counts, self.config.burst_s)

    def _families_now(
        self, now: Mapping[str, tuple[str, int]], touched: Ints
    ) -> tuple[Ints, pa.Table]:
        """Return the old pictures that are grouped again, and the families of the others."""
        table = self.before.families
        names = list(self.before.parts)
        counts = np.array([rows for _, rows in self.before.parts.values()], np.int64)
        ends = np.cumsum(counts)
        stays = np.array([name in now and now[name] == self.before.parts[name] for name in names])
        lost = np.where(stays, 0, counts)
        shift = np.cumsum(lost) - lost
        row, family = table["row"].to_numpy(), table["family"].to_numpy()
        part = np.searchsorted(ends, row, side="right")
        here = stays[part] if len(names) else np.zeros(0, bool)
        moved = row - shift[part] if len(names) else row
        # A picture that could not be read may be there again.
        unread = np.asarray(table["unread"], bool)
        concerned = np.unique(family[~here | unread | np.isin(moved, touched)])
        again = np.isin(family, concerned)
        rest = table.filter(pa.array(here & ~again))
        rest = replaced(rest, "row", moved[here & ~again])
        return np.union1d(touched, moved[here & again]), rest

    def _take(self, now: Mapping[str, tuple[str, int]], rows: Ints) -> Iterator[Pictures]:
        """Yield the pictures of some rows, which ascend."""
        first = 0
        for name, (version, count) in now.items():
            start, end = np.searchsorted(rows, [first, first + count]).tolist()
            if end > start:
                yield self.gathered.load(name, version).take(rows[start:end] - first)
            first += count

    def _pairs_left(self, gone: Pictures, now: Mapping[str, tuple[str, int]]) -> pa.Table:
        """Return the pairs of hashes of before; those that no picture has any more are left out."""
        table = self.duplicates.pairs()
        values = np.concatenate([plain_hashes(gone).values, turnable_hashes(gone).values])
        ends = [rows_of(table[name]) for name in ("first", "second")]
        suspects = np.concatenate(ends)
        suspects = suspects[Known(values).among(suspects)]
        if not len(suspects):
            return table
        known, alive = Known(suspects), [np.zeros((0, HASH_BYTES), np.uint8)]
        for name, (version, _) in now.items():
            pictures = self.gathered.load(name, version)
            for turnable in (False, True):
                alive += [h[known.among(h)] for _, h in hash_columns(pictures, turnable)]
        dead = Known(suspects[~Known(np.concatenate(alive)).among(suspects)])
        return table.filter(pa.array(~(dead.among(ends[0]) | dead.among(ends[1]))))

    def _kept(self, old: Pictures, gone: Pictures) -> tuple[pa.Table, pa.Table]:
        """Return the rows of duplicates, and what second looks said, that stay as they are."""
        again, went = Known(old.image_id), Known(gone.image_id)

        def among(known: Known, column: pa.ChunkedArray) -> Bools:
            return known.among(hexes(column))

        rows, looks = self.before.rows, self.duplicates.looks()
        stay = ~(among(again, rows["image_id"]) | among(went, rows["image_id"]))
        ends = looks["first"], looks["second"]
        said = ~(among(again, ends[0]) & among(again, ends[1]))
        said &= ~(among(went, ends[0]) | among(went, ends[1]))
        return rows.filter(pa.array(stay)), looks.filter(pa.array(said))


def rows_of(column: pa.ChunkedArray) -> Bytes:
    """Return a column of hashes as bytes, uint8 [N, 32]."""
    return binary(column, HASH_BYTES)[0]


def asked_since(
    rows: Sequence[Constraint], said: Sequence[Constraint], before: Sequence[str]
) -> list[str] | None:
    """Return the pictures of what people say since, or say no longer; None: nobody can tell.

    Args:
        rows: all that was ever said.
        said: what stands of it about pictures.
        before: ids of what stood before.
    """
    changed = {one.constraint_id for one in said} ^ set(before)
    by_id = {one.constraint_id: one for one in rows}
    if not changed <= by_id.keys():
        return None
    found = [by_id[one] for one in changed]
    return sorted({image for one in found for image in (*one.faces, *one.others)})
