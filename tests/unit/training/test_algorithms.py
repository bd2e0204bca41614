"""Splits, heads, the open set and measures, on arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.training.algorithms import measures
from pipeline.training.algorithms.heads import KINDS, Evidence, check_arrays, fit
from pipeline.training.algorithms.openset import balanced, fit_acceptance, threshold_at
from pipeline.training.algorithms.split import LEAST_TRAIN, folds, images_of, test_images
from tests.support.lakes import archive

sklearn_metrics = pytest.importorskip("sklearn.metrics")
test_images.__test__ = False

# Faces: the person and the image of each; people may be on images together.
FACES = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 25)), min_size=1, max_size=120, unique=True
)


def numbered(faces):
    person, image = np.array(faces, np.int64).T
    return np.unique(person, return_inverse=True)[1], image


@settings(max_examples=60, deadline=None)
@given(FACES, st.floats(0.05, 0.5), st.integers(0, 5))
def test_no_image_is_on_both_sides_and_everybody_is_learnt_from(faces, share, seed):
    person, image = numbered(faces)
    test = test_images(person, image, share, seed)
    assert not set(image[test]) & set(image[~test])
    before = images_of(person, image)
    left = np.zeros(len(before), int)
    counted = images_of(person[~test], image[~test])
    left[: len(counted)] = counted
    assert (left >= np.minimum(before, LEAST_TRAIN)).all()
    assert (before - left <= np.maximum(1, np.rint(share * before))).all()
    np.testing.assert_array_equal(test, test_images(person, image, share, seed))
    fold = folds(person, image, 3, seed)
    assert all(len(set(fold[image == one])) == 1 for one in np.unique(image))


def test_everybody_who_is_alone_on_three_images_is_tested():
    person, image = np.repeat(np.arange(4), 3), np.arange(12)
    assert np.bincount(person[test_images(person, image, 0.01, 0)]).tolist() == [1] * 4
    fold = folds(person, image, 3, 0)
    assert all(sorted(fold[person == one]) == [0, 1, 2] for one in range(4))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("people", [1, 2, 5])
def test_a_head_names_people_whom_it_learnt(kind, people):
    vectors, person = archive(people, 8)
    train = np.arange(len(person)) % 8 < 5
    head = fit(kind, vectors[train].astype(float), person[train] * 3)
    evidence = head.evidence(vectors[~train])
    np.testing.assert_array_equal(evidence.person, person[~train] * 3)
    assert (evidence.margin >= 0).all()
    assert (np.abs(evidence.similarity) <= 1 + 1e-9).all()
    check_arrays(kind, head.arrays(), vectors.shape[1])
    with pytest.raises(ValueError, match="shape"):
        check_arrays(kind, head.arrays(), vectors.shape[1] + 1)


@pytest.mark.parametrize("people", [2, 4])
@pytest.mark.parametrize("kind", ["logistic", "svm"])
def test_plain_arrays_say_what_scikit_learn_says(kind, people):
    linear = pytest.importorskip("sklearn.linear_model")
    svm = pytest.importorskip("sklearn.svm")
    vectors, person = archive(people, 8)
    vectors = vectors.astype(float)
    head = fit(kind, vectors, person, cost=2.0)
    common = {"C": 2.0, "class_weight": "balanced", "max_iter": 10_000}
    own = linear.LogisticRegression(**common) if kind == "logistic" else svm.LinearSVC(
        dual=False, **common)  # fmt: skip
    own.fit(vectors, person)
    other = np.random.default_rng(1).standard_normal((50, 128))
    evidence = head.evidence(other)
    np.testing.assert_array_equal(evidence.person, own.predict(other))
    scores = own.decision_function(other)
    if people == 2:
        expected = np.abs(scores) * (2 if kind == "svm" else 1)
    else:
        expected = np.diff(np.sort(scores, axis=1)[:, -2:], axis=1)[:, 0]
    np.testing.assert_allclose(evidence.margin, expected, atol=1e-9)


def test_neighbours_are_the_nearest_faces_of_each_person():
    vectors, person = archive(4, 6)
    head = fit("knn", vectors.astype(float), person, neighbours=3)
    query = vectors[:5].astype(float) + 0.1
    scores = np.stack(
        [np.sort(query @ vectors[person == k].astype(float).T, axis=1)[:, -3:].mean(axis=1)
         for k in range(4)], axis=1)  # fmt: skip
    evidence = head.evidence(query)
    np.testing.assert_allclose(evidence.similarity, scores.max(axis=1))
    falling = np.sort(scores, axis=1)[:, ::-1]
    np.testing.assert_allclose(evidence.margin, falling[:, 0] - falling[:, 1])


def test_a_head_says_the_same_of_many_faces_at_once_and_of_few(monkeypatch):
    vectors, person = archive(5, 6)
    head = fit("knn", vectors.astype(float), person)
    whole = head.evidence(vectors)
    monkeypatch.setattr("pipeline.training.algorithms.heads.AT_ONCE", 90)
    parts = head.evidence(vectors)
    np.testing.assert_array_equal(whole.person, parts.person)
    np.testing.assert_allclose(whole.margin, parts.margin, atol=1e-12)
    assert len(head.evidence(np.zeros((0, 128))).person) == 0


# --- the open set


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=300),
    st.floats(0.001, 0.5),
)
def test_no_more_strangers_than_allowed_reach_the_threshold(faces, share):
    p, stranger = np.array([f[0] for f in faces]), np.array([f[1] for f in faces])
    threshold = threshold_at(p, stranger, share)
    if not stranger.any():
        assert threshold == 0
        return
    assert (p >= threshold)[stranger].mean() <= share
    missed = p[stranger & (p < threshold)]
    assert len(missed)  # and no lower one would do
    assert (p >= missed.max())[stranger].mean() > share


def drawn(seed=0, each=400):
    """Known people, named rightly, and strangers whose evidence is lower."""
    random = np.random.default_rng(seed)
    stranger = np.repeat([False, True], each)
    similarity = random.normal(np.where(stranger, 0.2, 0.5), 0.1)
    margin = random.normal(np.where(stranger, 0.5, 2.0), 0.5)
    evidence = Evidence(np.zeros(2 * each, np.int64), margin, similarity)
    return evidence, ~stranger, stranger


def test_probabilities_come_true():
    acceptance = fit_acceptance(*drawn(), 0.01)
    assert acceptance.margin > 0
    assert acceptance.similarity > 0
    evidence, right, stranger = drawn(seed=1)
    p = acceptance.probability(evidence)
    for low, high in ((0, 0.2), (0.2, 0.8), (0.8, 1)):
        inside = (p >= low) & (p <= high)
        assert p[inside].mean() == pytest.approx(right[inside].mean(), abs=0.1)
    measured = measures.open_set(p, right, stranger, acceptance.threshold, 0.01)
    assert measured["false_alarms"] < 0.03
    assert measured["detected"] > 0.6
    assert measured["probabilities"]["ece"] < 0.05


def test_many_strangers_do_not_change_what_a_probability_means():
    evidence, right, stranger = drawn()
    once = fit_acceptance(evidence, right, stranger, 0.01)
    rows = np.concatenate([np.arange(800), *[np.arange(400, 800)] * 4])
    often = fit_acceptance(
        Evidence(*(getattr(evidence, name)[rows] for name in ("person", "margin", "similarity"))),
        right[rows], stranger[rows], 0.01,
    )  # fmt: skip
    np.testing.assert_allclose(once.probability(evidence), often.probability(evidence), atol=0.02)
    weights = balanced(stranger[rows])
    assert weights[stranger[rows]].sum() == pytest.approx(weights[~stranger[rows]].sum())


def test_evidence_that_says_nothing_is_refused():
    evidence, right, stranger = drawn()
    turned = Evidence(evidence.person, -evidence.margin, -evidence.similarity)
    with pytest.raises(ConfigError, match="cannot tell people from strangers"):
        fit_acceptance(turned, right, stranger, 0.01)
    with pytest.raises(ConfigError, match="cannot tell people from strangers"):
        fit_acceptance(evidence, np.zeros(len(right), bool), stranger, 0.01)


# --- measures


def test_rates_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    true = random.integers(0, 6, 300)
    named = np.where(random.random(300) < 0.7, true, random.integers(0, 6, 300))
    summary, people = measures.closed_set(true, named, np.arange(300) // 2, 6, 50)
    precision, recall, f1, _ = sklearn_metrics.precision_recall_fscore_support(true, named)
    for name, expected in (("precision", precision), ("recall", recall), ("f1", f1)):
        np.testing.assert_allclose([row[name] for row in people], expected)
        assert summary[f"macro_{name}"] == pytest.approx(expected.mean())
        low, high = summary["intervals"][f"macro_{name}"]
        assert low < summary[f"macro_{name}"] < high
    assert summary["accuracy"] == pytest.approx((true == named).mean())
    assert all(row["f1_low"] <= row["f1"] <= row["f1_high"] for row in people)


def test_people_without_a_test_image_and_those_never_named_have_no_false_rates():
    summary, people = measures.closed_set(
        np.array([0, 0, 1]), np.array([0, 0, 0]), np.arange(3), 3, 0
    )
    assert [row["recall"] for row in people] == [1.0, 0.0, None]
    assert people[1]["precision"] == 0.0
    assert people[1]["precision_low"] is None
    assert summary["people"] == 2
    assert summary["macro_recall"] == 0.5


@given(st.integers(1, 2000), st.floats(0, 1))
def test_wilson_holds_the_share(trials, share):
    successes = round(share * trials)
    low, high = measures.wilson(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    assert high - low > 0


def test_wilson_gives_published_values():
    # Newcombe, Statistics in Medicine 17, 1998, table I: 81 of 263, and 0 of 20
    assert measures.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert measures.wilson(0, 20) == pytest.approx((0, 0.1611), abs=1e-4)
    assert measures.wilson(0, 0) is None
