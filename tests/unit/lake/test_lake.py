import json
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigError, LakeBusyError, LakeMismatchError, StorageError
from pipeline.lake import schema
from pipeline.lake.lock import RunLock
from pipeline.lake.store import LakeStore, Models, part_name

MODELS = Models("mtcnn@1", "sface@2", 4)


def rows(*numbers, faces_each=2):
    """Tables of images and faces with these numbers as ids."""
    ids = [f"{n:032x}" for n in numbers]
    images = [
        {"image_id": i, "uri": f"/p/{i}.jpg", "shard": "/p", "bytes": 5, "faces": faces_each,
         "sha256": "ab" * 32, "run_id": "r"}
        for i in ids
    ]  # fmt: skip
    faces = [
        {"face_id": f"{i}-{k}", "image_id": i, "uri": f"/p/{i}.jpg", "box": [0, 0, 9, 9],
         "landmarks": [0.0] * 10, "score": 1.0, "size_px": 9, "embedding": [1, 0, 0, k],
         "detector": "mtcnn@1", "embedder": "sface@2", "run_id": "r"}
        for i in ids
        for k in range(faces_each)
    ]  # fmt: skip
    return (
        pa.Table.from_pylist(images, schema.IMAGES),
        pa.Table.from_pylist(faces, schema.faces_schema(4)),
    )


@pytest.fixture(params=["local", "memory"])
def lake(request, tmp_path):
    if request.param == "local":
        made = LakeStore(str(tmp_path / "lake"))
    else:
        import fsspec

        fs = fsspec.filesystem("memory")
        fs.store.clear()
        fs.pseudo_dirs[:] = [""]
        made = LakeStore("memory://b/lake")
    made.claim(MODELS)
    return made


def test_a_new_lake_is_empty(lake):
    assert lake.models() == MODELS
    assert len(lake.ledger()) == 0
    for table, kind in (("images", schema.IMAGES), ("faces", schema.faces_schema(4))):
        assert lake.read(table).equals(kind.empty_table())
    assert lake.read("faces", ["box"]).column_names == ["box"]
    assert LakeStore(f"{lake.folder.url}-none").models() is None


def test_what_is_published_is_read(lake):
    parts = [rows(1, 2), rows(3)]
    for images, faces in parts:
        lake.publish_part(images, faces)
    assert len(lake.parts()) == 2
    for table, wanted in zip(("images", "faces"), zip(*parts, strict=True), strict=True):
        result = lake.read(table).sort_by("image_id")
        assert result.equals(pa.concat_tables(wanted).sort_by("image_id"))
    assert lake.read("images", ["uri"]).column_names == ["uri"]
    assert (lake.ledger().find([f"{n:032x}" for n in (1, 2, 3, 4)]) >= 0).tolist() == [
        True, True, True, False
    ]  # fmt: skip


def test_orphans_are_ignored_and_swept(lake):
    images, faces = rows(1)
    lake.publish_part(images, faces)
    orphan = part_name([f"{9:032x}"])
    lake.folder.publish(f"faces/{orphan}", b"whatever a crash left")
    assert lake.orphans() == {"faces": [orphan], "images": []}
    assert len(lake.parts()) == 1
    assert len(lake.read("faces")) == 2
    assert lake.sweep() == 1
    assert lake.sweep() == 0
    assert orphan not in lake.folder.child("faces").files()
    assert len(lake.read("faces")) == 2


def test_images_without_their_faces_do_not_count_as_done(lake):
    images, faces = rows(1)
    name = lake.publish_part(images, faces)
    lake.folder.child("faces").remove(name)
    assert lake.parts() == []
    assert len(lake.ledger()) == 0
    assert lake.orphans() == {"faces": [], "images": [name]}
    assert lake.sweep() == 1
    assert lake.folder.child("images").files() == {}


def test_half_written_files_are_swept(tmp_path):
    lake = LakeStore(str(tmp_path / "lake"))
    lake.publish_part(*rows(1))
    (tmp_path / "lake" / "faces" / f".part-1.parquet.{'0' * 32}.tmp").write_bytes(b"half")
    assert lake.sweep() == 1
    assert len(list((tmp_path / "lake" / "faces").iterdir())) == 1


def test_images_with_errors_that_are_tried_again(lake):
    images, faces = rows(1, 2, 3)
    errors = pa.array(["unreadable", "corrupt", None], pa.string())
    at = images.column_names.index("error")
    images = images.set_column(at, images.schema.field("error"), errors)
    lake.publish_part(images, faces)
    assert lake.ledger(frozenset({"unreadable", "corrupt"})).is_again(slice(None)).sum() == 2
    ledger = lake.ledger(frozenset({"unreadable"}))
    assert len(ledger) == 3
    found = ledger.find(images["image_id"].to_pylist())
    assert [ledger.is_current(row, None) for row in found] == [False, True, True]


def test_a_run_that_lost_the_lake_publishes_no_part(lake):
    with RunLock(lake.folder, "second"):
        with pytest.raises(LakeBusyError, match="second has taken over"):
            lake.publish_part(*rows(1), "first")
        assert lake.parts() == []
        lake.publish_part(*rows(1), "second")
    lake.publish_part(*rows(2), "anyone")
    assert len(lake.parts()) == 2


def test_a_failing_write_of_images_leaves_an_orphan_and_no_row(tmp_path, monkeypatch):
    lake = LakeStore(str(tmp_path / "lake"))
    lake.claim(MODELS)
    calls = []
    sync = os.fsync

    def second_fails(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", second_fails)
    with pytest.raises(StorageError, match="the disk is full"):
        lake.publish_part(*rows(1))
    assert len(lake.ledger()) == 0
    assert sum(map(len, lake.orphans().values())) == 1
    lake.publish_part(*rows(1))
    assert lake.orphans() == {"faces": [], "images": []}
    assert len(lake.read("faces")) == 2


def test_a_part_s_name_is_that_of_its_images_in_any_order():
    ids = [f"{n:032x}" for n in range(5)]
    assert part_name(ids) == part_name(ids[::-1])
    assert part_name(ids) != part_name(ids[1:])
    assert part_name(ids).startswith("part-")


def test_publishing_again_gives_the_same_bytes(lake):
    name = lake.publish_part(*rows(1, 2, 3))
    before = [lake.folder.read(f"{t}/{name}") for t in ("images", "faces")]
    assert lake.publish_part(*rows(1, 2, 3)) == name
    assert [lake.folder.read(f"{t}/{name}") for t in ("images", "faces")] == before
    assert len(lake.parts()) == 1


def test_a_lake_that_nothing_was_written_to_may_change_its_models(lake):
    lake.claim(Models("mtcnn@1", "sface@2", 9))  # a run that was refused later, or stopped early
    lake.claim(MODELS)
    assert lake.models() == MODELS


def test_a_lake_of_other_models_is_refused(lake):
    lake.claim(MODELS)
    lake.publish_part(*rows(1))
    with pytest.raises(LakeMismatchError, match=r"made by mtcnn@1 and sface@2; .*mtcnn@1 and") as e:
        lake.claim(Models("mtcnn@1", "facenet-vggface2@3", 512))
    assert e.value.exit_code == 4
    with pytest.raises(LakeMismatchError, match=r"mtcnn@1 and sface@3"):
        lake.claim(Models("mtcnn@1", "sface@3", 4))
    with pytest.raises(LakeMismatchError, match=r"vectors of 9 numbers, not 4"):
        lake.claim(Models("mtcnn@1", "sface@2", 9))
    assert lake.models() == MODELS


def test_a_folder_that_is_no_lake_is_refused(tmp_path):
    folder = LakeStore(str(tmp_path))
    folder.publish_part(*rows(1))
    with pytest.raises(ConfigError, match=r"has tables but no lake.json"):
        folder.claim(MODELS)
    (tmp_path / "lake.json").write_text("{")
    with pytest.raises(StorageError, match="is not JSON; restore it"):
        folder.models()
    (tmp_path / "lake.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ConfigError, match="has format 99"):
        folder.models()
    with pytest.raises(ConfigError, match="There is no lake at"):
        LakeStore(str(tmp_path / "no")).read("faces")
    with pytest.raises(ConfigError, match="There is no lake at"):
        LakeStore.open(str(tmp_path / "no"))


def test_a_damaged_part_is_named(lake):
    name = lake.publish_part(*rows(1))
    lake.folder.publish(f"images/{name}", b"PAR1 rubbish PAR1")
    with pytest.raises(StorageError, match=r"Cannot read .*images"):
        lake.read("images")


def test_plain_pandas_reads_a_matrix(tmp_path):
    lake = LakeStore(str(tmp_path / "lake"))
    lake.claim(MODELS)
    lake.publish_part(*rows(1, 2))
    lake.publish_part(*rows(3))
    (tmp_path / "lake" / "faces" / ".part-x.parquet.1.tmp").write_bytes(b"torn")
    faces = pd.read_parquet(tmp_path / "lake" / "faces")
    matrix = np.stack(faces.embedding)
    assert (matrix.shape, matrix.dtype) == ((6, 4), np.float32)
    assert pq.read_table(tmp_path / "lake" / "images").schema.equals(schema.IMAGES)


def test_json_is_written_even_of_strange_names(lake):
    lake.publish_json("runs/r.json", {"path": "caf\udce9", "when": np.datetime64("2020-01-01")})
    assert json.loads(lake.folder.read("runs/r.json"))["path"] == "caf\udce9"
