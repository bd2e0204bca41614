"""Small lakes: strangers stay apart, people in two halves are asked about, and how sure one is."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.clustering.algorithms.threshold import LEAST_FACES, Threshold, calibrate
from pipeline.clustering.confidence import of_alone, of_several
from pipeline.clustering.groups_level import threshold_of_groups
from pipeline.clustering.modes import two_halves
from pipeline.clustering.run import Run
from pipeline.lake.checkpoints import in_process
from pipeline.lake.store import LakeStore
from pipeline.people.store import People
from tests.support import lakes
from tests.support.synthetic import Archive, write_lake

COSINES = np.random.default_rng(0).normal(0.1, 0.088, 50_000)


def cluster(people):
    return Run(people, ClusterConfig(full=True), in_process, "run").cluster()


def family(folder, more, seed=5):
    """Write a lake of six people and `more`, whose faces are the last."""
    vectors, _ = lakes.archive(6, 8, seed=seed)
    names = [f"f{i}" for i in range(len(vectors) + len(more))]
    people = lakes.make(folder, np.concatenate([vectors, more]), names)
    return people, [lakes.face_id(name) for name in names[len(vectors) :]]


@pytest.mark.parametrize("across", [0.2, 0.3, 0.36, 0.4])
def test_two_people_who_look_alike_are_apart_or_asked_about(tmp_path, across):
    people, faces = family(tmp_path, lakes.two_people(10, 0.61, across))
    cluster(people)
    rows = {row["face_id"]: row for row in people.clusters().to_pylist()}
    of_half = [{rows[face]["person_id"] for face in side} for side in (faces[:10], faces[10:])]
    if of_half[0] != of_half[1]:
        assert not of_half[0] & of_half[1]
        assert across < 0.4
        return
    (person,) = of_half[0]
    asked = [row for row in people.suggestions().to_pylist() if row["person_a"] == person]
    assert [row["kind"] for row in asked] == ["merged"]
    halves = [faces.index(asked[0][side]) // 10 for side in ("face_a", "face_b")]
    assert sorted(halves) == [0, 1]
    assert max(rows[face]["confidence"] for face in faces) < 0.95


def test_one_person_is_not_asked_about(tmp_path):
    people, faces = family(tmp_path, lakes.two_people(10, 0.61, 0.55))
    cluster(people)
    rows = {row["face_id"]: row for row in people.clusters().to_pylist()}
    assert len({rows[face]["person_id"] for face in faces}) == 1
    assert not people.suggestions().num_rows
    assert min(rows[face]["confidence"] for face in faces) > 0.98


def test_new_photos_of_somebody_are_not_taken_for_all_of_them(tmp_path):
    more = lakes.two_people(10, 0.61, 0.38)
    vectors, _ = lakes.archive(6, 30, seed=5)
    every = np.concatenate([vectors, more])
    names = [f"f{i}" for i in range(len(every))]
    first = np.setdiff1d(np.arange(len(every)), [180, 181, 190, 191])
    people = lakes.make(tmp_path, every[first], [names[i] for i in first])
    cluster(people)
    asked = people.suggestions().to_pylist()
    rest = np.array([180, 181, 190, 191])
    lakes.make(tmp_path, every[rest], [names[i] for i in rest])
    about = Run(people, ClusterConfig(), in_process, "more").cluster()
    assert about["incremental"]
    kinds = [row["kind"] for row in people.suggestions().to_pylist()]
    assert kinds.count("merged") == sum(row["kind"] == "merged" for row in asked)


def test_halves_are_found_beside_a_face_that_is_like_nobody():
    vectors = np.concatenate([lakes.two_people(5, 0.7, 0.35), np.eye(128, dtype=np.float32)[:1]])
    side = two_halves((vectors @ vectors.T).astype(np.float64))
    assert side[-1] == -1 or side.min() >= 0
    assert len(set(side[:5])) == len(set(side[5:10])) == 1
    assert side[0] != side[5]
    assert two_halves(np.eye(3)) is None


def test_a_lake_of_strangers_stays_a_lake_of_strangers(tmp_path):
    vectors, _ = lakes.archive(100, 1, seed=4)
    people = lakes.make(tmp_path, vectors)
    assert cluster(people)["people"] == 100
    assert min(people.clusters()["confidence"].to_pylist()) > 0.9


def test_small_lakes_need_what_larger_ones_need_and_those_what_they_did():
    small, large = calibrate(COSINES, 80), calibrate(COSINES, 1_000_000)
    assert small == calibrate(COSINES, LEAST_FACES)
    assert large.false_neighbours(float(large.cosine()), 1_000_000) == pytest.approx(0.05)
    groups = threshold_of_groups(large, 900_000)
    assert groups.z == pytest.approx(large.z, abs=0.05)
    # What was too little for two faces still is; a face that suits a person needs less.
    few = threshold_of_groups(small, 14)
    assert few.cosine() == pytest.approx(float(small.cosine()))
    assert few.cosine(9, 9) == pytest.approx(float(small.cosine(9, 9)))
    assert few.cosine(1, 9) < small.cosine(1, 9)
    assert few.standardise(few.cosine(5, 7), 5, 7) == pytest.approx(few.z)
    fixed = replace(small, fixed=0.5)
    assert threshold_of_groups(fixed, 14) is fixed


def test_no_two_groups_merge_below_the_floor_of_the_search():
    threshold = Threshold(0.1, 0.09, 3.0, extra=1.5)
    sizes = np.array([1, 2, 10, 1e6])
    assert threshold.floor <= threshold.cosine(sizes[:, None], sizes).min() + 1e-6


def test_more_similar_is_never_less_sure():
    gap = np.linspace(-3, 9, 100)
    few, many = np.full(10, 8.0), np.full(3000, 2.0)
    for sizes in (few, many):
        sure = of_several(gap, sizes)
        assert (np.diff(sure) >= 0).all()
        assert 0 < sure[0] < sure[-1] < 1
        alone = of_alone(gap, np.zeros(100, bool), np.concatenate([sizes, np.ones(9)]))
        assert (np.diff(alone) >= 0).all()
    assert (of_several(gap, few) >= of_several(gap, many)).all()  # many look alike by chance


def test_where_pictures_are_hard_a_face_alone_is_probably_one_of_them():
    sizes = np.concatenate([np.full(50, 20.0), np.ones(20)])
    good, hard = (np.arange(1000) < count for count in (0, 100))
    at = np.array([2.0])
    assert of_alone(at, hard, sizes) < 0.5 < 0.9 < of_alone(at, good, np.ones(20))
    assert of_alone(at, hard, sizes) < of_alone(at, good, sizes)
    assert of_alone(at, np.zeros(0, bool), np.ones(1)) > 0.95


def test_faces_that_link_nobody_keep_their_rows(tmp_path):
    archive = Archive(128)
    vectors = archive.faces(np.repeat(np.arange(4), 3))
    write_lake(tmp_path, vectors, [f"{i}.jpg" for i in range(12)], scores=np.full(12, 0.8))
    people = People(LakeStore(str(tmp_path)))
    tables = []
    for run_id in ("one", "two"):
        Run(people, ClusterConfig(), in_process, run_id).cluster()
        tables.append(people.clusters(["face_id", "person_id", "tier"]).to_pylist())
    assert tables[0] == tables[1]
    assert {(one["person_id"], one["tier"]) for one in tables[1]} == {(None, "attach")}
    assert len(tables[1]) == 12
