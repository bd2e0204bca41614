import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from pipeline.errors import ConfigError
from pipeline.evaluation.measures.bootstrap import intervals, pair_weights
from pipeline.evaluation.measures.curves import Sweep, curve_of, resolution
from pipeline.evaluation.measures.folds import Folds, assign_folds, best_threshold, k_fold
from pipeline.evaluation.measures.verification import (
    Pairs,
    by_group,
    pair_scores,
    threshold_table,
    verification,
)

# Six pairs, by hand: three of one person, three of two.
SCORES = np.array([0.9, 0.5, 0.8, 0.3, 0.4, 0.1])
SAME = np.array([True, False, True, False, True, False])
FOLD = np.array([0, 0, 1, 1, 2, 2])


def pairs_of(same, fold=FOLD):
    number = np.arange(len(same))
    return Pairs(number, number, same, fold, number, np.where(same, number, number[::-1]))


def test_six_pairs_on_paper():
    curve = curve_of(SCORES, SAME)
    # from the top:   .9 S, .8 S, .5 D, .4 S, .3 D, .1 D
    assert curve.thresholds.tolist() == [np.inf, 0.9, 0.8, 0.5, 0.4, 0.3, 0.1]
    assert curve.tar * 3 == pytest.approx([0, 1, 2, 2, 3, 3, 3])
    assert curve.far * 3 == pytest.approx([0, 0, 0, 1, 1, 2, 3])
    # .9 and .8 beat all three of two people, .4 beats .3 and .1: 3 + 3 + 2 of 9
    assert curve.auc() == pytest.approx(8 / 9)
    # at .5 FAR is 1/3, and FRR 1 - 2/3
    assert curve.eer() == pytest.approx((1 / 3, 0.5))
    # FAR 0.1 allows none of three: .8 is the lowest, it accepts 2 of 3; FAR 0.34 allows one: .4
    assert curve.tar_at_far(0.1) == pytest.approx((2 / 3, 0.8))
    assert curve.tar_at_far(1 / 3) == pytest.approx((1, 0.4))
    assert curve.at(0.45) == pytest.approx((1 / 3, 2 / 3))
    assert curve.at(2) == (0, 0)


def test_accuracy_by_folds_on_paper():
    # without fold 0: .8 S .4 S .3 D .1 D, best between .4 and .3: .35; .9 right, .5 wrong
    # without fold 1: .9 S .5 D .4 S .1 D, one or three accepted are equally good (3 of 4 right),
    #   the middle of two is the second: (.4 + .1) / 2; .8 right, .3 wrong
    # without fold 2: .9 S .8 S .5 D .3 D: (.8 + .5) / 2; .4 wrong, .1 right
    folds = k_fold(SCORES, SAME, FOLD)
    assert folds.thresholds == pytest.approx([0.35, 0.25, 0.65])
    assert folds.accuracies.tolist() == [0.5, 0.5, 0.5]
    assert (folds.accuracy, folds.error) == (0.5, 0)
    # deviation of 1 and 1/2 is sqrt(2 (1/4)^2 / 1) = sqrt(1/8), of the mean of two sqrt(1/16)
    assert Folds(np.array([1, 0.5]), np.zeros(2)).error == pytest.approx(0.25)


def test_the_table_of_thresholds_on_paper():
    rows = threshold_table(SCORES, SAME, {"mine": 0.45}, step=0.5)
    assert [row["threshold"] for row in rows] == pytest.approx([0, 0.45, 0.5, 1])
    # at .45: .9 S, .8 S, .5 D are accepted; right are two S, and .3 D and .1 D
    assert rows[1] == pytest.approx(
        {"threshold": 0.45, "far": 1 / 3, "frr": 1 / 3, "accuracy": 4 / 6, "name": "mine"}
    )
    assert (rows[0]["far"], rows[0]["frr"], rows[0]["accuracy"]) == (1, 0, 0.5)
    assert (rows[3]["far"], rows[3]["frr"], rows[3]["accuracy"]) == (0, 1, 0.5)


def test_a_pair_without_a_face_is_wrong_and_never_accepted():
    scores = np.append(SCORES, [np.nan, np.nan])
    same = np.append(SAME, [True, False])
    curve = curve_of(scores, same)
    # .9 S .8 S .5 D .4 S .3 D .1 D, then one of each kind without a score
    assert curve.at(-1) == pytest.approx((3 / 4, 3 / 4))
    # of 16: 4 + 4 for .9 and .8, 3 for .4, 1/2 where both have no score
    assert curve.auc() == pytest.approx(11.5 / 16)
    rows = threshold_table(scores, same, {"all": -1.0}, step=1)
    assert rows[0]["accuracy"] == pytest.approx(3 / 8)
    folds = k_fold(scores, same, np.append(FOLD, [0, 1]))
    assert folds.accuracies == pytest.approx([1 / 3, 1 / 3, 1 / 2])
    # nothing has a score: any threshold will do
    assert best_threshold(np.full(2, np.nan), np.array([True, False])) == 0


@pytest.mark.parametrize("step", [1, 20])
def test_rates_are_those_of_scikit_learn(step):
    random = np.random.default_rng(step)
    for _ in range(20):
        scores = random.integers(0, 10 * step, 200) / step  # with ties
        same = random.random(200) < 0.4
        curve = curve_of(scores, same)
        far, tar, thresholds = roc_curve(same, scores, drop_intermediate=False)
        assert curve.far == pytest.approx(far)
        assert curve.tar == pytest.approx(tar)
        assert curve.thresholds[1:] == pytest.approx(thresholds[1:])
        assert curve.auc() == pytest.approx(roc_auc_score(same, scores))
        lean = curve.lean()
        assert lean.auc() == pytest.approx(curve.auc())
        assert len(curve.lean(5).far) <= 6
        weights = random.integers(0, 3, 200).astype(float)
        drawn = Sweep(scores, same).curve(weights)
        assert drawn.auc() == pytest.approx(roc_auc_score(same, scores, sample_weight=weights))


def test_what_a_number_of_impostors_can_tell():
    assert "cannot be resolved: 1,500 impostor trials, it takes 10,000" in resolution(1e-4, 1500)
    assert resolution(1e-3, 3000) == "rests on 3 of 3,000 impostor trials"
    assert resolution(1e-2, 3000) is None
    measured = verification(SCORES[None], pairs_of(SAME), bootstrap=0, fars=(0.5, 0.1))
    assert measured.measures["tar_at_far_5e-01"] == 1
    assert np.isnan(measured.measures["tar_at_far_1e-01"])
    assert "where none is accepted, TAR is 0.6667" in measured.resolved[0.1]


def test_people_are_drawn_not_pairs():
    # the first person was drawn twice, the second not at all, the third once
    weights = pair_weights(
        np.array([2.0, 0, 1]), np.array([0, 0, 0, 2]), np.array([0, 1, 2, 2]),
        np.array([True, False, False, True]),
    )  # fmt: skip
    assert weights.tolist() == [2, 0, 2, 1]
    # a mean of 400 people with deviation 1: the interval is 2 x 1.96 / 20 wide
    values = np.random.default_rng(0).standard_normal(400)
    low, high = intervals(lambda w: {"mean": float(w @ values / w.sum())}, 400, 2000)["mean"]
    assert high - low == pytest.approx(3.92 / 20, rel=0.1)
    assert intervals(lambda w: {"never": float("nan")}, 3, 5) == {}


def test_intervals_hold_the_measures():
    random = np.random.default_rng(1)
    same = random.random(300) < 0.5
    scores = random.normal(same, 1)
    pairs = Pairs(
        np.arange(300), np.arange(300), same, np.arange(300) % 3,
        random.integers(0, 60, 300), random.integers(0, 60, 300),
    )  # fmt: skip
    measured = verification(scores[None], pairs, bootstrap=100)
    assert measured.intervals.keys() == {"accuracy", "auc", "eer", "tar_at_far_1e-01",
                                      "tar_at_far_1e-02"}  # fmt: skip
    for name, (low, high) in measured.intervals.items():
        assert low <= measured.measures[name] <= high


def test_metrics_and_mean():
    vectors = np.array([[1.0, 0], [0, 1], [0.6, 0.8]])
    pairs = Pairs(
        np.array([0, 0, -1]), np.array([1, 2, 2]), np.array([False, True, True]),
        np.array([0, 1, 1]), np.array([0, 0, 0]), np.array([1, 0, 0]),
    )  # fmt: skip
    assert pair_scores(vectors, pairs)[0, :2] == pytest.approx([0, 0.6])
    assert np.isnan(pair_scores(vectors, pairs)[0, 2])
    # |a - b| of unit vectors: sqrt 2, and sqrt(2 - 1.2)
    assert pair_scores(vectors, pairs, "euclidean")[0, :2] == pytest.approx(
        [-(2**0.5), -(0.8**0.5)]
    )
    moved = pair_scores(vectors, pairs, subtract_mean=True)
    assert moved.shape == (2, 3)
    # fold 1 is left out: the mean is that of fold 0, (.5, .5); a and b are then opposite
    assert moved[1, 0] == pytest.approx(-1)
    # (.5, -.5) and (.1, .3): (.05 - .15) / (sqrt .5 sqrt .1)
    assert moved[1, 1] == pytest.approx(-0.1 / (0.5 * 0.1) ** 0.5)


def test_groups_at_one_threshold():
    groups = ["n", "n", "n", None, "s", "n"]
    rates = by_group(SCORES, SAME, groups, 0.45)
    # n: .9 S, .5 D, .8 S, .1 D: one of two D accepted, both S
    assert rates["n"] == pytest.approx(
        {"pairs": 4, "same": 2, "accuracy": 3 / 4, "far": 0.5, "frr": 0, "auc": 1, "eer": 0}
    )
    assert (rates["s"]["far"], rates["s"]["frr"], rates["s"]["auc"]) == (None, 1, None)


def test_folds_are_drawn_with_both_kinds():
    same = np.arange(50) < 20
    fold = assign_folds(same, 10)
    assert np.bincount(fold[same]).tolist() == [2] * 10
    assert np.bincount(fold[~same]).tolist() == [3] * 10
    assert (fold == assign_folds(same, 10)).all()


def test_what_cannot_be_measured():
    with pytest.raises(ConfigError, match="rates need both kinds"):
        curve_of(SCORES, np.ones(6, bool))
    with pytest.raises(ConfigError, match="needs two or more"):
        k_fold(SCORES, SAME, np.zeros(6, int))
    assert Sweep(SCORES, SAME).curve(SAME.astype(float)) is None
