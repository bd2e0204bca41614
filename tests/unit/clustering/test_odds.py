"""Faces alone: the odds that they belong to somebody."""

from dataclasses import fields

import numpy as np
import pytest

from pipeline.clustering.algorithms.grid import to_grid
from pipeline.clustering.algorithms.linkage import NOBODY
from pipeline.clustering.algorithms.odds import Odds, choose, measure
from pipeline.clustering.algorithms.threshold import Threshold
from pipeline.clustering.gather import Faces, GatheredFaces
from pipeline.clustering.singles import Assignment, join_singles, measure_odds
from pipeline.lake.checkpoints import Workspace
from pipeline.storage.folder import Folder

LAKE = Odds(own_mean=6.0, own_sd=1.0, strangers_mean=0.0, strangers_sd=1.0)


def test_odds_rise_with_pictures_and_fall_with_faces_alone():
    z = np.array([[3.0]])
    once = LAKE.of(z, np.array([[10.0]]), 100)
    assert LAKE.of(z, np.array([[20.0]]), 100) == pytest.approx(2 * once)
    assert LAKE.of(z, np.array([[10.0]]), 1000) == pytest.approx(once / 10)
    # Half way between equal densities, only the numbers decide.
    assert once == pytest.approx(0.1)


def test_more_similar_is_never_less_likely():
    lake = Odds(own_mean=6.0, own_sd=2.0, strangers_mean=0.0, strangers_sd=1.0)
    z = np.linspace(-30, 30, 601)
    odds = lake.of(z, np.full(len(z), 5.0), 50)
    assert (np.diff(odds) >= 0).all()
    assert odds[0] == 0
    assert lake.of(np.array([-np.inf]), np.array([0.0]), 50) == 0


def test_what_was_planted_is_measured():
    random = np.random.default_rng(0)
    own = random.normal(6, 1.2, 5000)
    strangers = np.concatenate([random.normal(-0.3, 0.9, 50_000), random.normal(5, 1, 200)])
    lake = measure(own, strangers)
    measured = [lake.own_mean, lake.own_sd, lake.strangers_mean, lake.strangers_sd]
    assert measured == pytest.approx([6, 1.2, -0.3, 0.9], abs=0.1)


def test_too_little_says_nothing():
    many = np.random.default_rng(0).normal(0, 1, 5000)
    assert measure(many[:50] + 6, many) is None
    assert measure(many + 6, many[:500]) is None
    assert measure(many - 6, many) is None  # nobody resembles his own person more than others


def test_a_card_stands_in_where_a_lake_is_small():
    random = np.random.default_rng(0)
    own, strangers = random.normal(6, 1, 5000), random.normal(0, 0.9, 200_000)
    nothing = measure(own[:0], strangers[:0], (5.0, 1.5))
    assert (nothing.own_mean, nothing.own_sd, nothing.strangers_sd) == (5.0, 1.5, 1.0)
    few = measure(own[:100], strangers[:2000], (5.0, 1.5))
    assert few.own_mean == pytest.approx(5.5, abs=0.15)
    many = measure(own, strangers, (5.0, 1.5))
    assert [many.own_mean, many.own_sd] == pytest.approx([6, 1], abs=0.1)


def test_a_face_between_two_people_joins_neither():
    chosen = choose(np.array([[5.0, 4.5], [5.0, 0.1], [0.9, 0.0], [0.0, 3.0]]))
    assert chosen.tolist() == [NOBODY, 0, NOBODY, 1]
    assert choose(np.zeros((2, 0))).tolist() == [NOBODY, NOBODY]


PEOPLE, EACH = 30, 4


def hard_picture(folder, strangers=5):
    """Return what `join_singles` needs: the last face resembles person 0 a little."""
    axes = np.eye(PEOPLE + strangers + 2)
    label = np.repeat(np.arange(PEOPLE), EACH)
    hard = 0.35 * axes[0] + (1 - 0.35**2) ** 0.5 * axes[-1]
    vectors = to_grid(np.concatenate([axes[label], axes[PEOPLE : PEOPLE + strangers], hard[None]]))
    workspace = Workspace(Folder(str(folder)))
    workspace.save_large("gather-00000-vectors", vectors)
    count = len(vectors)
    columns = {field.name: np.zeros(count) for field in fields(GatheredFaces)}
    faces = Faces(
        **columns, photo=np.zeros(count), starts=np.array([0, count]), workspace=workspace
    )
    person = np.concatenate([label, PEOPLE + np.arange(strangers + 1)])
    means = to_grid(np.concatenate([axes[: PEOPLE + strangers], hard[None]]))
    people = Assignment(faces, np.arange(count), person, np.bincount(person) * 1.0, means)
    near = np.full((count, 3), NOBODY)
    near[-1] = 0, 0, 1
    return people, near


def joined(people, near, fixed=(), apart=()):
    pairs = np.array(apart, np.int64).reshape(-1, 2)
    threshold = Threshold(mean=0.0, sd=0.1, z=4.0)
    return join_singles(people, near.__getitem__, threshold, LAKE, np.array(fixed, np.int64), pairs)


def test_a_hard_picture_joins_somebody_with_many(tmp_path):
    people, near = hard_picture(tmp_path)
    person = joined(people, near)
    assert person[-1] == 0
    assert (person[:-1] == people.person[:-1]).all()


def test_among_more_strangers_it_stays_alone(tmp_path):
    people, near = hard_picture(tmp_path, strangers=3000)
    assert (joined(people, near) == people.person).all()


def test_what_somebody_said_and_a_photo_of_both_keep_it_alone(tmp_path):
    people, near = hard_picture(tmp_path)
    last = len(people.person) - 1
    for more in ({"fixed": [last]}, {"apart": [[last, 2]]}, {"apart": [[2, last]]}):
        assert (joined(people, near, **more) == people.person).all()
    assert joined(people, near, apart=[[last, EACH]])[-1] == 0  # that is somebody else


def test_a_threshold_that_was_asked_for_is_all_there_is(tmp_path):
    people, _ = hard_picture(tmp_path)
    threshold = Threshold(mean=0.0, sd=0.1, z=4.0, fixed=0.4)
    assert measure_odds(people, threshold) is None
