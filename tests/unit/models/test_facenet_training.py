"""The training helpers of facenet-pytorch."""

import inspect
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from pipeline.errors import ConfigError
from pipeline.facenet import training


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Linear(4, 3)


@pytest.fixture
def loader():
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(10, 4, generator=generator)
    return DataLoader([(row, int(row[:3].argmax())) for row in rows], batch_size=4)


def writer(interval=2):
    written = []
    one = SimpleNamespace(iteration=0, interval=interval, written=written)
    one.add_scalars = lambda *what: written.append(what)
    return one


def test_signatures_are_the_published_ones():
    def names(function):
        return list(inspect.signature(function).parameters)

    assert names(training.pass_epoch) == [
        "model", "loss_fn", "loader", "optimizer", "scheduler", "batch_metrics", "show_running",
        "device", "writer",
    ]  # fmt: skip
    assert names(training.Logger) == ["mode", "length", "calculate_mean"]
    assert names(training.Logger.__call__)[1:] == ["loss", "metrics", "i"]
    assert names(training.BatchTimer) == ["rate", "per_sample"]
    assert names(training.BatchTimer.__call__)[1:] == ["y_pred", "y"]
    assert names(training.accuracy) == ["logits", "y"]
    assert names(training.collate_pil) == ["x"]


def test_an_evaluation_gives_means_over_batches_and_changes_nothing(model, loader, capsys):
    model.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    loss_fn, log = nn.CrossEntropyLoss(), writer()
    loss, metrics = training.pass_epoch(
        model, loss_fn, loader, batch_metrics={"acc": training.accuracy}, writer=log
    )
    with torch.no_grad():
        expected = torch.stack([loss_fn(model(x), y) for x, y in loader]).mean()
        right = torch.stack([training.accuracy(model(x), y) for x, y in loader]).mean()
    assert loss.equal(expected)
    assert metrics == {"acc": right}
    assert all(value.equal(before[key]) for key, value in model.state_dict().items())
    assert model.weight.grad is None
    assert log.written == [("loss", {"Valid": loss}, 0), ("acc", {"Valid": right}, 0)]
    lines = capsys.readouterr().out.split("\r")[1:]
    assert [line[:19] for line in lines] == [f"Valid |     {n}/3    " for n in (1, 2, 3)]
    assert lines[-1] == f"Valid |     3/3    | loss: {loss:9.4f} | acc: {right:9.4f}\n"


def test_an_epoch_of_training_learns(model, loader, capsys):
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1)
    log = writer()
    rest = (nn.CrossEntropyLoss(), loader, optimizer, scheduler)
    first, metrics = training.pass_epoch(model, *rest, show_running=False, writer=log)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    assert set(metrics) == {"time"}
    assert model.weight.grad is None
    assert log.iteration == 3
    assert [(name, at) for name, _, at in log.written] == [
        ("loss", 0), ("time", 0), ("loss", 2), ("time", 2)
    ]  # fmt: skip
    assert f"{log.written[-2][1]['Train']:9.4f}" in capsys.readouterr().out.split("\r")[-1]
    second, _ = training.pass_epoch(model, *rest)
    assert second < first


def test_what_cannot_be_is_said(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    with pytest.raises(ConfigError, match=r"give an optimizer, or call model.eval\(\)"):
        training.pass_epoch(model.train(), loss_fn, loader)
    with pytest.raises(ConfigError, match="no batches"):
        training.pass_epoch(model.eval(), loss_fn, DataLoader([]))


def test_the_timer_measures_batches_or_samples(monkeypatch):
    times = iter([0.0, 2.0, 3.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    rows, timer = torch.zeros(4, 1), training.BatchTimer()
    assert timer(rows, rows) == 2
    assert timer(rows, rows) == 4
    for rate, per_sample, expected in ((False, True, 0.5), (False, False, 2), (True, False, 0.5)):
        times = iter([0.0, 2.0])
        assert training.BatchTimer(rate, per_sample)(rows, rows) == expected


def test_images_are_collated_as_lists():
    images = [Image.new("RGB", (2, 3)), Image.new("L", (4, 5))]
    batches = DataLoader(list(zip(images, "ab", strict=True)), 2, collate_fn=training.collate_pil)
    assert next(iter(batches)) == (images, ["a", "b"])
