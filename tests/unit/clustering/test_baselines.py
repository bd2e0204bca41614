import importlib

import numpy as np
import pytest

from benchmarks import clustering_baselines as baselines
from benchmarks.clustering_baselines import ALGORITHMS
from pipeline.errors import ConfigError
from pipeline.evaluation.measures.clustering import evaluate

SPREAD = 0.05


def planted(sizes, dimension=32, seed=0, spread=SPREAD):
    """Unit vectors around centres that are at right angles; labels in random order."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    vectors = np.eye(dimension)[labels] + random.normal(0, spread, (len(labels), dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), labels


@pytest.mark.parametrize("name", ALGORITHMS)
def test_planted_people_are_found(name):
    vectors, labels = planted((9, 7, 5, 4, 3))
    algorithm = ALGORITHMS[name](vectors, 0.6)
    assert algorithm.dtype == np.int64
    assert evaluate(labels, algorithm, bootstrap=0)["pairwise_f"] == 1
    assert list(dict.fromkeys(algorithm.tolist())) == list(range(5))


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("size", [0, 1])
def test_nobody_and_one(name, size):
    vectors, _ = planted((size,))
    assert ALGORITHMS[name](vectors, 0.6).tolist() == [0] * size


@pytest.mark.parametrize("name", sorted(ALGORITHMS.keys() - {"hdbscan"}))
def test_strangers_stay_alone(name):
    vectors, _ = planted((1,) * 12)
    assert sorted(ALGORITHMS[name](vectors, 0.6)) == list(range(12))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_same_faces_give_the_same_labels(name):
    vectors, _ = planted((9, 7, 5, 1, 1), spread=0.15)
    assert np.array_equal(ALGORITHMS[name](vectors, 0.5), ALGORITHMS[name](vectors, 0.5))


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.3])
@pytest.mark.parametrize("name", ["connected_components", "chinese_whispers", "agglomerative"])
def test_low_thresholds_put_more_together(name, threshold):
    vectors, _ = planted((5, 5), spread=0.2)
    few = len(set(ALGORITHMS[name](vectors, threshold)))
    assert few <= len(set(ALGORITHMS[name](vectors, 0.9)))
    if threshold == -1 and name != "chinese_whispers":  # it tells weak links from strong
        assert few == 1


def test_a_chain_holds_components_together_but_not_averages():
    angles = np.deg2rad(np.arange(0, 160, 20))
    chain = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    threshold = np.cos(np.deg2rad(21))
    assert len(set(baselines.connected_components(chain, threshold))) == 1
    assert len(set(baselines.agglomerative(chain, threshold))) > 1


def test_agglomerative_in_components_is_agglomerative():
    hierarchy = importlib.import_module("scipy.cluster.hierarchy")
    vectors, _ = planted((8, 8, 8, 1, 1), spread=0.25, dimension=8)
    tree = hierarchy.linkage(vectors.astype(np.float64), "average", "cosine")
    for threshold in (0.2, 0.4, 0.6, 0.8):
        whole = hierarchy.fcluster(tree, 1 - threshold, "distance")
        labels = baselines.agglomerative(vectors, threshold)
        assert evaluate(whole, labels, bootstrap=0)["pairwise_f"] == 1


def test_dbscan_leaves_pairs_alone():
    vectors, labels = planted((5, 2))
    found = baselines.dbscan(vectors, 0.6)
    assert len(set(found[labels == 0])) == 1
    assert len(set(found[labels == 1])) == 2


def test_an_installation_without_scikit_learn(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(baselines, "import_module", missing)
    vectors, _ = planted((3,))
    for work in ALGORITHMS.values():
        with pytest.raises(ConfigError, match=r"pip install 'facelake\[compare\]'"):
            work(vectors, 0.6)
