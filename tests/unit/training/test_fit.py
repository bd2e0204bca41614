"""The loop: schedule, checkpoints, resuming, verification, and what stops a training."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import Lake
from pipeline.errors import ConfigError, StorageError, TrainingError
from pipeline.storage.folder import Folder
from pipeline.training.fit import loop
from pipeline.training.fit.checkpoint import Checkpoints, Progressed, restore_own
from pipeline.training.fit.optimiser import Mean, highest_rate, optimiser_of, rate_at
from pipeline.training.fit.team import Team
from pipeline.training.fit.verification import Held, check_collapse, held_pairs, measured
from pipeline.training.networks.network import Chain
from pipeline.training.settings import NetworkConfig
from tests.support.training_lakes import QUICK, training_lake

STEPS = 10


def config(**options):
    return NetworkConfig("mobileface", **options)


def test_the_rate_warms_up_and_falls():
    cosine = config(epochs=4, warmup=1.0, batch=128)
    rates = [rate_at(cosine, step, STEPS) for step in range(40)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10 * 0.05)
    assert all(a >= b for a, b in itertools.pairwise(rates[9:]))
    assert rates[-1] < 1e-3
    assert rate_at(cosine, 25, STEPS) == pytest.approx(0.025)


def test_steps_and_constants():
    steps = config(epochs=10, warmup=0.0, schedule="step", learning_rate=1.0)
    assert [rate_at(steps, k, STEPS) for k in (0, 49, 50, 74, 75, 90)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.001]
    )
    constant = config(schedule="constant", warmup=0.0, optimiser="adamw")
    assert rate_at(constant, 150, STEPS) == highest_rate(constant) == 1e-3


def test_biases_and_norms_do_not_decay():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Flatten())
    decaying, others = optimiser_of(network.parameters(), config(weight_decay=0.1)).param_groups
    assert [p.dim() for p in decaying["params"]] == [4]
    assert decaying["weight_decay"] == 0.1
    assert len(others["params"]) == 4
    assert others["weight_decay"] == 0


def test_the_mean_of_weights():
    network = Chain({"one": [nn.Linear(2, 2, bias=False)]})
    mean = Mean(network, 0.9)
    first = next(network.parameters()).detach().clone()
    with torch.no_grad():
        next(network.parameters()).add_(1.0)
    mean.update(network, 1000)
    assert torch.allclose(next(mean.network.parameters()), first + 0.1)


def tiny(name):
    """Return a network that takes a millisecond a face."""
    return Chain({
        "stem": [nn.Conv2d(3, 8, 8, 8), nn.BatchNorm2d(8), nn.PReLU(8)],
        "embedding": [nn.Flatten(), nn.Dropout(0.1), nn.Linear(8 * 14 * 14, 512),
                      nn.BatchNorm1d(512)],
    })  # fmt: skip


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(loop, "build", tiny)
    monkeypatch.setattr("pipeline.training.export.build", tiny)
    monkeypatch.setattr("pipeline.training.network.exported", lambda *_: {"network-t.toml": b""})
    monkeypatch.setattr("pipeline.training.network.own_embedder", embedder)


def embedder(files):
    class Embedder:
        revision = "tiny@000000000000"

        def embed(self, crops):
            mean = crops.reshape(len(crops), -1)[:, :512].astype(np.float32) + 1
            return mean / np.linalg.norm(mean, axis=1, keepdims=True), mean

    return Embedder()


OPTIONS = QUICK | {"epochs": 3, "chunk": 4, "ema": 0.5}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    training_lake(folder, 12, 6)
    return folder


def train(archive, output, on_step=None, **options):
    seen = []

    def progress(step, done, total):
        seen.append((step, done))
        if on_step is not None and step.startswith("epoch"):
            on_step(done)

    options = OPTIONS | {"crops": str(archive / "cache")} | options
    Lake(archive / "lake").train(output, "folders", progress=progress, **options)
    return seen


class Killed(Exception):  # noqa: N818  # it stands for a signal
    pass


def losses(output):
    import pyarrow.parquet as pq

    (history,) = output.glob("history-*.parquet")
    return pq.read_table(history)["loss"].to_pylist()


OBJECTIVES = [
    {"objective": "arcface", "rate": 0.5, "crops": None},  # one cuts its own, the others share
    {"objective": "adaface", "centre": 0.01, "optimiser": "adamw"},
    {"objective": "softmax", "smoothing": 0.1},
    {"objective": "triplet", "images_per_person": 2},
    {"objective": "none", "teacher": "lake"},
]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("options", OBJECTIVES, ids=lambda one: one["objective"])
def test_a_training_that_was_killed_goes_on_with_the_same_losses(archive, tmp_path, options):
    train(archive, tmp_path / "whole", **options | {"crops": str(archive / "cache")})

    def kill(done):
        if done == 5:
            raise Killed

    with pytest.raises(Killed):
        train(archive, tmp_path / "killed", kill, checkpoint_steps=1, **options)
    assert (tmp_path / "killed" / "training" / "checkpoint.json").exists()
    seen = train(archive, tmp_path / "killed", **options)
    resumed = [done for step, done in seen if "faces/s" in step]
    assert resumed[0] == 5  # the step after the last checkpoint
    whole = losses(tmp_path / "whole")
    assert len(whole) >= 9
    assert losses(tmp_path / "killed") == pytest.approx(whole, rel=1e-6)
    assert not (tmp_path / "killed" / "training").exists()
    assert not (tmp_path / "killed" / "crops").exists()


@pytest.mark.usefixtures("quick")
def test_other_settings_do_not_go_on_with_a_checkpoint(archive, tmp_path):
    def kill(done):
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        train(archive, tmp_path / "m", kill, checkpoint_steps=1)
    with pytest.raises(ConfigError, match="a training that is not finished, with other settings"):
        train(archive, tmp_path / "m", epochs=4)
    train(archive, tmp_path / "m", checkpoint_steps=2)


@pytest.mark.usefixtures("quick")
def test_a_full_disk_keeps_the_checkpoint_before(archive, tmp_path, monkeypatch):
    train(archive, tmp_path / "whole")
    publish, count = Folder.publish, [0]

    def full(folder, name, data):
        if name.startswith("state-"):
            count[0] += 1
            if count[0] == 3:
                raise StorageError("Cannot write: no space left on device")
        publish(folder, name, data)

    monkeypatch.setattr(Folder, "publish", full)
    with pytest.raises(StorageError, match="no space left"):
        train(archive, tmp_path / "m", checkpoint_steps=1)
    monkeypatch.setattr(Folder, "publish", publish)
    train(archive, tmp_path / "m")
    assert losses(tmp_path / "m") == pytest.approx(losses(tmp_path / "whole"), rel=1e-6)


@pytest.mark.usefixtures("quick")
def test_a_loss_that_is_not_finite_stops_the_training(archive, tmp_path, monkeypatch):
    loss = loop.Learning.forward
    monkeypatch.setattr(
        loop.Learning, "forward", lambda *given: loss(*given) * torch.tensor(float("nan"))
    )
    with pytest.raises(TrainingError, match=r"step 1 is nan.*--learning-rate"):
        train(archive, tmp_path / "m")


@pytest.mark.usefixtures("quick")
def test_a_training_that_gets_no_better_stops_early(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "measured", lambda *_: {"score": 0.5})
    seen = train(archive, tmp_path / "m", epochs=9, patience=2)
    card = json.loads((tmp_path / "m" / "model.json").read_bytes())
    assert card["network"]["best_epoch"] == 1
    assert len(card["network"]["epochs"]) == 3
    assert any(step.startswith("epoch 3 of 9") for step, _ in seen)


@pytest.mark.usefixtures("quick")
def test_labels_and_settings_that_cannot_be_trained_on(archive, tmp_path):
    for options, match in (
        ({"held_out": 0.1}, "people are labelled; 0.1 of them are kept apart"),
        ({"min_images": 7}, "Nobody has 7 images or more"),
        ({"batch": 512}, "fewer than a batch of 512"),
        ({"workers": 2, "ray": "never"}, "need Ray"),
        ({"train_precision": "float16", "train_device": "cpu"}, "float16 needs a GPU"),
        ({"tensorboard": "s3://bucket/board"}, "must be a local folder"),
    ):
        with pytest.raises(ConfigError, match=match):
            train(archive, tmp_path / "m", **options)
    with pytest.raises(ConfigError, match="needs labels"):
        Lake(archive / "lake").train(tmp_path / "n", "none", **OPTIONS)
    with pytest.raises(ConfigError, match="name a --teacher"):
        config(objective="none")
    with pytest.raises(ConfigError, match="teaches a network"):
        NetworkConfig(teacher="sface")


@pytest.mark.usefixtures("quick")
def test_tensorboard_hears_of_steps_and_epochs(archive, tmp_path):
    train(archive, tmp_path / "m", tensorboard=str(tmp_path / "board"))
    (events,) = (tmp_path / "board").glob("events.*")
    written = events.read_bytes()
    for name in (b"step/loss", b"step/learning_rate", b"epoch/accuracy"):
        assert name in written


def test_a_damaged_checkpoint_is_told(tmp_path):
    folder = Folder(str(tmp_path))
    store = Checkpoints(folder, "x")
    assert store.load() is None
    store.save(Team(), {"network": {}}, {}, Progressed(epoch=2))
    progress, _, own = store.load()
    assert (progress.epoch, own) == (2, [{}])
    state = next(tmp_path.glob("state-*"))
    state.write_bytes(state.read_bytes()[:20])
    with pytest.raises(StorageError, match="is damaged"):
        store.load()
    (tmp_path / "checkpoint.json").write_text("{}")
    with pytest.raises(StorageError, match="is damaged"):
        store.load()


def test_a_checkpoint_runs_nothing_that_it_holds(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    store = Checkpoints(Folder(str(tmp_path)), "x")
    store.save(Team(), {}, {}, Progressed())
    torch.save(Evil(), next(tmp_path.glob("state-*")))
    with pytest.raises(StorageError, match="is damaged"):
        store.load()


def test_rows_of_a_head_are_shared_anew():
    rows = torch.arange(10.0).reshape(5, 2)
    parts = [{"rows": rows[:3], "momentum_buffer": torch.ones(3, 2)},
             {"rows": rows[3:], "momentum_buffer": torch.zeros(2, 2)}]  # fmt: skip
    parameter = nn.Parameter(torch.zeros(4, 2))
    optimiser = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
    restore_own(optimiser, parameter, range(1, 5), parts)
    assert parameter.detach().tolist() == [[2, 3], [4, 5], [6, 7], [8, 9]]
    assert optimiser.state[parameter]["momentum_buffer"].tolist() == [[1, 1]] * 2 + [[0, 0]] * 2


def held(people, each):
    person = np.repeat(np.arange(people), each)
    zeros = np.zeros(len(person), np.int64)
    return Held(zeros, zeros, person)


def test_pairs_are_of_both_kinds_alike():
    few, many = held(8, 4), held(700, 5)
    for one in (few, many):
        pairs = held_pairs(one.person, 0)
        assert pairs.same.sum() * 2 == len(pairs) <= 20_000
        assert np.array_equal(one.person[pairs.first] == one.person[pairs.second], pairs.same)
    assert held_pairs(np.full(20, -1), 0) is None
    assert held_pairs(np.arange(20), 0) is None


def test_verification_of_an_epoch():
    faces = held(8, 4)
    pairs = held_pairs(faces.person, 0)
    random = np.random.default_rng(0)
    good = np.eye(8)[faces.person] + random.normal(0, 0.05, (32, 8))
    good /= np.linalg.norm(good, axis=1, keepdims=True)
    figures = measured(good, faces, pairs)
    assert figures["accuracy"] == figures["auc"] == figures["score"] == 1
    check_collapse(figures)
    alike = np.full((32, 8), 8**-0.5) + random.normal(0, 1e-3, (32, 8))
    alike /= np.linalg.norm(alike, axis=1, keepdims=True)
    with pytest.raises(TrainingError, match="All people look alike"):
        check_collapse(measured(alike, faces, pairs))
    with pytest.raises(TrainingError, match="not finite"):
        measured(np.full((32, 8), np.nan), faces, pairs)


def test_agreement_with_a_teacher():
    random = np.random.default_rng(1)
    vectors = random.normal(size=(40, 6))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    turned = vectors @ np.linalg.qr(random.normal(size=(6, 6)))[0]
    faces = replace(held(1, 40), teacher=turned.astype(np.float32))
    figures = measured(vectors, faces, None)
    assert figures["score"] == figures["teacher_correlation"] == pytest.approx(1, abs=1e-5)
