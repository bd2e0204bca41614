"""Linkage, thresholds, neighbours: the arithmetic of clustering."""

import numpy as np
import pytest

from pipeline.clustering.algorithms.cells import assign, centroids
from pipeline.clustering.algorithms.components import components, spanning_forest, units
from pipeline.clustering.algorithms.grid import UNIT, similarity, to_grid
from pipeline.clustering.algorithms.linkage import FORBIDDEN, Nodes, link
from pipeline.clustering.algorithms.neighbours import Members, search
from pipeline.clustering.algorithms.threshold import (
    FALSE_NEIGHBOURS,
    LEAST_FACES,
    NORMAL,
    Threshold,
    calibrate,
    impostors,
)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def planted(people=6, each=8, spread=0.35, dimension=64, seed=0):
    random = np.random.default_rng(seed)
    centres = unit(random.standard_normal((people, dimension)))
    label = np.repeat(np.arange(people), each)
    noise = unit(random.standard_normal((len(label), dimension)))
    return to_grid(unit(centres[label] + spread * noise)), label


def all_pairs(count):
    return np.stack(np.triu_indices(count, 1), axis=1)


def same_partition(a, b):
    pairs = set(zip(a.tolist(), b.tolist(), strict=True))
    return len(pairs) == len(set(a.tolist())) == len(set(b.tolist()))


FIXED = calibrate(np.zeros(0), 100, fixed=0.5)


def test_grid_products_are_exact_in_float32():
    random = np.random.default_rng(0)
    grid = to_grid(unit(random.standard_normal((50, 512))))
    whole = grid.astype(np.int64) @ grid.astype(np.int64).T
    assert np.array_equal(grid.astype(np.float32) @ grid.astype(np.float32).T, whole)
    assert whole.max() < 2**24
    assert np.allclose(np.diag(whole) / UNIT, 1, atol=1e-2)


def test_search_equals_brute_force_ties_by_rank():
    grid, _ = planted()
    grid = np.concatenate([grid, grid[:5], grid[:5]])  # copies: equal scores
    count = len(grid)
    rank = np.random.default_rng(1).permutation(count)
    rows = np.arange(count)
    got = search(grid, Members(grid, rows, rank), 7, -1.0, rows)
    scores = (grid.astype(np.int64) @ grid.astype(np.int64).T).astype(float)
    np.fill_diagonal(scores, -np.inf)
    for i in range(count):
        best = np.lexsort((rank, -scores[i]))[:7]
        assert got.member[got.query == i].tolist() == best.tolist()


def test_search_blocks_do_not_matter(monkeypatch):
    grid, _ = planted()
    rows = np.arange(len(grid))
    whole = search(grid, Members(grid, rows, rows), 5, 0.1, rows)
    monkeypatch.setattr("pipeline.clustering.algorithms.neighbours.BLOCK_QUERIES", 7)
    monkeypatch.setattr("pipeline.clustering.algorithms.neighbours.BLOCK_MEMBERS", 11)
    pieces = search(grid, Members(grid, rows, rows), 5, 0.1, rows)
    assert np.array_equal(whole.member, pieces.member)
    assert np.array_equal(whole.score, pieces.score)


def test_cells_do_not_depend_on_blocks(monkeypatch):
    grid, _ = planted(20, 10)
    centres = centroids(grid, 12)
    whole = assign(grid, centres, 3)
    monkeypatch.setattr("pipeline.clustering.algorithms.cells.BLOCK", 13)
    assert np.array_equal(whole, assign(grid, centres, 3))
    assert np.array_equal(centres, centroids(grid, 12))


def test_planted_people_are_found():
    grid, label = planted()
    linked = link(Nodes.of_vectors(grid, all_pairs(len(grid))), FIXED)
    assert same_partition(linked.labels, label)


def test_average_linkage_of_two_groups_is_the_mean_cosine():
    # Three unit vectors in a plane: a and b 20 degrees apart, c 50 from a and 70 from b.
    angles = np.radians([0, 20, -50])
    grid = to_grid(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    mean = (np.cos(np.radians(50)) + np.cos(np.radians(70))) / 2
    for threshold, groups in ((mean - 0.01, 1), (mean + 0.01, 2)):
        fixed = calibrate(np.zeros(0), 10, fixed=threshold)
        linked = link(Nodes.of_vectors(grid, all_pairs(3)), fixed)
        assert len(set(linked.labels.tolist())) == groups


def test_a_blurred_face_between_two_people_does_not_join_them():
    random = np.random.default_rng(3)
    a, b = unit(random.standard_normal((2, 128)))
    faces = [unit(c + 0.5 * unit(random.standard_normal((10, 128)))) for c in (a, b)]
    between = unit((a + b)[None])
    grid = to_grid(np.concatenate([*faces, between]))
    label = link(
        Nodes.of_vectors(grid, all_pairs(21)), calibrate(np.zeros(0), 21, fixed=0.45)
    ).labels
    assert len(set(label[:10].tolist())) == len(set(label[10:20].tolist())) == 1
    assert label[0] != label[10]
    edges = np.argwhere(np.triu(grid.astype(float) @ grid.astype(float).T / UNIT > 0.45, 1))
    assert len(set(components(21, *edges.T).tolist())) == 1  # bare components chain


def test_confirmed_people_and_forbidden_pairs_never_merge():
    grid, _ = planted(1, 6)
    person = np.array([0, -1, -1, 1, -1, -1])
    label = link(Nodes.of_vectors(grid, all_pairs(6), person), FIXED).labels
    assert label[0] != label[3]
    nodes = Nodes.of_vectors(grid, all_pairs(6))
    nodes.conflicts, nodes.against = np.array([[1, 4]]), np.array([FORBIDDEN])
    label = link(nodes, FIXED).labels
    assert label[1] != label[4]
    assert len(set(label.tolist())) == 2


def test_a_shared_photo_takes_its_penalty():
    grid = to_grid(np.array([[1.0, 0, 0], [0.55, (1 - 0.55**2) ** 0.5, 0]]))
    nodes = Nodes.of_vectors(grid, all_pairs(2))
    assert len(set(link(nodes, FIXED).labels.tolist())) == 1
    nodes.conflicts, nodes.against = np.array([[0, 1]]), np.ones(1)
    assert len(set(link(nodes, FIXED, penalty=0.1).labels.tolist())) == 2
    assert len(set(link(nodes, FIXED, penalty=0.01).labels.tolist())) == 1


def test_threshold_rises_with_the_number_of_faces_and_falls_with_group_size():
    cosines = np.random.default_rng(0).normal(0.1, 0.09, 200_000)
    steps = [float(calibrate(cosines, n).cosine()) for n in (100, 10_000, 10**6, 10**9)]
    assert steps == sorted(steps)
    assert steps[0] < steps[-1] - 0.1
    t = calibrate(cosines, 10_000)
    assert t.cosine(1, 1) > t.cosine(1, 9) > t.cosine(9, 9) > t.floor
    # N x FMR(t) is what was asked for
    assert t.false_neighbours(float(t.cosine()), 10_000) == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.2])
def test_strangers_are_measured_beside_pairs_of_one_person(share):
    random = np.random.default_rng(0)
    cosines = random.normal(0.1, 0.09, 100_000)
    cosines[: int(share * 100_000)] = random.normal(0.65, 0.1, int(share * 100_000))
    mean, sd = impostors(cosines)
    assert mean == pytest.approx(0.1, abs=0.01)
    assert sd == pytest.approx(0.09, abs=0.01)


def test_a_tiny_lake_uses_the_models_own_figures():
    t = calibrate(np.array([0.5]), 2, prior=(0.1, 0.09))
    assert t.mean == pytest.approx(0.1, abs=1e-3)
    assert t.z == pytest.approx(-NORMAL.inv_cdf(FALSE_NEIGHBOURS / LEAST_FACES))


def test_a_fixed_threshold_does_not_depend_on_sizes():
    assert isinstance(FIXED, Threshold)
    assert FIXED.cosine(1, 100) == FIXED.cosine(1, 1) == 0.5


def test_oversized_components_are_cut_at_higher_thresholds():
    # Two tight triangles, joined by one weak edge.
    first = np.array([0, 1, 0, 3, 4, 3, 2])
    second = np.array([1, 2, 2, 4, 5, 5, 3])
    strength = np.array([6.0, 6, 6, 6, 6, 6, 4])
    assert set(units(6, first, second, strength, 3.0, 10).tolist()) == {0}
    assert units(6, first, second, strength, 3.0, 3).tolist() == [0, 0, 0, 3, 3, 3]
    # Equal vectors cannot be told apart by a threshold: taken apart rather than kept for ever.
    assert len(set(units(6, first, second, np.full(7, 5.0), 3.0, 3).tolist())) == 6


def test_forests_of_shards_keep_the_components_at_every_threshold():
    random = np.random.default_rng(0)
    first, second = random.integers(0, 200, (2, 600))
    keep = first != second
    first, second = first[keep], second[keep]
    strength = random.random(len(first)).round(2)  # with ties
    forest = [np.zeros(0, int), np.zeros(0, int), np.zeros(0)]
    for part in np.array_split(np.arange(len(first)), 4):
        one = spanning_forest(200, first[part], second[part], strength[part])
        forest = spanning_forest(200, *(np.concatenate(x) for x in zip(forest, one, strict=True)))
    assert len(forest[0]) < 200
    for t in np.arange(0.005, 1, 0.1):
        whole = components(200, first[strength >= t], second[strength >= t])
        kept = forest[2] >= t - 1e-9
        assert np.array_equal(whole, components(200, forest[0][kept], forest[1][kept]))


def test_similarity_is_the_row_by_row_product():
    grid, _ = planted()
    assert similarity(grid[:3], grid[:3]) == pytest.approx([1, 1, 1], abs=2e-3)
