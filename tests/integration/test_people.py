"""Clustering on a real Ray: as without it, killed and started again, and on S3."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.clustering import shards as store
from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.clustering.run import Run
from pipeline.commands.main import main
from pipeline.errors import StorageError
from pipeline.lake.checkpoints import in_process
from pipeline.lake.store import LakeStore
from pipeline.people.store import People
from tests.support import lakes
from tests.support.killing import kill_in

ROOT = Path(__file__).parents[2]


def test_ray_finds_what_one_process_finds(cluster, tmp_path, monkeypatch) -> None:
    from pipeline.executor.ray_mapper import RayMapper

    monkeypatch.setattr(store, "TASK_QUERIES", 300)
    vectors, _ = lakes.archive(200, 5)
    one, two = (lakes.make(tmp_path / name, vectors) for name in "ab")
    config = ClusterConfig(exact_below=0)
    Run(one, config, in_process, "one").cluster()
    Run(two, config, RayMapper(), "two").cluster()
    assert lakes.persons(one) == lakes.persons(two)


def test_an_error_in_a_task_keeps_its_message(cluster, tmp_path) -> None:
    from pipeline.executor.ray_mapper import RayMapper

    vectors, _ = lakes.archive(3, 3)
    people = lakes.make(tmp_path / "lake", 2 * vectors)
    with pytest.raises(StorageError, match="9 vectors are not finite or not of unit norm"):
        Run(people, ClusterConfig(), RayMapper(), "run").cluster()


def test_cluster_job(cluster, tmp_path) -> None:
    vectors, _ = lakes.archive()
    people = lakes.make(tmp_path / "lake", vectors)
    command = [sys.executable, str(ROOT / "jobs" / "cluster.py"), str(tmp_path / "lake")]
    environment = os.environ | {"RAY_ADDRESS": cluster.address}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "calibrated" in done.stdout
    assert len(people.people()) == 12


def test_a_run_killed_at_any_moment_is_finished_by_the_next(tmp_path) -> None:
    vectors, _ = lakes.archive(600, 4)
    people = lakes.make(tmp_path / "lake", vectors)
    reference = lakes.make(tmp_path / "reference", vectors)
    Run(reference, ClusterConfig(), in_process, "reference").cluster()
    arguments, work = ["cluster", str(tmp_path / "lake")], tmp_path / "lake" / "clusters" / "_work"
    for step in ("gather", "faces-edges", "groups-sorted"):
        kill_in(step, arguments, work)
    assert main(arguments) == 0
    assert lakes.persons(people) == lakes.persons(reference)
    assert not work.exists()
    assert sum(name.startswith("part-") for name in os.listdir(tmp_path / "lake" / "clusters")) == 1


@pytest.mark.s3
def test_a_lake_on_s3(s3, tmp_path) -> None:
    vectors, _ = lakes.archive()
    here = lakes.make(tmp_path / "lake", vectors)
    Run(here, ClusterConfig(), in_process, "run").cluster()
    there = People(LakeStore("s3://photos/people", s3.settings))
    for folder in ("images", "faces"):
        for path in (tmp_path / "lake" / folder).glob("*.parquet"):
            there.lake.folder.publish(f"{folder}/{path.name}", path.read_bytes())
    there.lake.folder.publish("lake.json", (tmp_path / "lake" / "lake.json").read_bytes())
    Run(there, ClusterConfig(), in_process, "run").cluster()
    assert lakes.persons(there) == lakes.persons(here)
