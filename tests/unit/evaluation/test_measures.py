import math

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score
from sklearn.metrics.cluster import pair_confusion_matrix

from pipeline.errors import ConfigError
from pipeline.evaluation.measures.clustering import RATES, Contingency, evaluate

# Ann has five photos and Bob three. Cluster x holds a a a b, y holds a b b, and one a is alone.
LABELS = list("aaaaabbb")
CLUSTERS = ["x", "x", "x", "y", None, "x", "y", "y"]


def test_every_measure_by_hand():
    result = evaluate(LABELS, CLUSTERS, bootstrap=0)
    # Pairs: 10 of Ann's and 3 of Bob's are true; 6 of x and 3 of y are clustered; 3 + 1 are both.
    assert result["pairwise_precision"] == pytest.approx(4 / 9)
    assert result["pairwise_recall"] == pytest.approx(4 / 13)
    assert result["pairwise_f"] == pytest.approx(2 * 4 / (9 + 13))
    # Each a in x: 3/4 of the cluster, 3/5 of Ann; and so on, averaged over the eight faces.
    precision = (3 * 3 / 4 + 1 / 3 + 1 + 1 / 4 + 2 * 2 / 3) / 8
    recall = (3 * 3 / 5 + 1 / 5 + 1 / 5 + 1 / 3 + 2 * 2 / 3) / 8
    assert result["bcubed_precision"] == pytest.approx(precision)
    assert result["bcubed_recall"] == pytest.approx(recall)
    assert result["bcubed_f"] == pytest.approx(2 * precision * recall / (precision + recall))
    mutual = sum(
        n / 8 * math.log(n * 8 / (mine * theirs))
        for n, mine, theirs in ((3, 5, 4), (1, 5, 3), (1, 5, 1), (1, 3, 4), (2, 3, 3))
    )
    entropies = [-sum(n / 8 * math.log(n / 8) for n in sizes) for sizes in ((5, 3), (4, 3, 1))]
    assert result["nmi"] == pytest.approx(mutual / (sum(entropies) / 2))
    assert result["purity"] == pytest.approx((3 + 2 + 1) / 8)
    counts = ("faces", "identities", "clusters", "unclustered")
    assert [result[name] for name in counts] == [8, 2, 3, 1]
    assert "intervals" not in result
    assert "groups" not in result


def test_scikit_learn_agrees():
    random = np.random.default_rng(3)
    for size in (1, 2, 50, 400):
        labels, clusters = random.integers(0, 12, size), random.integers(0, 20, size)
        result = evaluate(labels, clusters, bootstrap=0)
        assert result["nmi"] == pytest.approx(normalized_mutual_info_score(labels, clusters))
        (_, wrong), (missed, right) = pair_confusion_matrix(labels, clusters)
        assert result["pairwise_precision"] == pytest.approx(
            right / (right + wrong) if right + wrong else 1
        )
        assert result["pairwise_recall"] == pytest.approx(
            right / (right + missed) if right + missed else 1
        )


def test_the_best_and_the_worst():
    perfect = evaluate(list("aabbc"), [5, 5, 1, 1, 2], bootstrap=20)
    assert [perfect[name] for name in (*RATES, "nmi", "purity")] == pytest.approx([1] * 8)
    assert all(bounds == (1, 1) for bounds in perfect["intervals"].values())
    alone = evaluate(list("aabb"), [None] * 4, bootstrap=0)
    assert (alone["pairwise_precision"], alone["pairwise_recall"]) == (1, 0)
    assert (alone["bcubed_precision"], alone["bcubed_recall"]) == (1, 0.5)
    assert (alone["clusters"], alone["unclustered"]) == (4, 4)
    together = evaluate(list("abcd"), [1] * 4, bootstrap=0)
    assert (together["pairwise_precision"], together["pairwise_recall"]) == (0, 1)
    assert (together["purity"], together["nmi"]) == (0.25, 0)


def test_labels_of_any_type():
    assert evaluate([1, 1, 2], list("xxy"), bootstrap=0)["bcubed_f"] == 1
    assert Contingency.of([2, 10, 2], [1, 1, 2]).names == ["10", "2"]
    # A cluster's name is nobody's: a face alone is in none of the others.
    assert evaluate(list("aa"), [None, "None"], bootstrap=0)["clusters"] == 2


@pytest.mark.parametrize(("labels", "clusters"), [([], []), ([1], []), ([1], [1, 2])])
def test_what_cannot_be_compared(labels, clusters):
    with pytest.raises(ConfigError, match="one label a face"):
        evaluate(labels, clusters)


def test_intervals_hold_the_estimate_and_narrow_with_more_people():
    random = np.random.default_rng(0)

    def width(people):
        labels = np.repeat(np.arange(people), 5)
        clusters = np.where(random.random(len(labels)) < 0.8, labels, labels + 1)
        result = evaluate(labels, clusters, bootstrap=200)
        for name in RATES:
            low, high = result["intervals"][name]
            assert low <= result[name] <= high
            assert high - low > 0
        low, high = result["intervals"]["bcubed_f"]
        return high - low

    assert width(400) < width(25)


def test_intervals_are_the_same_each_time():
    table = Contingency.of([*LABELS, *"ccddeeff"], [*CLUSTERS, *"xxyyzzxy"])
    assert table.intervals(50) == table.intervals(50)
    assert table.intervals(50) != table.intervals(50, seed=1)


def test_groups():
    labels = list("aabbcc")
    groups = ["n", "n", "s", "s", "n", "s"]  # c has a photo in each: the later name wins the tie
    by_group = evaluate(labels, [1, 1, 2, 3, 4, 4], groups, bootstrap=0)["groups"]
    assert list(by_group) == ["n", "s"]
    assert (by_group["n"]["identities"], by_group["s"]["identities"]) == (1, 2)
    assert by_group["n"]["pairwise_recall"] == 1
    assert by_group["s"]["pairwise_recall"] == 0.5
    whole = Contingency.of(labels, [1, 1, 2, 3, 4, 4])
    assert whole.rates(np.ones(3)) == whole.rates()
