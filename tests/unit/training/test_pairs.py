"""Triplets and class centres, against loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.training.objectives.pairs import CentreLoss, triplet_semi_hard

PEOPLE = st.lists(st.integers(0, 3), min_size=1, max_size=10)


def units(count, seed=0):
    rows = np.random.default_rng(seed).normal(size=(count, 3))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def by_loop(unit, target, margin):
    losses = []
    for a in range(len(unit)):
        distances = [((unit[a] - other) ** 2).sum() for other in unit]
        others = [distances[n] for n in range(len(unit)) if target[n] != target[a]]
        for p in range(len(unit)):
            if p == a or target[p] != target[a] or not others:
                continue
            farther = [d for d in others if d > distances[p]]
            negative = min(farther) if farther else max(others)
            losses.append(max(0, margin + distances[p] - negative))
    return np.mean(losses) if losses else 0.0


@settings(deadline=None, max_examples=80)
@given(target=PEOPLE, margin=st.sampled_from([0.2, 1.0]), seed=st.integers(0, 99), data=st.data())
def test_triplets_are_those_of_the_loop_in_any_order(target, margin, seed, data):
    unit, target = units(len(target), seed), np.array(target)
    expected = by_loop(unit, target, margin)
    order = np.array(data.draw(st.permutations(range(len(target)))))
    for rows in (np.arange(len(target)), order):
        loss = triplet_semi_hard(torch.tensor(unit[rows]), torch.tensor(target[rows]), margin)
        assert loss.item() == pytest.approx(expected, abs=1e-12)


def test_triplets_have_the_gradient_of_the_loss():
    unit = torch.tensor(units(7), requires_grad=True)
    target = torch.tensor([0, 0, 1, 1, 1, 2, 0])
    assert torch.autograd.gradcheck(lambda x: triplet_semi_hard(x, target, 0.5), unit)
    assert triplet_semi_hard(unit, target, 0.5) > 0


def test_half_precision_around_triplets_changes_nothing():
    unit, target = torch.tensor(units(7)).bfloat16(), torch.tensor([0, 0, 1, 1, 1, 2, 0])
    with torch.autocast("cpu", torch.bfloat16):
        low = triplet_semi_hard(unit, target, 0.5)
    assert low.equal(triplet_semi_hard(unit.float(), target, 0.5))


@pytest.mark.parametrize("target", [[0], [0, 1, 2], [0, 0, 0]])
def test_without_a_pair_or_a_negative_there_is_nothing_to_learn(target):
    unit = torch.tensor(units(len(target)), requires_grad=True)
    loss = triplet_semi_hard(unit, torch.tensor(target))
    loss.backward()
    assert loss == 0
    assert not unit.grad.any()


def test_centres_move_by_the_rule_of_the_paper():
    rng = np.random.default_rng(0)
    features, target = rng.normal(size=(7, 4)), np.array([0, 2, 2, 0, 2, 3, 0])
    loss = CentreLoss(5, 4, alpha=0.5).double()
    start = rng.normal(size=(5, 4))
    loss.centres.copy_(torch.tensor(start))
    given = torch.tensor(features, requires_grad=True), torch.tensor(target)
    expected = ((features - start[target]) ** 2).sum(1).mean() / 2
    assert loss(*given).item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(lambda x: loss(x, given[1]), given[0])
    loss.update(*given)
    moved = start.copy()
    for c in range(5):
        own = features[target == c]
        moved[c] -= 0.5 * (start[c] - own).sum(0) / (1 + len(own))
    np.testing.assert_allclose(loss.centres.numpy(), moved)
    assert not list(loss.parameters())
    assert set(loss.state_dict()) == {"centres"}


@settings(deadline=None, max_examples=20)
@given(order=st.permutations(range(6)))
def test_the_order_does_not_matter_to_centres(order):
    features, target = torch.tensor(units(6)), torch.tensor([0, 1, 1, 0, 2, 1])
    centres = []
    for rows in (list(range(6)), order):
        loss = CentreLoss(3, 3).double()
        loss.update(features[rows], target[rows])
        centres.append(loss.centres)
    torch.testing.assert_close(*centres)
