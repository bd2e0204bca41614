"""Training by several workers on Ray, their batches made by Ray Data."""

import pyarrow.parquet as pq
import pytest

from pipeline import Lake
from pipeline.errors import ConfigError, ResourceError
from tests.support.training_lakes import training_lake

OPTIONS = {
    "network": "mobileface", "objective": "arcface", "epochs": 1, "batch": 8, "chunk": 4,
    "held_out": 0.34, "min_images": 3, "bootstrap": 0, "warmup": 0.5, "false_alarms": 0.2,
}  # fmt: skip


def losses(folder):
    (history,) = folder.glob("history-*.parquet")
    return pq.read_table(history)["loss"].to_pylist()


@pytest.mark.usefixtures("cluster")
def test_two_workers_follow_the_curve_of_one(tmp_path):
    training_lake(tmp_path, 12, 6)
    lake = Lake(tmp_path / "lake")
    crops = str(tmp_path / "crops")
    lake.train(tmp_path / "one", "folders", ray="never", crops=crops, **OPTIONS)
    seen = []
    lake.train(
        tmp_path / "two", "folders", ray="always", workers=2, crops=crops,
        progress=lambda step, done, total: seen.append((step, done, total)), **OPTIONS,
    )  # fmt: skip
    assert len(losses(tmp_path / "one")) == 4
    # the same chunks; only sums of floats come in another order
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=2e-3)
    assert seen[-1][0].startswith("epoch 1 of 1, loss")
    assert seen[-1][1:] == (4, 4)


@pytest.mark.usefixtures("cluster")
def test_workers_that_cannot_be_had_and_what_workers_refuse_are_told(tmp_path, monkeypatch):
    training_lake(tmp_path, 12, 6)
    lake = Lake(tmp_path / "lake")
    options = OPTIONS | {"crops": str(tmp_path / "crops"), "batch": 40}
    with pytest.raises(ResourceError, match="10 workers need as many CPUs, the cluster has 4"):
        lake.train(tmp_path / "m", "folders", ray="always", workers=10, **options)
    with pytest.raises(ConfigError, match="float16 needs a GPU"):
        lake.train(
            tmp_path / "m", "folders", ray="always", train_precision="float16",
            train_device="cpu", **options,
        )  # fmt: skip
