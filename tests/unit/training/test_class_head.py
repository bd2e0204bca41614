"""Class heads: against NumPy, and shared by two workers against one alone."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributed as dist
from torch import multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.errors import ConfigError
from pipeline.training.objectives.class_head import ClassHead, Options, SoftmaxHead
from pipeline.training.objectives.margins import AdaFace, ArcFace, CosFace, NormalisedSoftmax

DIMENSION, BATCH, WORKERS = 6, 8, 2
# name: classes, margin, options; 7 and 1 cannot be halved
SHARED = {
    "plain": (7, NormalisedSoftmax(8), Options()),
    "margin": (7, ArcFace(8), Options(smoothing=0.1)),
    "norms": (9, AdaFace(8), Options()),
    "sampled": (41, CosFace(8), Options(rate=0.3, smoothing=0.1, seed=5)),
    "few classes": (1, ArcFace(8), Options()),
}


def batch(classes, count=BATCH, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, DIMENSION, generator=generator, dtype=torch.float64)
    target = torch.randint(min(classes, 6), (count,), generator=generator)
    return features.requires_grad_(), target


def head_of(name, group=None):
    classes, margin, options = SHARED[name]
    head = ClassHead(classes, DIMENSION, margin, options, group).double()
    head.sample(3)
    return head


def results(name, group=None, rank=0, workers=1):
    """Loss and gradients: of this worker's features, its centres, and a network before them."""
    head = head_of(name, group)
    torch.manual_seed(0)
    linear = nn.Linear(DIMENSION, DIMENSION).double()
    network = linear if group is None else DistributedDataParallel(linear, process_group=group)
    features, target = batch(head.classes)
    rows = slice(rank * BATCH // workers, (rank + 1) * BATCH // workers)
    own = features.detach()[rows].requires_grad_()
    loss = head(network(own), target[rows])
    loss.backward()
    return {"loss": loss.detach(), "features": own.grad, "centres": head.centres.grad,
            "network": linear.weight.grad, "rows": head.rows}  # fmt: skip


def work(rank, folder):
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=WORKERS)
    found = {name: results(name, dist.group.WORLD, rank, WORKERS) for name in SHARED}
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    multiprocessing.spawn(work, (str(folder),), nprocs=WORKERS)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(WORKERS)]


@pytest.mark.parametrize("name", SHARED)
def test_two_workers_are_one(shared, name):
    alone = results(name)
    workers = [found[name] for found in shared]
    for one in workers:
        torch.testing.assert_close(one["loss"], alone["loss"])
        torch.testing.assert_close(one["network"], alone["network"])
    features = torch.cat([one["features"] for one in workers])
    torch.testing.assert_close(features, WORKERS * alone["features"])
    centres = torch.cat([one["centres"] for one in workers])
    torch.testing.assert_close(centres, alone["centres"])
    assert [number for one in workers for number in one["rows"]] == list(alone["rows"])


def by_formula(head, features, target, columns):
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    centres = head.centres.detach().numpy()
    centres = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    losses = []
    for row, own in zip(unit, target, strict=True):
        logits = {c: row @ centres[c] for c in columns}
        if isinstance(head.margin, CosFace):
            logits[own] -= head.margin.margin
        if isinstance(head.margin, ArcFace):
            logits[own] = np.cos(np.arccos(logits[own]) + head.margin.margin)
        scores = head.margin.scale * np.array(list(logits.values()))
        logs = scores - np.log(np.exp(scores).sum())
        smoothing = head.options.smoothing
        losses.append(-(1 - smoothing) * logs[columns.index(own)] - smoothing * logs.mean())
    return np.mean(losses)


@pytest.mark.parametrize("name", ["plain", "margin", "sampled"])
def test_the_loss_is_the_cross_entropy_of_the_columns(name):
    head = head_of(name)
    features, target = batch(head.classes)
    columns = head.chosen(target).tolist()
    expected = by_formula(head, features.detach().numpy(), target.tolist(), columns)
    assert head(features, target).item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(lambda x, _: head(x, target), (features, head.centres))


def test_all_classes_are_the_full_head_of_torch():
    torch.manual_seed(0)
    head = ClassHead(7, DIMENSION, ArcFace(8), Options(rate=1.0, smoothing=0.2)).double()
    features, target = batch(7)
    loss = head(features, target)
    grads = torch.autograd.grad(loss, (features, head.centres))
    unit = torch.nn.functional.normalize(features)
    cosine = unit @ torch.nn.functional.normalize(head.centres).T
    logits = head.margin(cosine, target, features.norm(dim=1))
    full = torch.nn.functional.cross_entropy(logits, target, label_smoothing=0.2)
    torch.testing.assert_close(loss, full)
    torch.testing.assert_close(grads, torch.autograd.grad(full, (features, head.centres)))
    nearly = ClassHead(7, DIMENSION, ArcFace(8), Options(rate=0.95, smoothing=0.2)).double()
    torch.testing.assert_close(nearly(features, target), full)  # 0.95 of 7 are all 7


@settings(deadline=None, max_examples=50)
@given(classes=st.integers(1, 60), rate=st.floats(0.01, 1), step=st.integers(0, 9), data=st.data())
def test_all_classes_of_the_batch_are_compared_and_no_more_than_asked(classes, rate, step, data):
    target = torch.tensor(data.draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=9)))
    head = ClassHead(classes, 2, CosFace(), Options(rate=rate, seed=1))
    head.sample(step)
    chosen = head.chosen(target)
    assert set(target.tolist()) <= set(chosen.tolist())
    assert len(chosen) == max(len(set(target.tolist())), round(rate * classes))
    assert chosen.equal(chosen.unique())
    again = ClassHead(classes, 2, CosFace(), Options(rate=rate, seed=1))
    again.sample(step)
    assert again.chosen(target).equal(chosen)
    assert len(again.eval().chosen(target)) == classes


def test_steps_and_seeds_draw_other_classes_and_the_rest_gets_no_gradient():
    features, target = batch(1000)
    drawn = set()
    for seed, step in ((0, 0), (0, 1), (1, 0), (1, 1)):
        head = ClassHead(1000, DIMENSION, CosFace(), Options(rate=0.02, seed=seed)).double()
        head.sample(step)
        drawn.add(tuple(head.chosen(target).tolist()))
    assert len(drawn) == 4
    head(features, target).backward()
    assert head.centres.grad.any(1).nonzero()[:, 0].equal(head.chosen(target))


@settings(deadline=None, max_examples=20)
@given(order=st.permutations(range(BATCH)), name=st.sampled_from(sorted(SHARED)))
def test_the_order_of_the_batch_does_not_matter(order, name):
    head = head_of(name)
    features, target = batch(head.classes)
    torch.testing.assert_close(head(features[order], target[order]), head(features, target))


def test_an_unknown_class_does_not_pass_unseen():
    head = head_of("sampled")
    features, target = batch(41)
    for wrong in (-1, 41):
        target[0] = wrong
        assert head(features, target).isnan()


def test_half_precision_around_the_head_changes_nothing():
    head = ClassHead(7, DIMENSION, ArcFace())
    features, target = batch(7)
    with torch.autocast("cpu", torch.bfloat16):
        low = head(features.bfloat16(), target)
    assert low.item() == head(features.bfloat16().float(), target).item()


def test_impossible_options_are_refused():
    for wrong in ({"rate": 0}, {"rate": 1.1}, {"smoothing": 1}, {"smoothing": -0.1}):
        with pytest.raises(ConfigError, match="must be"):
            Options(**wrong)


def test_the_plain_head_is_a_linear_layer():
    torch.manual_seed(0)
    head = SoftmaxHead(4, DIMENSION, smoothing=0.1).double()
    features, target = batch(4)
    scores = features.detach().numpy() @ head.linear.weight.detach().numpy().T
    scores += head.linear.bias.detach().numpy()
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    own = logs[np.arange(BATCH), target.numpy()]
    expected = -(0.9 * own + 0.1 * logs.mean(1)).mean()
    assert head(features, target).item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(lambda x: head(x, target), features)
