"""Searching: exact answers, the index and what becomes of it, messages."""

import json
import sys

import numpy as np
import pytest

from pipeline.errors import ConfigError, LakeMismatchError, StorageError
from pipeline.lake.store import LakeStore
from pipeline.search import Searcher
from pipeline.search import build as building
from pipeline.search.build import Build
from pipeline.search.measure import fewest
from pipeline.search.settings import VectorIndexConfig
from pipeline.search.shards import plan, shard_of
from pipeline.search.store import IndexStore
from pipeline.search.vectors import sizes_of
from tests.support import synthetic
from tests.support.lakes import archive, face_id, make

faiss = pytest.importorskip("faiss")


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(synthetic, "PART", 100)


def add(folder, vectors, first=0):
    make(folder, vectors, [f"f{first + i}" for i in range(len(vectors))])
    return LakeStore(str(folder))


def build(lake, run_id="run", **settings):
    return Build(lake, VectorIndexConfig(**settings), run_id=run_id).run()


def ids(result):
    return [[hit.face_id for hit in hits] for hits in result]


def by_numpy(vectors, queries, k):
    """Return the ids of the most similar of faces f0, f1, ..."""
    scores = queries.astype(float) @ vectors.astype(float).T
    names = [face_id(f"f{i}") for i in range(len(vectors))]
    return [[i for _, i in sorted(zip(-row, names, strict=True))[:k]] for row in scores]


@pytest.mark.parametrize("kind", ["flat", "ivf", "ivf-pq"])
def test_index_finds_what_comparing_all_finds(kind, tmp_path, small_parts):
    vectors, _ = archive(60, 10)
    lake = add(tmp_path / "lake", vectors)
    settings = {"kind": kind, "shard_rows": 250, "cells": None if kind == "flat" else 16}
    manifest = build(lake, **settings)
    assert manifest.kind == kind
    assert len(manifest.shards) == 3
    assert manifest.recall >= 0.95
    searcher = Searcher(lake)
    assert searcher.searched.compared == 0
    nearest, true = ids(searcher.nearest(vectors[:100], 10)), by_numpy(vectors, vectors[:100], 10)
    same = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(nearest, true, strict=True)])
    assert same >= (0.99 if kind == "flat" else 0.95)
    hit = searcher.nearest(vectors[:1], 1)[0][0]
    assert hit.face_id == face_id("f0")
    assert hit.similarity == pytest.approx(1, abs=1e-3)


def test_ivf_looks_into_some_cells_only(tmp_path, small_parts):
    vectors, _ = archive(120, 12)  # ten of a face's nearest are of its person
    lake = add(tmp_path / "lake", vectors)
    manifest = build(lake, kind="ivf", cells=24, seed=3)
    assert 0 < manifest.nprobe < 24
    assert manifest.recall >= 0.95
    higher = build(lake, "higher", kind="ivf", cells=24, seed=3, recall=1.0)
    assert higher.shards == manifest.shards  # only measured again
    assert higher.nprobe > manifest.nprobe
    assert higher.recall == 1.0
    manifest = build(lake, "back", kind="ivf", cells=24, seed=3)
    stored = json.loads((tmp_path / "lake/index/_current.json").read_text())
    assert stored["recall"] == manifest.recall
    assert stored["recalls"][str(manifest.nprobe)] == manifest.recall
    nearest = ids(Searcher(lake).nearest(vectors, 10))
    true = by_numpy(vectors, vectors, 10)
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(nearest, true, strict=True)]) >= 0.95


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_additions_are_found_before_and_after_the_index_has_them(kind, tmp_path, small_parts):
    vectors, _ = archive(50, 10)
    lake = add(tmp_path / "lake", vectors[:300])
    first = build(lake, kind=kind, cells=None if kind == "flat" else 8)
    add(tmp_path / "lake", vectors[300:], 300)
    stale = Searcher(lake)
    assert (stale.searched.indexed, stale.searched.compared) == (3, 2)
    new = [[face_id(f"f{300 + i}")] for i in range(200)]
    assert ids(stale.nearest(vectors[300:], 1)) == new  # compared exactly: none is missed
    second = build(lake, "second", kind=kind, cells=None if kind == "flat" else 8)
    assert second.trained == first.trained
    updated = Searcher(lake)
    assert updated.searched.compared == 0
    nearest = ids(updated.nearest(vectors, 10))
    build(lake, "third", kind=kind, cells=None if kind == "flat" else 8, full=True)
    rebuilt = ids(Searcher(lake).nearest(vectors, 10))
    if kind == "flat":
        assert nearest == rebuilt
    true = by_numpy(vectors, vectors, 10)
    for result in (nearest, rebuilt):
        same = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(result, true, strict=True)])
        assert same >= 0.95
    assert "third" in (tmp_path / "lake/index/_current.json").read_text()
    names = {p.name for p in (tmp_path / "lake/index").iterdir()}
    assert names == IndexStore(lake).manifest().files() | {"_current.json"}


def test_nothing_new_builds_nothing(tmp_path, small_parts, monkeypatch):
    lake = add(tmp_path / "lake", archive(20, 10)[0])
    first = build(lake)
    monkeypatch.setattr(building, "build_shard", None)
    with monkeypatch.context() as patched:
        patched.setattr(building, "measure", None)
        assert build(lake, "same").recall == first.recall
    assert build(lake, "again").shards == first.shards


def test_faces_of_a_part_that_is_gone_never_come_back(tmp_path, small_parts):
    vectors, _ = archive(50, 10)
    lake = add(tmp_path / "lake", vectors)
    build(lake)
    gone = lake.parts()[2]
    lost = set(lake.read_part("faces", gone)["face_id"].to_pylist())
    lake.folder.remove(f"images/{gone}")
    result = {face for hits in ids(Searcher(lake).nearest(vectors, 20)) for face in hits}
    assert len(result) > 300
    assert not result & lost
    assert Searcher(lake).vectors(sorted(lost)) == {}
    for share, rebuilt in ((0.5, False), (0.1, True)):  # a fifth of the shard is gone
        manifest = build(lake, f"share-{share}", gone_share=share)
        assert all(gone not in shard.parts for shard in manifest.shards) == rebuilt
        result = {face for hits in ids(Searcher(lake).nearest(vectors, 20)) for face in hits}
        assert not result & lost


def test_a_part_with_other_bytes_is_read_again(tmp_path, small_parts):
    vectors, _ = archive(30, 10)
    lake = add(tmp_path / "lake", vectors)
    build(lake)
    name = lake.parts()[0]
    faces = lake.read_part("faces", name)
    lost = faces["face_id"][0].as_py()
    from pipeline.lake.store import parquet_bytes

    lake.folder.publish(f"faces/{name}", parquet_bytes(faces.slice(1)))
    result = {face for hits in ids(Searcher(lake).nearest(vectors, 20)) for face in hits}
    assert lost not in result
    assert faces["face_id"][1].as_py() in result


def test_a_build_that_is_interrupted_leaves_the_old_index(tmp_path, small_parts, monkeypatch):
    vectors, _ = archive(50, 10)
    lake = add(tmp_path / "lake", vectors[:300])
    build(lake, "first")
    add(tmp_path / "lake", vectors[300:], 300)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(IndexStore, "publish", stop)
        with pytest.raises(KeyboardInterrupt):
            build(lake, "second")
    searcher = Searcher(lake)
    assert searcher.reader.manifest.run_id == "first"
    assert (searcher.searched.indexed, searcher.searched.compared) == (3, 2)
    assert ids(searcher.nearest(vectors, 3)) == by_numpy(vectors, vectors, 3)
    # the shards that were finished are taken over
    with monkeypatch.context() as patched:
        patched.setattr("pipeline.search.shards.batches", stop)
        assert build(lake, "third").run_id == "third"
    assert Searcher(lake).searched.compared == 0


def test_open_readers_survive_a_new_generation(tmp_path, small_parts):
    vectors, _ = archive(30, 10)
    lake = add(tmp_path / "lake", vectors)
    build(lake)
    before = Searcher(lake)
    build(lake, "second", kind="ivf", cells=4, full=True)
    assert ids(before.nearest(vectors[:9], 1)) == by_numpy(vectors, vectors[:9], 1)


def test_small_shards_are_merged():
    def shard(name, rows):
        return shard_of({name: (1, rows)}, "t")

    live = dict.fromkeys("abcdefgh", 1)
    config = VectorIndexConfig(shard_rows=1000)
    old = [shard("a", 900), shard("b", 300), shard("c", 40), shard("d", 30)]
    kept, new = plan(old, live, {"e": 20}, config, "t")
    assert kept == old[:2]
    assert [list(one.parts) for one in new] == [["c", "d", "e"]]
    kept, new = plan(old, live, {"e": 800, "f": 400}, config, "t")
    assert kept == old  # what is added is too large to be joined
    assert [one.rows for one in new] == [800, 400]
    assert plan(old, live, {}, config, "t") == (old, [])
    kept, new = plan(old, {n: s for n, s in live.items() if n != "c"}, {}, config, "t")
    assert (kept, new) == ([old[0], old[1], old[3]], [])


def test_many_additions_leave_few_shards():
    live, shards = {}, []
    config = VectorIndexConfig(shard_rows=100_000)
    built = 0
    for day in range(200):
        live[f"p{day:03}"] = 1
        shards, new = plan(shards, live, {f"p{day:03}": 100}, config, "t")
        shards += new
        built += sum(one.rows for one in new)
    assert sum(one.rows for one in shards) == 20_000
    assert len(shards) <= 8
    assert built <= 20_000 * 10


def test_fewest_cells_are_found():
    for needed in range(1, 65):
        result = fewest(lambda n, needed=needed: float(n >= needed), 64, 0.95)
        assert needed <= result <= max(needed + 1, needed * 1.34)
    assert fewest(lambda n: 0.5, 10, 0.95) == 10


@pytest.mark.parametrize(
    ("rows", "kind"), [(10, "flat"), (999_999, "flat"), (1_000_000, "ivf"), (50_000_000, "ivf-pq")]
)
def test_kind_follows_the_number_of_faces(rows, kind):
    assert VectorIndexConfig().kind_for(rows) == kind


def test_parts_without_faces_and_empty_lakes(tmp_path):
    lake = add(tmp_path / "lake", archive(2, 2)[0][:0])
    lake.publish_part(
        LakeStore(str(lake.folder.url)).read("images").slice(0, 0), lake.read("faces").slice(0, 0)
    )
    assert Searcher(lake).nearest(np.zeros((1, 128)), 3) == [[]]
    with pytest.raises(ConfigError, match="no faces; there is nothing to index"):
        build(lake)
    vectors, _ = archive(4, 5)
    add(tmp_path / "lake", vectors)
    build(lake, shard_rows=1)
    assert ids(Searcher(lake).nearest(vectors[:3], 1)) == by_numpy(vectors, vectors[:3], 1)


def test_more_is_asked_for_than_there_is(tmp_path):
    vectors, _ = archive(3, 4)
    lake = add(tmp_path / "lake", vectors)
    for kind in ("flat", "ivf", "ivf-pq"):
        if kind == "ivf-pq":
            continue  # codes need 256 faces to be trained
        build(lake, kind=kind, full=True)
        assert [len(hits) for hits in Searcher(lake).nearest(vectors[:2], 500)] == [12, 12]


def test_messages(tmp_path, small_parts, monkeypatch):
    vectors, _ = archive(20, 10)
    lake = add(tmp_path / "lake", vectors)
    build(lake)
    with pytest.raises(ConfigError, match="vectors have 3 numbers"):
        Searcher(lake).nearest(np.ones((1, 3)), 1)
    with pytest.raises(ConfigError, match="has no face nobody"):
        Searcher(lake).vector("nobody")
    with pytest.raises(ConfigError, match="There is no lake at"):
        Searcher(tmp_path / "elsewhere")
    pointer = tmp_path / "lake/index/_current.json"
    text = pointer.read_text()
    pointer.write_text(text.replace("synthetic@1", "other@2"))
    for attempt in (lambda: Searcher(lake), lambda: build(lake)):
        with pytest.raises(LakeMismatchError, match=r"vectors of other@2.*--full"):
            attempt()
    pointer.write_text(text[:50])
    with pytest.raises(StorageError, match=r"is damaged.*search-index"):
        Searcher(lake)
    pointer.write_text(text.replace('"format": 1', '"format": 9'))
    with pytest.raises(StorageError, match=r"has format 9"):
        Searcher(lake)
    pointer.write_text(text)
    shard = next((tmp_path / "lake/index").glob("shard-*.faiss"))
    shard.write_bytes(b"nonsense" * 9)
    with pytest.raises(StorageError, match=r"cannot be read.*--full"):
        Searcher(lake)
    assert build(lake, full=True).rows == 200
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ConfigError, match=r"pip install 'facelake\[search\]'"):
        build(lake)
    without = Searcher(lake)  # and says so in the log
    assert without.searched.kind == "exact"
    assert ids(without.nearest(vectors[:2], 5)) == by_numpy(vectors, vectors[:2], 5)


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "tree"}, {"cells": 0}, {"recall": 0}, {"shard_rows": 0}, {"gone_share": 2},
     {"queries": 0}],
)  # fmt: skip
def test_settings_out_of_range(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        VectorIndexConfig(**wrong)


def test_remote_index_is_fetched_once(tmp_path, small_parts, monkeypatch):
    monkeypatch.setenv("FACELAKE_HOME", str(tmp_path / "home"))
    vectors, _ = archive(30, 10)
    import fsspec

    local = add(tmp_path / "lake", vectors)
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "lake"), "/remote-lake", recursive=True)
    lake = LakeStore("memory://remote-lake")
    assert sizes_of(lake) == sizes_of(local)
    build(lake, kind="ivf", cells=4)
    expected = by_numpy(vectors, vectors[:9], 1)
    assert ids(Searcher(lake).nearest(vectors[:9], 1)) == expected
    (cache,) = (tmp_path / "home/index").iterdir()
    first = {path.name for path in cache.iterdir()}
    assert any(name.endswith(".faiss") for name in first)
    build(lake, "second", full=True)
    assert ids(Searcher(lake).nearest(vectors[:9], 1)) == expected
    assert not first & {p.name for p in cache.iterdir()}  # old ones go
    memory.rm("/remote-lake", recursive=True)
