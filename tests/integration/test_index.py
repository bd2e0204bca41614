"""The main job from end to end, on a real Ray cluster and real photos."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline import Lake
from pipeline.commands.main import main
from pipeline.errors import EXIT_DAMAGED, EXIT_INTERRUPTED, LakeMismatchError
from pipeline.lake import schema
from pipeline.lake.store import LakeStore
from tests.support.examples import margin, people
from tests.support.indexing import EXAMPLES, assert_same_tables, index, tables

CTRL_C_COPIES = 7  # enough for the run to be stopped in its middle
FACES = {  # faces that a person sees, by photo
    "biden-2011-office.jpg": 1,
    "biden-official-portrait.jpg": 1,
    "cat-no-face.png": 0,
    "coffee-no-face.png": 0,
    "collins-nasa-portrait.png": 1,
    "obama-2009-speech-rgba.png": 1,
    "obama-2009-speech.jpg": 1,
    "obama-2012-closeup.jpg": 1,
    "obama-2012-half-face.jpg": 1,
    "obama-2012-letterboxed-1080p.jpg": 1,
    "obama-2012-letterboxed-480p.jpg": 1,
    "obama-2012-portrait.jpg": 1,
    "obama-and-biden-composite.jpg": 2,
    "obama-blue-room.jpg": 1,
    "obama-press-room.jpg": 1,
}


@pytest.fixture
def lake(example_lake) -> Path:
    return example_lake


@pytest.fixture
def copied(lake, tmp_path) -> Path:
    return shutil.copytree(lake, tmp_path / "copy")


def test_every_photo_has_one_row_and_every_face_is_found(lake) -> None:
    images = pd.read_parquet(lake / "images")
    assert sorted(images.uri.str.rsplit("/", n=1).str[-1]) == sorted(FACES)
    assert images.image_id.is_unique
    assert images.error.isna().all()
    face_counts = dict(zip(images.uri.str.rsplit("/", n=1).str[-1], images.faces, strict=True))
    # One pattern beside a chair passes MTCNN as a face (the reference finds it too).
    false_alarms = {"obama-2012-portrait.jpg": 1}
    assert face_counts == {name: count + false_alarms.get(name, 0) for name, count in FACES.items()}
    faces = pd.read_parquet(lake / "faces")
    assert faces.groupby("image_id").size().to_dict() == {
        row.image_id: row.faces for row in images.itertuples() if row.faces
    }


def test_schemas_are_exact(lake) -> None:
    (part,) = (lake / "faces").glob("*.parquet")
    assert pq.read_schema(part).equals(schema.faces_schema(128))
    assert pq.read_schema(lake / "images" / part.name).equals(schema.IMAGES)


def test_pandas_gives_a_clean_matrix(lake) -> None:
    faces = pd.read_parquet(lake / "faces")
    matrix = np.stack(faces.embedding)
    assert matrix.shape == (len(faces), 128)
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1, atol=1e-5)


def test_same_people_score_above_different_people(lake) -> None:
    names, vectors = people(LakeStore(str(lake)))
    assert sorted(set(names)) == ["biden", "collins", "obama"]
    lowest, highest = margin(names, vectors)
    assert lowest - highest > 0.2, f"{lowest:.3f} against {highest:.3f}"


def test_running_again_adds_nothing(copied) -> None:
    before = sorted(path.name for path in (copied / "images").iterdir())
    assert index(EXAMPLES, "--output", copied) == 0
    assert sorted(path.name for path in (copied / "images").iterdir()) == before


def test_new_photos_add_only_themselves_and_a_moved_archive_adds_nothing(cluster, tmp_path) -> None:
    archive, lake = tmp_path / "archive", tmp_path / "lake"
    (archive / "2012").mkdir(parents=True)
    shutil.copy(EXAMPLES / "obama-2012-closeup.jpg", archive / "2012")
    shutil.copy(EXAMPLES / "cat-no-face.png", archive)
    flip = ("--views", "flip")
    assert index(archive, "--output", lake, *flip) == 0
    first = tables(lake)
    shutil.copy(EXAMPLES / "collins-nasa-portrait.png", archive / "2012")
    (archive / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    assert index(archive, "--output", lake) == LakeMismatchError.exit_code
    assert index(archive, "--output", lake, *flip) == 0
    found = Lake(lake).search(EXAMPLES / "obama-2012-closeup.jpg", top=1)
    assert found.matches[0].similarity > 0.9999  # the photo was embedded as the lake's faces were
    images, faces = tables(lake)
    assert faces.embedder.str.endswith("+flip").all()
    assert len(images) == 4
    assert set(first[0].image_id) < set(images.image_id)
    assert images.error.notna().sum() == 1
    assert len(faces) == 2
    moved = archive.rename(tmp_path / "moved")
    assert index(moved, "--output", lake, *flip) == 0
    assert_same_tables(tables(lake), (images, faces))


def test_another_model_is_refused(copied, capsys) -> None:
    code = main(["index", str(EXAMPLES), "--output", str(copied), "--embedder", "facenet-vggface2"])
    assert code == LakeMismatchError.exit_code
    message = capsys.readouterr().err
    assert "sface" in message
    assert "--embedder sface" in message


def test_all_kinds_of_shards_give_the_same_faces(cluster, lake, tmp_path) -> None:
    import zipfile

    import pyarrow as pa

    names = ["obama-2012-closeup.jpg", "collins-nasa-portrait.png", "cat-no-face.png"]
    photos = {name: (EXAMPLES / name).read_bytes() for name in names}
    source = tmp_path / "shards"
    source.mkdir()
    with tarfile.open(source / "a.tar", "w") as archive:
        for name, data in photos.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with zipfile.ZipFile(source / "b.zip", "w") as archive:
        for name, data in photos.items():
            archive.writestr(f"inside/{name}", data)
    table = pa.table({"key": list(photos), "jpeg": list(photos.values())})
    pq.write_table(table, source / "c.parquet")
    (tmp_path / "list.txt").write_text("\n".join(str(EXAMPLES / name) for name in names))
    code = index(
        source, tmp_path / "list.txt", "--image-column", "jpeg", "--key-column", "key",
        "--output", tmp_path / "lake",
    )  # fmt: skip
    assert code == 0
    images, faces = tables(tmp_path / "lake")
    assert len(images) == 12
    assert images.groupby("sha256").size().tolist() == [4, 4, 4]
    assert len(faces) == 8
    vectors = np.stack(faces.embedding)
    stored = np.stack(tables(lake)[1].embedding)
    assert ((vectors @ stored.T).max(axis=1) > 0.9999).all()


def test_a_tar_cut_in_half_keeps_what_is_before_the_cut(cluster, tmp_path, capsys) -> None:
    whole = tmp_path / "whole.tar"
    with tarfile.open(whole, "w") as archive:
        for name in sorted(FACES):
            archive.add(EXAMPLES / name, arcname=name)
    cut = tmp_path / "in" / "cut.tar"
    cut.parent.mkdir()
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with tarfile.open(whole) as archive:
        complete = [m.name for m in archive if m.offset_data + m.size <= cut.stat().st_size]
    assert index(cut.parent, "--output", tmp_path / "lake") == EXIT_DAMAGED
    images = pd.read_parquet(tmp_path / "lake" / "images")
    assert images[images.error.isna()].uri.str.split("#").str[-1].tolist() == complete
    assert images.error.dropna().tolist() == ["truncated"]
    assert "cut.tar" in capsys.readouterr().out


def test_the_manifest_tells_what_ran_and_no_secret(cluster, tmp_path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    shutil.copy(EXAMPLES / "cat-no-face.png", source)
    code = index(
        source, "--output", tmp_path / "lake", "--storage-option", "secret=very-secret-value"
    )
    assert code == 0
    (path,) = (tmp_path / "lake" / "runs").glob("*.json")
    text = path.read_text()
    assert "very-secret-value" not in text
    manifest = json.loads(text)
    assert manifest["status"] == "finished"
    assert manifest["images"] == 1
    assert manifest["stage_seconds"]["detect"] > 0
    assert manifest["versions"]["torch"]


def test_the_manifest_tells_how_busy_each_stage_was(lake) -> None:
    runs = [json.loads(path.read_text()) for path in (lake / "runs").glob("*.json")]
    (first,) = [run for run in runs if run["images"]]
    figures = first["performance"]
    assert list(figures["stages"]) == ["read", "decode", "detect", "embed", "write"]
    for stage in figures["stages"].values():
        assert stage["workers"] > 0
        assert stage["images"] == len(FACES)
        assert stage["seconds"] > 0
        assert stage["cpu_seconds"] >= 0
        assert 0 <= stage["busy"] <= 1
        assert stage["busy_steady"] is None or 0 <= stage["busy_steady"] <= 1
    assert figures["stages"]["detect"]["cpu_seconds"] > 0
    assert figures["bottleneck"] in {*figures["stages"], "cores"}
    assert 0 <= figures["cores_busy"] <= 1
    assert all(seconds >= 0 for seconds in figures["phases"].values())
    assert sum(figures["phases"].values()) == pytest.approx(first["seconds"], abs=1)
    # encoded bytes and crops travel, pixels do not: decoded, a photo has 3 MB
    assert first["bytes"] / len(FACES) < figures["store_bytes_per_image"] < 1_000_000
    assert figures["stages"]["decode"]["handed_on_bytes_per_image"] > 2_000_000
    assert figures["store_peak_bytes"] > 0
    assert figures["spilled_bytes"] >= 0


def test_decoding_apart_gives_the_same_faces(cluster, lake, tmp_path, monkeypatch) -> None:
    from pipeline.executor import dataset

    def apart(config, plan):
        return replace(sizing(config, plan), decode_apart=True)

    sizing = dataset.cluster_sizing
    monkeypatch.setattr(dataset, "cluster_sizing", apart)
    assert index(EXAMPLES, "--output", tmp_path / "lake") == 0
    assert_same_tables(tables(tmp_path / "lake"), tables(lake))


def test_ctrl_c_leaves_a_consistent_lake(cluster, tmp_path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for copy in range(CTRL_C_COPIES):
        for name in FACES:
            shutil.copy(EXAMPLES / name, source / f"{copy}-{name}")
    lake = tmp_path / "lake"
    command = [
        sys.executable, "-m", "pipeline.commands.main", "index", str(source), "--output",
        str(lake), "--embedder", "sface", "--plain", "--part-images", "8",
        "--detect-actors", "1", "--embed-actors", "1", "--detect-batch", "4",
    ]  # fmt: skip
    environment = os.environ | {"RAY_ADDRESS": cluster.address}
    run = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 300
    while not list(lake.glob("images/*.parquet")):
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < until
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == EXIT_INTERRUPTED, errors
    assert "run the same command to go on" in errors
    assert "Traceback" not in errors
    kept = tables(lake)
    assert 0 < len(kept[0]) < CTRL_C_COPIES * len(FACES)
    assert kept[0].image_id.is_unique
    assert set(kept[1].image_id) <= set(kept[0].image_id)
    assert index(source, "--output", lake) == 0
    images, faces = tables(lake)
    assert len(images) == CTRL_C_COPIES * len(FACES)
    assert images.image_id.is_unique
    assert len(faces) == images.faces.sum()
