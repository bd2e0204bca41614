"""Duplicates on a real Ray, on real photos, killed and started again, and on S3."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.commands.main import main
from pipeline.dedupe import gather
from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.duplicates import Duplicates
from pipeline.dedupe.run import Run
from pipeline.lake.checkpoints import in_process
from pipeline.lake.store import LakeStore
from tests.support.killing import kill_in
from tests.support.pictures import encoded, flipped, indexed, lake_of, photo, row

ROOT = Path(__file__).parents[2]


def rows_of_families(count, seed=0):
    random = np.random.default_rng(seed)
    rows = [row(f"/p/{i}.jpg", width=int(random.integers(90, 99))) for i in range(count)]
    rows += [
        row(f"/q/{i}.jpg", phash=flipped(rows[i]["phash"], int(random.integers(0, 34)), i))
        for i in range(0, count, 3)
    ]
    return rows


def rows_found(lake):
    rows = Duplicates(lake).table().drop_columns(["run_id"])
    return rows.to_pylist()


def test_ray_finds_what_one_process_finds(cluster, tmp_path, monkeypatch) -> None:
    from pipeline.executor.ray_mapper import RayMapper

    monkeypatch.setattr(gather, "TASK_IMAGES", 500)
    rows = rows_of_families(3000)
    one, two = (lake_of(tmp_path / name, rows, part=300) for name in "ab")
    config = DedupeConfig(mirrored=True, confirm=False)
    Run(Duplicates(one), config, in_process, "one").dedupe()
    Run(Duplicates(two), config, RayMapper(), "two").dedupe()
    assert rows_found(one) == rows_found(two)
    assert len(rows_found(one)) > 1500


def test_dedupe_job(cluster, tmp_path) -> None:
    lake = lake_of(tmp_path / "lake", rows_of_families(60))
    command = [
        sys.executable,
        str(ROOT / "jobs" / "dedupe.py"),
        str(tmp_path / "lake"),
        "--no-confirm",
    ]
    environment = os.environ | {"RAY_ADDRESS": cluster.address}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "groups of copies" in done.stdout
    assert len(rows_found(lake)) > 30


def test_the_example_photos_have_the_groups_that_a_person_would_make(
    example_lake, tmp_path
) -> None:
    lake = shutil.copytree(example_lake, tmp_path / "lake")
    plan = tmp_path / "plan.csv"
    assert main(["dedupe", str(lake), "--plan", str(plan), "--mirrored", "--rotated"]) == 0
    assert pairs(plan) == {
        ("obama-2009-speech-rgba.png", "obama-2009-speech.jpg", "near"),
        ("obama-2012-letterboxed-480p.jpg", "obama-2012-letterboxed-1080p.jpg", "near"),
    }
    assert main(["dedupe", str(lake), "--plan", str(plan), "--crops"]) == 0
    assert pairs(plan) == {
        ("obama-2009-speech-rgba.png", "obama-2009-speech.jpg", "near"),
        ("obama-2012-letterboxed-480p.jpg", "obama-2012-letterboxed-1080p.jpg", "near"),
        ("obama-2012-closeup.jpg", "obama-2012-portrait.jpg", "crop"),
    }
    assert main(["cluster", str(lake)]) == 0  # with copies that count once


def pairs(plan: Path) -> set[tuple[str, str, str]]:
    with plan.open() as file:
        return {
            (Path(r["uri"]).name, Path(r["kept_uri"]).name, r["kind"]) for r in csv.DictReader(file)
        }


def test_a_run_killed_at_any_moment_is_finished_by_the_next(tmp_path) -> None:
    rows = rows_of_families(20_000)
    lake = lake_of(tmp_path / "lake", rows, part=5000)
    reference = lake_of(tmp_path / "reference", rows, part=5000)
    Run(Duplicates(reference), DedupeConfig(confirm=False), in_process, "reference").dedupe()
    arguments = ["dedupe", str(tmp_path / "lake"), "--no-confirm"]
    work = tmp_path / "lake" / "duplicates" / "_work"
    kill_in("gathered", arguments, work.parent)
    for step in ("hashes", "pairs"):
        kill_in(step, arguments, work)
    assert main(arguments) == 0
    assert rows_found(lake) == rows_found(reference)
    assert not work.exists()


@pytest.mark.s3
def test_a_lake_on_s3_and_copies_moved_there(s3, tmp_path, capsys) -> None:
    image = photo()
    poor = encoded(image, quality=40)
    files = {"a.jpg": encoded(image), "b-its-copy.jpg": encoded(image), "c.jpg": poor}
    here = indexed(tmp_path / "lake", files, tmp_path / "photos")
    rows = here.read("images").to_pylist()
    bucket = LakeStore("s3://photos/copies", s3.settings).folder
    for one in rows:
        name = Path(one["uri"]).name
        bucket.publish(f"in/{name}", files[name])
        one |= {"uri": f"{bucket.url}/in/{name}", "shard": f"{bucket.url}/in"}
    there = lake_of(f"{bucket.url}/lake", rows, options=s3.settings)
    aside = f"{bucket.url}/aside"
    command = ["dedupe", there.folder.url, *s3.options]
    assert main([*command, "--apply", "move", aside]) == 0
    out = capsys.readouterr().out
    assert "2 files moved" in out
    assert sorted(bucket.child("in").files()) == ["a.jpg"]
    log = out.split("--undo ")[1].split()[0]
    assert main([*command, "--undo", log]) == 0
    assert sorted(bucket.child("in").files()) == ["a.jpg", "b-its-copy.jpg", "c.jpg"]
    assert bucket.read("in/c.jpg") == files["c.jpg"]
    assert main([*command, "--apply", "move", str(tmp_path / "local")]) == 0
    assert "2 left: on another storage than the folder" in capsys.readouterr().out
