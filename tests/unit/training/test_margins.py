"""Margins: the formulas of the papers, gradients, and what holds for all of them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.training.objectives.margins import AdaFace, ArcFace, CosFace, NormalisedSoftmax

MARGINS = [NormalisedSoftmax(8), CosFace(8), ArcFace(8), AdaFace(8)]
COSINES = st.lists(st.floats(-1, 1), min_size=3, max_size=3)


def case(seed=0):
    rng = np.random.default_rng(seed)
    cosine = rng.uniform(-0.7, 0.7, (5, 4))
    return cosine, np.array([0, 3, -1, 2, 3]), rng.uniform(5, 300, 5)


def logits(margin, cosine, target, norms):
    return margin(torch.tensor(cosine), torch.tensor(target), torch.tensor(norms)).numpy()


def by_formula(margin, cosine, target, norms):
    """The papers' formulas, an entry at a time."""
    out = cosine * margin.scale
    for row, column in enumerate(target):
        if column < 0:
            continue
        angle = math.acos(cosine[row, column])
        match margin:
            case CosFace():
                own = math.cos(angle) - margin.margin
            case ArcFace():
                own = math.cos(angle + margin.margin)
            case AdaFace():
                z = (min(max(norms[row], 0.001), 100) - 20) / (100 + 1e-3) * margin.concentration
                z = min(max(z, -1), 1)
                own = math.cos(angle - margin.margin * z) - margin.margin * (z + 1)
            case _:
                own = math.cos(angle)
        out[row, column] = margin.scale * own
    return out


@pytest.mark.parametrize("margin", MARGINS, ids=lambda margin: type(margin).__name__)
def test_logits_are_those_of_the_paper_and_have_its_gradient(margin):
    cosine, target, norms = case()
    expected = by_formula(margin, cosine, target, norms)
    np.testing.assert_allclose(logits(margin, cosine, target, norms), expected, atol=1e-5)
    rest = torch.tensor(target), torch.tensor(norms)
    given = torch.tensor(cosine, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: margin(x, *rest), given)
    assert margin(given[:, :0], torch.full((5,), -1), rest[1]).shape == (5, 0)


@pytest.mark.parametrize("margin", [ArcFace(64, 0), CosFace(64, 0)])
def test_no_margin_is_the_normalised_softmax(margin):
    cosine, target, norms = case()
    cosine[0, 0], cosine[1, 3] = 1, -1
    expected = logits(NormalisedSoftmax(64), cosine, target, norms)
    assert (logits(margin, cosine, target, norms) == expected).all()


@pytest.mark.parametrize("margin", MARGINS, ids=lambda margin: type(margin).__name__)
@settings(deadline=None, max_examples=50)
@given(cosines=COSINES, norm=st.floats(0, 1e4))
def test_the_true_logit_is_never_raised_and_no_other_changes(margin, cosines, norm):
    cosine, target = np.array([cosines]), np.array([1])
    out = logits(margin, cosine, target, np.array([norm]))
    assert out[0, 1] <= 8 * cosine[0, 1] + 1e-9
    assert (out[0, [0, 2]] == 8 * cosine[0, [0, 2]]).all()


@pytest.mark.parametrize("margin", MARGINS, ids=lambda margin: type(margin).__name__)
@settings(deadline=None, max_examples=50)
@given(pair=st.tuples(st.floats(-1, 1), st.floats(-1, 1)), norm=st.floats(0, 300))
def test_a_closer_feature_never_has_a_lower_logit(margin, pair, norm):
    cosine = np.array(sorted(pair))[:, None]
    low, high = logits(margin, cosine, np.array([0, 0]), np.array([norm, norm]))
    # between the bound of the sine and its true value, 1e-3 are lost
    assert low <= high + 8e-3


@pytest.mark.parametrize("margin", MARGINS, ids=lambda margin: type(margin).__name__)
@pytest.mark.parametrize("norm", [0.0, 20.0, 1e4])
def test_ends_are_finite(margin, norm):
    cosine = torch.tensor([[1.0], [-1.0], [1 + 1e-6], [-1 - 1e-6]], requires_grad=True)
    out = margin(cosine, torch.zeros(4, dtype=torch.int64), torch.full((4,), norm))
    out.sum().backward()
    assert out.isfinite().all()
    assert cosine.grad.isfinite().all()
    assert (cosine.grad >= 0).all()


def test_arcface_goes_on_falling_beyond_pi():
    angles = np.linspace(0.01, math.pi - 0.01, 400)
    target = np.zeros(400, np.int64)
    out = logits(ArcFace(1, 0.5), np.cos(angles)[:, None], target, np.ones(400))[:, 0]
    assert (np.diff(out) < 0).all()
    assert out[-1] == pytest.approx(math.cos(angles[-1]) - 0.5 * math.sin(0.5))


def test_adaface_gives_poor_images_the_margin_of_arcface():
    margin = AdaFace(8, 0.4, 1.0)
    margin.mean.fill_(50)
    margin.deviation.fill_(1)
    cosine, target, _ = case()
    expected = logits(ArcFace(8, 0.4), cosine, target, np.ones(5))
    np.testing.assert_allclose(logits(margin, cosine, target, np.ones(5)), expected)


def test_adaface_learns_of_norms_after_a_step_only():
    margin = AdaFace()
    cosine, target, norms = case()
    logits(margin, cosine, target, norms)
    assert (margin.mean.item(), margin.deviation.item()) == (20, 100)
    bounded = norms.clip(0.001, 100)
    margin.update(torch.tensor(norms))
    assert margin.mean.item() == pytest.approx(0.99 * 20 + 0.01 * bounded.mean())
    assert margin.deviation.item() == pytest.approx(0.99 * 100 + 0.01 * bounded.std(ddof=1))
    before = margin.mean.clone()
    margin.update(torch.ones(1))
    assert margin.mean.equal(before)
    assert set(margin.state_dict()) == {"mean", "deviation"}
    ArcFace().update(torch.ones(3))
