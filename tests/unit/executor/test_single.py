from dataclasses import replace

import pyarrow as pa
import pytest

from pipeline.config import IndexConfig, PoolConfig
from pipeline.errors import ConfigError
from pipeline.executor import single
from pipeline.executor.single_worker import batches
from pipeline.executor.work import Job
from pipeline.lake.ledger import Ledger
from pipeline.lake.store import LakeStore, Models
from tests.support.builders import planned, put
from tests.support.review_lakes import jpeg


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(single, "NVIDIA", tmp_path / "no such device")
    monkeypatch.delitem(single.sys.modules, "ray", raising=False)
    return IndexConfig(inputs=(f"{tmp_path}/p",), output=f"{tmp_path}/lake", embedder="sface")


def photos(folder, count):
    put(folder, {f"p/{k}.jpg": jpeg(k) for k in range(count)})
    return planned(folder / "p")


def job_of(config):
    models = Models("mtcnn@1", f"{config.embedder}@2", 4)
    return Job(config, LakeStore(config.output), models, "20200101T000000-a")


def test_few_photos_need_no_ray(config, tmp_path):
    assert single.suits(config, photos(tmp_path, 3))
    assert not single.suits(config, photos(tmp_path, single.MOST_IMAGES + 1))


def test_ray_is_used_where_it_or_a_gpu_is_asked_for(config, tmp_path, monkeypatch):
    plan = photos(tmp_path, 3)
    assert not single.suits(replace(config, device="cuda"), plan)
    for pools in ({"detect_actors": 1}, {"embed_actors": 2}, {"embed_gpus": 0.5}):
        assert not single.suits(replace(config, pools=PoolConfig(**pools)), plan)
    assert single.suits(replace(config, pools=PoolConfig(part_images=2, detect_batch=4)), plan)
    monkeypatch.setattr(single, "NVIDIA", tmp_path)
    assert not single.suits(config, plan)
    assert single.suits(replace(config, device="cpu"), plan)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert not single.suits(replace(config, device="cpu"), plan)


@pytest.mark.parametrize("rows", [1, 3, 4, 100])
def test_batches_keep_all_rows_in_order(rows):
    spans = ((0, 2), (2, 2), (2, 9), (9, 10))
    tables = [pa.table({"n": pa.array(range(*span), pa.int64())}) for span in spans]
    parts = list(batches(iter(tables), rows))
    assert [n for part in parts for n in part["n"].to_pylist()] == list(range(10))
    assert {len(part) for part in parts[:-1]} <= {rows}
    assert 0 < len(parts[-1]) <= rows
    assert list(batches(iter([]), rows)) == []


def test_what_a_stage_raises_arrives(config, tmp_path):
    config, plan = replace(config, embedder="nobody"), photos(tmp_path, 1)
    with pytest.raises(ConfigError, match="nobody"):
        list(single.run(job_of(config), plan, Ledger.empty()))


def test_a_worker_that_ends_is_told(config, tmp_path, monkeypatch):
    monkeypatch.setattr(single, "MODULE", "this")  # it prints poems, and no answer
    plan = photos(tmp_path, 1)
    monkeypatch.setattr(single.json, "loads", lambda line: ("part", line))
    with pytest.raises(single.WorkerLostError, match="status 0"):
        list(single.run(job_of(config), plan, Ledger.empty()))
