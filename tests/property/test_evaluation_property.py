import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.evaluation.measures.curves import curve_of
from pipeline.evaluation.measures.detection import Picture, detection, match
from pipeline.evaluation.measures.folds import k_fold
from pipeline.evaluation.measures.verification import Pairs, pair_scores


def trials():
    """Scores of few values, so that many are equal, of both kinds."""
    some = st.lists(st.integers(-5, 5), min_size=1, max_size=20)
    return st.tuples(some, some).map(
        lambda both: (
            np.array(both[0] + both[1]) / 5,
            np.repeat([True, False], [len(both[0]), len(both[1])]),
        )
    )


@given(trials())
def test_a_rising_map_of_the_scores_changes_no_rate(both):
    scores, same = both
    curve, other = curve_of(scores, same), curve_of(np.exp(3 * scores) - 7, same)
    assert curve.far.tolist() == other.far.tolist()
    assert curve.tar.tolist() == other.tar.tolist()
    assert curve.auc() == other.auc()
    assert curve.eer()[0] == other.eer()[0]


@given(trials())
def test_rates_are_shares_and_rise(both):
    curve = curve_of(*both)
    assert 0 <= curve.auc() <= 1
    assert 0 <= curve.eer()[0] <= 1
    tars = [curve.tar_at_far(far)[0] for far in np.linspace(0, 1, 21)]
    assert (np.diff(tars) >= 0).all()
    assert tars[-1] == 1
    turned = curve_of(-both[0], both[1])
    assert np.isclose(curve.auc() + turned.auc(), 1)


@given(trials(), st.randoms())
def test_the_order_of_pairs_changes_nothing(both, random):
    scores, same = both
    order = np.array(random.sample(range(len(same)), len(same)))
    curve, other = curve_of(scores, same), curve_of(scores[order], same[order])
    assert curve.auc() == other.auc()
    fold = np.arange(len(same)) % 2
    assert (
        k_fold(scores, same, fold).accuracy
        == k_fold(scores[order], same[order], fold[order]).accuracy
    )


@given(st.integers(0, 1000), st.booleans(), st.sampled_from(["cosine", "euclidean"]))
def test_swapping_the_sides_of_pairs_changes_nothing(seed, mean, metric):
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((12, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    a, b = random.integers(-1, 12, (2, 10))
    same, fold = random.random(10) < 0.5, np.arange(10) % 2
    one = pair_scores(vectors, Pairs(a, b, same, fold, a, b), metric, mean)
    other = pair_scores(vectors, Pairs(b, a, same, fold, b, a), metric, mean)
    assert np.allclose(one, other, atol=1e-6, equal_nan=True)


@given(st.integers(0, 1000))
def test_detection_rates_are_shares(seed):
    random = np.random.default_rng(seed)

    def boxes(count):
        corner = random.uniform(0, 50, (count, 2))
        return np.hstack([corner, corner + random.uniform(5, 50, (count, 2))]).astype(np.float32)

    pictures = [
        Picture(boxes(n), random.random(n).astype(np.float32), boxes(m), random.random(m) < 0.2)
        for n, m in random.integers(0, 6, (4, 2))
    ]
    matches = match(pictures, 0.3)
    assume(len(matches.found))
    measured = detection(matches, 4, bootstrap=3)
    assert all(0 <= value <= 1 for value in measured.measures.values())
    assert measured.measures["average_precision"] <= measured.measures["recall"] + 1e-12
    assert matches.hit.sum() == matches.found.sum()
