"""The vector index built on a real Ray, and by its job."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.lake.store import LakeStore
from pipeline.search import Searcher
from pipeline.search.build import Build
from pipeline.search.settings import VectorIndexConfig
from tests.support import synthetic
from tests.support.lakes import archive, make

pytest.importorskip("faiss")
ROOT = Path(__file__).parents[2]


def test_ray_builds_what_one_process_builds(cluster, tmp_path, monkeypatch) -> None:
    from pipeline.executor.ray_mapper import RayMapper

    monkeypatch.setattr(synthetic, "PART", 100)
    vectors, _ = archive(60, 10)
    config = VectorIndexConfig(kind="ivf", cells=12, shard_rows=200)
    results = []
    for name, mapper in (("one", None), ("two", RayMapper())):
        make(tmp_path / name, vectors)
        lake = LakeStore(str(tmp_path / name))
        given = {"mapper": mapper} if mapper else {}
        manifest = Build(lake, config, run_id=name, **given).run()
        assert len(manifest.shards) == 3
        hits = Searcher(lake).nearest(vectors, 5)
        results.append((manifest.recalls, [[hit.face_id for hit in row] for row in hits]))
    assert results[0] == results[1]


def test_index_job(cluster, tmp_path) -> None:
    make(tmp_path / "lake", archive(20, 10)[0])
    command = [sys.executable, str(ROOT / "jobs" / "index_vectors.py"), str(tmp_path / "lake")]
    environment = os.environ | {"RAY_ADDRESS": cluster.address}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "lake/index/_current.json").read_text())["rows"] == 200
