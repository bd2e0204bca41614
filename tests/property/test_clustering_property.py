"""Clustering does not depend on how faces are stored or who does the work."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clustering import gather, level, shards, singles
from pipeline.clustering.algorithms import odds
from pipeline.clustering.algorithms.identity import transfer
from pipeline.clustering.algorithms.linkage import Nodes, link
from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.clustering.algorithms.threshold import calibrate
from pipeline.clustering.run import Run
from tests.support import lakes, synthetic


def backwards(function, arguments):
    """Do the units in another order than they are asked for."""
    results = [function(*each) for each in reversed(arguments)]
    yield from reversed(results)


def in_order(function, arguments):
    for each in arguments:
        yield function(*each)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 1000),
    part=st.sampled_from([7, 40, 1000]),
    shard=st.sampled_from([20, 100_000]),
    queries=st.sampled_from([13, 100_000]),
    nodes=st.sampled_from([20, 100_000]),
    mapper=st.sampled_from([in_order, backwards]),
    exact_below=st.sampled_from([0, 10**6]),
)
def test_order_parts_and_workers_do_not_change_the_result(
    seed, part, shard, queries, nodes, mapper, exact_below
):
    random = np.random.default_rng(seed)
    label = random.integers(0, 25, 120)
    vectors = synthetic.Archive(128, seed).faces(label)
    vectors[5:8] = vectors[4]  # ties
    names = [f"f{i}" for i in range(len(label))]
    config = ClusterConfig(exact_below=exact_below, neighbours=8)
    results = []
    for k in range(2):
        with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
            if k:
                patch.setattr(synthetic, "PART", part)
                patch.setattr(gather, "SHARD_FACES", shard)
                patch.setattr(shards, "TASK_QUERIES", queries)
            for room, name in ((odds, "LEAST_OWN"), (odds, "LEAST_STRANGERS"),
                               (singles, "LEAST_PEOPLE")):  # fmt: skip
                patch.setattr(room, name, 2)  # so that faces alone join in a small lake too
            patch.setattr(level, "TASK_NODES", nodes)  # how large a unit may be is a setting
            order = random.permutation(len(label)) if k else np.arange(len(label))
            people = lakes.make(Path(folder), vectors[order], [names[i] for i in order])
            Run(people, config, mapper if k else in_order, "r").cluster()
            results.append(lakes.persons(people))
    assert results[0] == results[1]


@given(st.integers(0, 10_000))
@settings(deadline=None)
def test_linkage_does_not_depend_on_the_order_of_edges(seed):
    random = np.random.default_rng(seed)
    from pipeline.clustering.algorithms.grid import to_grid

    vectors = random.standard_normal((30, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    grid = to_grid(vectors)
    edges = np.stack(np.triu_indices(30, 1), axis=1)
    fixed = calibrate(np.zeros(0), 30, fixed=0.3)
    one = link(Nodes.of_vectors(grid, edges), fixed).labels
    mixed = random.permutation(edges)
    flip = random.random(len(mixed)) < 0.5
    mixed[flip] = mixed[flip][:, ::-1]
    assert np.array_equal(one, link(Nodes.of_vectors(grid, mixed), fixed).labels)


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([None, "a", "b", "c"])), min_size=1))
def test_transferred_ids_are_unique_and_were_there_before(faces):
    groups = np.array([g for g, _ in faces])
    before = [p for _, p in faces]
    ids = transfer(groups, before, np.ones(len(faces)), {})
    assert len(set(ids.values())) == len(ids)
    assert set(ids.values()) <= {p for p in before if p}
    for person in {p for p in before if p}:  # an id is only lost to a group that has another one
        homes = {int(g) for g, p in faces if p == person}
        assert person in ids.values() or homes <= set(ids)
