import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve

from pipeline.evaluation.measures.detection import (
    Matches,
    Picture,
    detection,
    match,
    precision_sweep,
)


def picture(faces, truth, ignored=()):
    boxes = np.array([box for box, _ in faces], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score in faces], np.float32)
    flags = np.zeros(len(truth), bool)
    flags[list(ignored)] = True
    return Picture(boxes, scores, np.array(truth, np.float32).reshape(-1, 4), flags)


A, B, C = (0, 0, 20, 20), (100, 0, 200, 100), (300, 0, 700, 400)
ELSEWHERE = (900, 900, 950, 950)


def test_boxes_by_hand():
    pictures = [
        # A is found at .9 and again at .8, which is false; B is found at .6; .7 is nowhere
        picture([(A, 0.9), ((1, 0, 20, 20), 0.8), (B, 0.6), (ELSEWHERE, 0.7)], [A, B]),
        # the only box is ignored: a face on it counts neither way
        picture([(A, 0.95)], [A], ignored=[0]),
        picture([], [C]),  # missed
        picture([], []),
    ]
    matches = match(pictures)
    measured = detection(matches, len(pictures), bootstrap=50)
    # from the top: .9 hit, .8 false, .7 false, .6 hit; three boxes
    assert measured.curve.precision == pytest.approx([1, 1 / 2, 1 / 3, 2 / 4])
    assert measured.curve.recall == pytest.approx([1 / 3, 1 / 3, 1 / 3, 2 / 3])
    # the first third at precision 1, the second at 1/2
    assert measured.measures["average_precision"] == pytest.approx(1 / 3 * 1 + 1 / 3 * 1 / 2)
    assert measured.measures["precision"] == pytest.approx(2 / 4)
    assert measured.measures["recall"] == pytest.approx(2 / 3)
    assert [band[2:] for band in measured.bands] == [(1, 1), (1, 1), (1, 0)]  # 20, 100, 400 px
    assert [band[:2] for band in measured.bands] == [(10, 50), (50, 300), (300, float("inf"))]
    for name, (low, high) in measured.intervals.items():
        assert low <= measured.measures[name] <= high


def test_the_least_overlap():
    half = (0, 0, 20, 10)  # half of A, which it lies in
    assert match([picture([(half, 1)], [A])], 0.5).hit.tolist() == [True]
    assert match([picture([(half, 1)], [A])], 0.51).hit.tolist() == [False]


def test_a_face_goes_to_the_box_it_overlaps_most():
    near = (2, 0, 22, 20)  # overlaps A by 18 of 22
    matches = match([picture([(near, 0.9), (A, 0.5)], [A, near], ignored=[1])])
    assert matches.hit.tolist() == [True]
    assert matches.found.tolist() == [True]


def test_no_faces_at_all():
    measured = detection(match([picture([], [A])]), 1, bootstrap=5)
    assert measured.measures == {"average_precision": 0, "precision": 1, "recall": 0}


def test_precision_and_recall_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    for _ in range(10):
        score = random.integers(0, 30, 200) / 30.0  # with ties
        hit = random.random(200) < score
        hits = int(hit.sum())
        matches = Matches(
            score, hit, np.zeros(200, int), np.ones(hits, bool), np.ones(hits), np.zeros(hits, int)
        )
        curve = precision_sweep(matches)(None)
        precision, recall, _ = precision_recall_curve(hit, score)
        assert curve.precision[::-1] == pytest.approx(precision[:-1])
        assert curve.recall[::-1] == pytest.approx(recall[:-1])
        # without the monotone envelope it is their average precision, with it never less
        stepwise = float(np.sum(np.diff(curve.recall, prepend=0) * curve.precision))
        assert stepwise == pytest.approx(average_precision_score(hit, score))
        assert curve.average() >= stepwise - 1e-12
