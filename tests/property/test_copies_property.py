"""What must hold of the search for copies, whatever the hashes and however they are cut."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedupe import gather, search
from pipeline.dedupe.algorithms import hamming
from pipeline.dedupe.algorithms.banding import BITS, Band, bands, best_bands, distances, spread
from pipeline.dedupe.algorithms.dihedral import BOTH, MIRRORED, ROTATED, turned, turns
from pipeline.dedupe.algorithms.hamming import Comparison, Pairs, Sides, close_pairs
from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.algorithms.stars import Graph, Lists, Near, stars
from pipeline.dedupe.duplicates import Duplicates
from pipeline.dedupe.run import Run
from pipeline.errors import ConfigError
from pipeline.lake.checkpoints import in_process
from tests.support.pictures import flipped, lake_of, row


def families(seed, count, radius):
    """Return random hashes, many of them some bits from another one, around the radius."""
    random = np.random.default_rng(seed)
    hashes = random.integers(0, 256, (count, 32), dtype=np.uint8)
    for i in range(count // 2, count):
        bits = np.unpackbits(hashes[random.integers(0, i)])
        bits[random.permutation(BITS)[: random.integers(1, radius + 4)]] ^= 1
        hashes[i] = np.packbits(bits)
    return np.unique(hashes, axis=0)


def brute(words, radius, sides):
    found = np.bitwise_count(words[:, None] ^ words[None]).sum(axis=-1, dtype=int)
    i, j = np.nonzero(np.triu(found <= radius, 1))
    if sides.split:
        across = (i < sides.split) & (j >= sides.split)
        i, j = i[across], j[across]
    return sorted(zip(i.tolist(), j.tolist(), found[i, j].tolist(), strict=True))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(2, 120),
    radius=st.integers(0, 40),
    tolerance=st.sampled_from([0, 2, 4]),
    extra=st.integers(0, 3),
    shares=st.sampled_from([1, 2, 4]),
    block=st.sampled_from([2, 50, 1 << 15]),
    side=st.sampled_from(["all", "across", "far"]),
    key_bits=st.integers(6, 14),
)
def test_every_pair_within_the_radius_is_found_once_by_any_banding(
    seed, count, radius, tolerance, extra, shares, block, side, key_bits
):
    words = spread(families(seed, count, max(radius, 1)))
    choice = bands(radius, radius // (tolerance + 1) + 1 + extra, tolerance, key_bits)
    if side == "far" and tolerance == 4:
        choice = bands(radius, radius // 3 + 1, 2, key_bits)  # thousands of keys a hash otherwise
    sides = Sides(0 if side == "all" else max(1, len(words) // 2), side == "far")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "BLOCK_PAIRS", block)
        patch.setattr(hamming, "CHUNK_ENTRIES", 1000)
        pairs = Pairs.join(
            [
                close_pairs(words, Comparison(radius, choice, sides), number, (i, shares))
                for number in range(len(choice))
                for i in range(shares)
            ]
        )
    names = sorted(zip(pairs.first.tolist(), pairs.second.tolist(), pairs.bits.tolist(),
                       strict=True))  # fmt: skip
    assert names == brute(words, radius, sides)


@given(radius=st.integers(0, 63), left=st.integers(1, 10**9), right=st.integers(0, 10**7))
def test_chosen_bands_miss_nothing_and_do_not_overlap(radius, left, right):
    choice = best_bands(radius, left, right)
    if not choice[0].width:  # all pairs
        return
    assert sum(band.tolerance + 1 for band in choice) > radius
    taken = [bit for band in choice for bit in range(band.first, band.first + band.width)]
    assert len(taken) == len(set(taken)) <= BITS
    assert max(taken) < BITS


def test_bands_that_miss_pairs_are_refused():
    with pytest.raises(ConfigError, match="miss pairs"):
        bands(31, 10, 2)
    with pytest.raises(ConfigError):
        Band(0, 27, 2)


@given(st.integers(0, 2**32), st.integers(1, 20))
def test_spreading_keeps_distances(seed, count):
    random = np.random.default_rng(seed)
    a, b = random.integers(0, 256, (2, count, 32), dtype=np.uint8)
    assert (distances(spread(a), spread(b)) == np.bitwise_count(a ^ b).sum(axis=1)).all()


@given(st.integers(0, 2**32), st.integers(1, 10))
def test_turns_are_what_they_are_called(seed, count):
    hashes = np.random.default_rng(seed).integers(0, 256, (count, 32), dtype=np.uint8)
    for turn in (*MIRRORED, *ROTATED, *BOTH):
        once = turned(hashes, turn)
        assert (turned(once, turn) == hashes).all() == turn.mutual
        assert turn.mirrored == (turn not in ROTATED)
    half, quarter = ROTATED
    assert (turned(turned(hashes, quarter), quarter) == turned(hashes, half)).all()
    assert len(turns(True, True)) == 6  # of eight: itself, and one that another is seen by


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(2, 60),
    largest=st.integers(2, 20),
)
def test_stars_hold_copies_of_the_kept_one_alone(seed, count, largest):
    random = np.random.default_rng(seed)
    words = spread(families(seed, count, 31))
    size = len(words)
    pairs = close_pairs(words, Comparison(31, (Band(0, 0, 0),)), 0)
    owner = np.arange(size)
    none = np.zeros(0, np.int64)
    graph = Graph(
        (Near.of(0, Lists.of(owner, owner, size), Lists.of(owner, owner, size), pairs, True),),
        ((1, Lists.of(none, none, size)),),
    )  # fmt: skip
    rank = random.permutation(size)
    grouped = stars(
        graph, rank, largest, np.ones(size, int), lambda one, others, bits, _: bits >= 0
    )
    members = np.flatnonzero(grouped.kept != owner)
    kept = grouped.kept[members]
    assert (grouped.kept[kept] == kept).all()
    bits = distances(words[members], words[kept])
    assert (bits <= 31).all()
    assert (bits == grouped.bits[members]).all()
    assert (rank[kept] < rank[members]).all()
    sizes = np.bincount(grouped.kept, minlength=size)
    assert sizes.max() <= largest
    for one in np.flatnonzero(grouped.kept == owner):  # nobody is left alone beside room in a star
        beside = np.flatnonzero((distances(words, words[one]) <= 31) & (rank < rank[one]))
        assert all(grouped.kept[b] != b or sizes[b] >= largest for b in beside)


def backwards(function, arguments):
    yield from reversed([function(*each) for each in reversed(arguments)])


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    part=st.sampled_from([3, 10, 1000]),
    task=st.sampled_from([1, 10**6]),
    keys=st.sampled_from([64, 1 << 26]),
    mapper=st.sampled_from([in_process, backwards]),
)
def test_order_parts_and_workers_do_not_change_the_result(seed, part, task, keys, mapper):
    random = np.random.default_rng(seed)
    rows = [row(f"/p/{i}.jpg", width=int(random.integers(50, 60))) for i in range(25)]
    for i in range(15):
        of = rows[random.integers(0, 25)]
        rows.append(row(f"/q/{i}.jpg", phash=flipped(of["phash"], int(random.integers(0, 35)), i)))
    rows[3]["sha256"] = rows[4]["sha256"]
    rows[3]["pixels_sha256"] = rows[4]["pixels_sha256"]
    results = []
    for k in range(2):
        with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
            if k:
                patch.setattr(gather, "TASK_IMAGES", task)
                patch.setattr(search, "TASK_KEYS", keys)
            order = random.permutation(len(rows)) if k else np.arange(len(rows))
            lake = lake_of(Path(folder), [rows[i] for i in order], part if k else None)
            config = DedupeConfig(mirrored=True, confirm=False)
            Run(Duplicates(lake), config, mapper if k else in_process, "same").dedupe()
            results.append(Duplicates(lake).table().to_pylist())
    assert results[0] == results[1]
