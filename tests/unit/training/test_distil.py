"""Learning from a teacher's vectors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.training.objectives.distil import Distillation, cosine_distance, relation_distance


def vectors(count, dimension, seed):
    return np.random.default_rng(seed).normal(size=(count, dimension))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_loss_is_the_formula_and_has_its_gradient():
    torch.manual_seed(0)
    loss = Distillation(6, 3, relations=2.0).double()
    student, teacher = vectors(5, 6, 0), vectors(5, 3, 1)
    projected = student @ loss.projection.weight.detach().numpy().T
    direct = np.mean([1 - s @ t for s, t in zip(unit(projected), unit(teacher), strict=True)])
    cosines = [unit(rows) @ unit(rows).T for rows in (student, teacher)]
    expected = direct + 2 * ((cosines[0] - cosines[1]) ** 2).mean()
    given = torch.tensor(student, requires_grad=True), torch.tensor(teacher, requires_grad=True)
    assert loss(*given).item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(lambda x, _: loss(x, given[1]), (given[0],
                                    loss.projection.weight))  # fmt: skip
    loss(*given).backward()
    assert given[1].grad is None  # nobody teaches the teacher


def test_half_precision_around_relations_changes_nothing():
    student, teacher = (torch.tensor(vectors(5, 6, seed)).bfloat16() for seed in (0, 1))
    with torch.autocast("cpu", torch.bfloat16):
        low = relation_distance(student, teacher)
    assert low.equal(relation_distance(student.float(), teacher.float()))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 99), order=st.permutations(range(6)))
def test_the_same_geometry_costs_nothing_and_order_does_not_matter(seed, order):
    torch.manual_seed(seed)
    loss = Distillation(5, 3).double()
    teacher = torch.tensor(vectors(6, 3, seed))
    student = 4 * teacher @ loss.projection.weight.detach()  # turned, and longer
    assert loss(student, teacher).item() == pytest.approx(0, abs=1e-12)
    assert relation_distance(student, teacher).item() == pytest.approx(0, abs=1e-12)
    assert cosine_distance(3 * teacher, teacher).item() == pytest.approx(0, abs=1e-12)
    other = torch.tensor(vectors(6, 5, seed + 1))
    torch.testing.assert_close(loss(other[order], teacher[order]), loss(other, teacher))
    assert Distillation(5, 3, relations=0)(other.float(), teacher.float()) <= 2
