"""Training by several workers on Ray, their batches made by Ray Data."""

from dataclasses import replace

import pytest

from pipeline.errors import ConfigError, ResourceError
from pipeline.executor.tasks import mapper
from pipeline.lake.checkpoints import in_process
from pipeline.models.weights.store import WeightStore
from pipeline.storage.folder import Folder
from pipeline.training.fit.alone import fit_alone
from pipeline.training.fit.several import fit_on_ray
from pipeline.training.network import Means, prepare
from pipeline.training.networks.build import build
from pipeline.training.settings import NetworkConfig, TrainConfig
from tests.support.training_lakes import training_lake

NETWORK = NetworkConfig(
    "mobileface", epochs=1, batch=8, chunk=4, held_out=0.34, warmup=0.5, workers=2
)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    lake, _ = training_lake(folder, 12, 6)
    config = TrainConfig(min_images=3, network=NETWORK)
    means = Means(WeightStore(), in_process, lambda *_: None)
    return prepare(lake, "folders", Folder(str(folder / "model")), config, means).task


@pytest.mark.usefixtures("cluster")
def test_two_workers_follow_the_curve_of_one(task, tmp_path):
    one, two = (replace(task, folder=Folder(str(tmp_path / name))) for name in ("one", "two"))
    alone = fit_alone(one, lambda *_: None)
    seen = []
    with mapper(ray=True):
        together = fit_on_ray(two, lambda *told: seen.append(told))
    assert len(alone.losses) == 4
    # the same chunks; only sums of floats come in another order
    assert together.losses == pytest.approx(alone.losses, rel=2e-3)
    assert together.best[0] == alone.best[0] == 0
    assert [(done, total) for _, done, total in seen] == [(k, 4) for k in (1, 2, 3, 4, 4)]


@pytest.mark.usefixtures("cluster")
def test_workers_that_cannot_be_had_and_what_workers_refuse_are_told(task):
    many = replace(task, config=replace(task.config, workers=10))
    with pytest.raises(ResourceError, match="10 workers need as many CPUs, the cluster has 4"):
        fit_on_ray(many, lambda *_: None)
    half = replace(task.config, workers=1, train_precision="float16", train_device="cpu")
    with pytest.raises(ConfigError, match="float16 needs a GPU"):
        fit_on_ray(replace(task, config=half), lambda *_: None)


@pytest.mark.s3
def test_crops_and_checkpoints_lie_on_s3(s3, tmp_path):
    lake, _ = training_lake(tmp_path, 12, 6)
    config = TrainConfig(min_images=3, network=replace(NETWORK, workers=1, checkpoint_steps=1))
    means = Means(WeightStore(), in_process, lambda *_: None)
    model = Folder("s3://photos/model", s3.settings)
    remote = prepare(lake, "folders", model, config, means).task
    whole = fit_alone(replace(remote, folder=Folder(str(tmp_path / "here"))), lambda *_: None)

    def lost(figures, done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_alone(remote, lost)
    assert {"checkpoint.json"} < set(model.child("training").files())
    begun = []
    resumed = fit_alone(remote, lambda *told: begun.append(told[1]))
    assert begun[0] == 3
    assert resumed.losses == whole.losses
    assert set(remote.checkpoints.best()) == set(build("mobileface").state_dict())
