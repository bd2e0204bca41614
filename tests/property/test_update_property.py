"""A search on top of an earlier one finds what a search of everything finds, whatever happened."""

import shutil
import tempfile
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedupe import gather, run, update
from pipeline.dedupe.algorithms.families import beside, families, in_time, timed
from pipeline.dedupe.algorithms.known import Known, KnownHashes
from pipeline.dedupe.algorithms.pictures import Pictures
from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.confirm import Confirmation
from pipeline.dedupe.duplicates import Duplicates
from pipeline.dedupe.run import Run
from pipeline.lake.checkpoints import in_process
from pipeline.lake.moves import Place, bring_back, park
from pipeline.maintenance.follow import leaving
from pipeline.people.constraints import KEEPER, NOT_A_COPY
from pipeline.people.log import Statement, append
from pipeline.people.store import People
from tests.support.pictures import flipped, lake_of, noon, random_hash, row

EQUAL = ("sha256", "pixels_sha256")
FIGURES = (
    "images", "hashes", "pairs", "kinds", "bytes_of_copies", "told_apart", "parts",
    "unconfirmed_pairs", "unread_pictures",
)  # fmt: skip


def some_rows(random, count, batch):
    """Return pictures of few cameras within minutes, many of them like earlier ones of all."""
    rows = []
    for i in range(count):
        columns = {"width": int(random.integers(50, 60)), "bytes": int(random.integers(900, 999))}
        if random.random() < 0.6:
            columns["camera"] = f"camera {random.integers(2)}"
            columns["taken_at"] = noon(int(random.integers(0, 30)), int(random.integers(0, 9)))
        like = row(f"/p/{random.integers(batch + 1)}-{random.integers(count)}.jpg")
        chance = random.random()
        if chance < 0.3:
            columns["phash"] = flipped(like["phash"], int(random.integers(0, 35)), i)
        elif chance < 0.4:
            columns["phash_inner"] = flipped(like["phash"], int(random.integers(0, 35)), i)
        elif chance < 0.5:
            columns["phash_turnable"] = like["phash_turnable"]
        elif chance < 0.55:
            columns |= {name: random_hash(f"{name} {i % 4}").hex() for name in EQUAL}
        elif chance < 0.6:
            columns["pixels_sha256"] = like["pixels_sha256"]
        elif chance < 0.8:
            columns["phash"] = flipped(row("/scene")["phash"], int(random.integers(0, 60)), i)
        rows.append(row(f"/p/{batch}-{i}.jpg", **columns))
    return rows


def looked(self, pair):
    """Say of a pair what its ids say, instead of looking at originals."""
    ids = sorted(self._id(picture) for picture in pair[:2])
    self._said[pair] = blake2b("".join(ids).encode()).digest()[0] % 3 != 0
    return self._said[pair]


def change(random, lake, batch):
    """Add and remove some parts, and let somebody say or unsay something.

    Return whether photos left as a run of `index` lets them: then all may be grouped again.
    """
    lake_of(lake.folder.url, some_rows(random, int(random.integers(0, 12)), batch), part=4)
    if random.random() < 0.4:
        part = str(random.choice(lake.parts()))
        lake.folder.remove(f"images/{part}")
        lake.folder.remove(f"faces/{part}")
    left = random.random() < 0.5
    if left:
        leave(random, lake, batch)
    people = People(lake)
    rows = Duplicates(lake).table(["image_id"]).to_pylist()
    if len(rows) > 1 and random.random() < 0.6:
        one, other = map(
            str, random.choice(sorted({r["image_id"] for r in rows}), 2, replace=False)
        )
        said = [Statement(KEEPER, (one,)), Statement(NOT_A_COPY, (one,), [other])]
        append(people, [said[random.integers(2)]], "")
    stands = people.constraints()
    if stands and random.random() < 0.3:
        append(people, [Statement("undo", value=stands[-1].constraint_id)], "")
    return left


def leave(random, lake, batch):
    """Let photos go, as a run of `index` does, which may be cut; and come back as they were."""
    rows = lake.read("images", ["image_id", "uri", "shard", "file_version"]).to_pylist()
    alike = Duplicates(lake).table(["image_id"])["image_id"].to_pylist()
    some = [row for row in rows if row["image_id"] in alike or random.random() < 0.2]
    places = {
        row.pop("image_id"): Place(**row)
        for row in some
        if random.random() < random.choice([0.2, 1])
    }
    leaving(lake, set(places), f"left {batch}")
    if random.random() < 0.7:
        park(lake, set(places), datetime(2026, 1, 2, tzinfo=UTC))
        if random.random() < 0.7:
            bring_back(lake, places)


def found(lake, config, run_id):
    duplicates = Duplicates(lake)
    about = Run(duplicates, config, in_process, run_id).dedupe()
    rows = duplicates.table().drop_columns(["run_id"]).to_pylist()
    return rows, duplicates.pairs().to_pylist(), {key: about.get(key) for key in FIGURES}


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    confirm=st.booleans(),
    turned=st.booleans(),
    largest=st.sampled_from([3, 1000]),
    task=st.sampled_from([1, 10**6]),
)
def test_the_tables_are_those_of_a_search_of_everything(seed, confirm, turned, largest, task):
    random = np.random.default_rng(seed)
    config = DedupeConfig(mirrored=turned, rotated=turned, confirm=confirm, max_group=largest)
    everything = DedupeConfig(
        mirrored=turned, rotated=turned, confirm=confirm, max_group=largest, full=True
    )
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(update, "MOST_NEW", 10)
        patch.setattr(gather, "TASK_IMAGES", task)
        patch.setattr(Confirmation, "_is_copy", looked)
        lake = lake_of(Path(folder), some_rows(random, 30, 0), part=7)
        found(lake, config, "first")
        for batch in range(1, 4):
            left = change(random, lake, batch)
            with pytest.MonkeyPatch.context() as only:
                if not left:
                    only.setattr(run, "whole", None)  # nothing new is no reason to group all
                on_top = found(lake, config, f"on top {batch}")
            # families grow together with a full run in between or without one
            if batch != 2:
                shutil.rmtree(Path(folder, "duplicates", "_pictures"))
                assert on_top == found(lake, everything, f"all {batch}")


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), radius=st.integers(0, 63), count=st.integers(1, 40))
def test_all_that_is_close_to_known_hashes_is_found(seed, radius, count):
    random = np.random.default_rng(seed)
    known = random.integers(0, 256, (count, 32), dtype=np.uint8)
    bits = np.unpackbits(known[random.integers(0, count, 90)], axis=1)
    for one in bits:
        one[random.permutation(256)[: random.integers(0, radius + 4)]] ^= 1
    many = np.packbits(bits, axis=1)
    pairs = KnownHashes(known, radius).close(many)
    apart = np.bitwise_count(many[:, None] ^ known[None]).sum(axis=-1, dtype=int)
    first, second = np.nonzero(apart <= radius)
    assert (pairs.first.tolist(), pairs.second.tolist()) == (first.tolist(), second.tolist())
    assert pairs.bits.tolist() == apart[first, second].tolist()
    same = Known(known).among(many)
    assert same.tolist() == (apart == 0).any(axis=1).tolist()


@given(st.integers(0, 10**6), st.floats(0, 5))
def test_who_may_be_of_a_burst_with_new_shots_is_told(seed, burst_s):
    random = np.random.default_rng(seed)
    count = 30
    columns = {
        name: np.zeros((count, *getattr(gather.EMPTY, name).shape[1:]),
                       getattr(gather.EMPTY, name).dtype)
        for name in Pictures.names()
    }  # fmt: skip
    columns["camera"] = random.integers(0, 3, count).astype(np.uint64)
    columns["taken_ms"] = random.integers(0, 60, count) * 500.0
    columns["taken_ms"][random.random(count) < 0.1] = np.nan
    columns["has_phash"] = random.random(count) < 0.9
    everything = Pictures(**columns)
    new = np.arange(count) >= 25
    shots = np.flatnonzero(new & timed(everything))
    shots = shots[np.argsort(everything.taken_ms[shots])]
    of_new = everything.camera[shots], everything.taken_ms[shots]
    touched = beside(everything.take(~new), *of_new, burst_s)
    family = families(count, iter([in_time(everything, burst_s)]))
    for own in set(family[new].tolist()) - {0}:
        before = families(25, iter([in_time(everything.take(~new), burst_s)]))
        members = np.flatnonzero(family[:25] == own)
        reached = touched[members] | np.isin(before[members], before[:25][touched & (before > 0)])
        assert reached.all()
