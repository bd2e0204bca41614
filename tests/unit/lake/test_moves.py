"""Rows follow photos that move, are gone, come back or are read again; cut at every write."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.lake.moves import (
    Place,
    bring_back,
    mend,
    note_people_of_gone,
    park,
    people_of_gone,
    prune,
    relocate,
)
from pipeline.lake.store import LakeStore, parquet_bytes
from pipeline.maintenance.check import check, check_and_repair
from pipeline.storage.folder import Folder
from tests.support.photo_lakes import face, image_id, photo_lake

NOW = datetime(2026, 1, 2, tzinfo=UTC)
VECTORS = np.eye(4)
NAMES = ("a", "b", "c", "d")


@pytest.fixture
def lake(tmp_path):
    """Two parts of two photos: a and b have two faces each, c one, d none."""
    for counts in ({"a": 2, "b": 2}, {"c": 1, "d": 0}):
        photos = {name: [face(VECTORS[k]) for k in range(n)] for name, n in counts.items()}
        lake = photo_lake(tmp_path / "lake", photos)
    return lake


def state(lake):
    """Everything that readers see: places, numbers of faces, and faces with their vectors."""
    images = lake.read("images", ["image_id", "uri", "faces", "gone_since"]).to_pylist()
    faces = lake.read("faces", ["face_id", "uri", "embedding"]).to_pylist()
    return (
        sorted(map(str, images)),
        sorted(map(str, faces)),
    )


def places(*names):
    return {image_id(n): Place(f"/new/{n}.jpg", "/new", "1 2") for n in names}


def ids(*names):
    return {image_id(name) for name in names}


class CutError(BaseException):
    """The process was killed."""


def cut_at(monkeypatch, number):
    """Let the `number`-th write or removal not happen, nor any after it."""
    left = [number]

    def cutting(method):
        def call(*arguments):
            left[0] -= 1
            if left[0] < 0:
                raise CutError
            return method(*arguments)

        return call

    for name in ("publish", "remove"):
        monkeypatch.setattr(Folder, name, cutting(getattr(Folder, name)))


def park_them(lake):
    park(lake, ids("a", "c"), NOW)


def park_a_part(lake):
    park(lake, ids(*NAMES), NOW)


def move_them(lake):
    relocate(lake, places("a", "b", "d"))


def bring_them_back(lake):
    bring_back(lake, places("a", "c") if len(lake.gone().parts()) else {})


@pytest.mark.parametrize("work", [park_them, park_a_part, move_them, bring_them_back])
def test_cut_at_every_write(lake, monkeypatch, work):
    before = state(lake)
    if work is bring_them_back:
        park_them(lake)
    copies = [LakeStore(f"{lake.folder.url}-{n}") for n in range(40)]
    start = {p: lake.folder.read(p) for p in files(lake)}
    work(lake)
    wanted, wanted_gone = state(lake), state(lake.gone()) if lake.gone().parts() else None
    assert wanted != before
    for number, other in enumerate(copies):
        for path, data in start.items():
            other.folder.publish(path, data)
        with monkeypatch.context() as patch:
            cut_at(patch, number)
            try:
                work(other)
                break
            except CutError:
                pass
        mend(other, other.ledger(), set)
        missing = {*other.ledger().ids(range(len(other.ledger())))} ^ ids(*NAMES)
        assert not missing, number  # never in none
        work(other)
        other.sweep()
        other.gone().sweep()
        assert state(other) == wanted, number
        if wanted_gone:
            assert state(other.gone()) == wanted_gone, number
        assert [f for f in check(other).findings if f.kind != "stray"] == [], number
    assert 2 <= number < len(copies) - 1


def files(lake):
    root = lake.folder.path() + "/"
    return [path.removeprefix(root) for path in lake.folder.fs.find(lake.folder.path())]


def test_gone_photos_are_seen_by_nobody_and_come_back_as_they_were(lake):
    before = state(lake)
    park_them(lake)
    assert set(lake.read("images")["image_id"].to_pylist()) == ids("b", "d")
    assert set(pc.unique(lake.read("faces")["image_id"]).to_pylist()) == ids("b")
    gone = lake.gone().read("images")
    assert gone["gone_since"].to_pylist() == [NOW, NOW]
    assert check(lake).findings == []
    ledger = lake.ledger()
    assert set(ledger.ids(np.flatnonzero(ledger.is_gone(slice(None))))) == ids("a", "c")
    rows = {row["image_id"]: row for row in gone.to_pylist()}
    same = {i: Place(row["uri"], row["shard"], row["file_version"]) for i, row in rows.items()}
    bring_back(lake, same)
    assert state(lake) == before
    assert lake.with_gone() == [lake]


def test_pruned_rows_are_nowhere(lake):
    park_them(lake)
    note_people_of_gone(lake, {f"{image_id('a')}-0": "p"})
    prune(lake)
    assert len(lake.ledger()) == 2
    assert not any("part-" in path or "people" in path for path in files(lake.gone()))
    assert people_of_gone(lake) == {}


def read_again(lake, name, vectors, run="r9"):
    """Publish a newer row of a photo, as a run does."""
    images = lake.read("images", where=pc.field("image_id") == image_id(name))
    faces = lake.read("faces").slice(0, 1).to_pylist()[0]
    rows = [
        faces | {"face_id": f"{image_id(name)}-{k}", "image_id": image_id(name),
                 "embedding": vector, "run_id": run}
        for k, vector in enumerate(vectors)
    ]  # fmt: skip
    row = images.to_pylist()[0] | {"faces": len(rows), "run_id": run, "bytes": 99}
    other = image_id("other")  # a part of another name
    parts = [row, row | {"image_id": other, "faces": 0}]
    lake.publish_part(
        pa.Table.from_pylist(parts, images.schema),
        pa.Table.from_pylist(rows, lake.read("faces").schema),
        None,
    )


def test_the_faces_of_an_edited_photo_keep_their_ids(lake):
    near = VECTORS[0] + 0.2 * VECTORS[2]
    read_again(lake, "a", [VECTORS[3], VECTORS[1], near / np.linalg.norm(near)])
    corrected = {f"{image_id('a')}-2"}  # somebody spoke of a face that is not there any more
    assert mend(lake, lake.ledger(), lambda: corrected) == 1
    rows = lake.read("faces", where=pc.field("image_id") == image_id("a")).to_pylist()
    numbers = {int(np.argmax(row["embedding"])): row["face_id"][-1] for row in rows}
    assert numbers == {0: "0", 1: "1", 3: "3"}
    (image,) = lake.read("images", where=pc.field("image_id") == image_id("a")).to_pylist()
    assert (image["bytes"], image["faces"]) == (99, 3)
    assert check(lake).findings == []


def test_a_row_that_stands_twice_in_its_part_is_not_lost(lake):
    """`facelake check --repair` drops the second one."""
    (name,) = [n for n in lake.parts() if len(lake.read_part("faces", n)) > 2]
    images = lake.read_part("images", name)
    twice = pa.concat_tables([images, images.slice(0, 1)])
    lake.folder.publish(f"images/{name}", parquet_bytes(twice))
    before = state(lake)
    mend(lake, lake.ledger(), set)
    assert state(lake) == before
    assert check_and_repair(lake).findings == []
    assert len(lake.read("images")) == len(NAMES)
    assert len(lake.read("faces")) == 5


def test_mending_cut_at_every_write(lake, monkeypatch):
    read_again(lake, "a", [VECTORS[1], VECTORS[0]])
    start = {p: lake.folder.read(p) for p in files(lake)}
    mend(lake, lake.ledger(), set)
    wanted = state(lake)
    for number in range(20):
        other = LakeStore(f"{lake.folder.url}-{number}")
        for path, data in start.items():
            other.folder.publish(path, data)
        with monkeypatch.context() as patch:
            cut_at(patch, number)
            try:
                mend(other, other.ledger(), set)
                break
            except CutError:
                pass
        mend(other, other.ledger(), set)
        assert state(other) == wanted, number
    assert number == 3


def test_a_damaged_row_of_a_gone_photo_is_told(lake):
    park_them(lake)
    (name, *_) = lake.gone().parts()
    lake.gone().folder.publish(f"faces/{name}", b"no parquet")
    (finding,) = check(lake).findings
    assert finding.kind == "gone"
    prune(lake)
    assert check(lake).findings == []
