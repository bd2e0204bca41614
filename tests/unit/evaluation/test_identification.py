import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.evaluation.measures.identification import Searches, identification, search, split


def direction(degrees):
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])


# Ann (0) at 0 and 40 degrees, Bob (1) at 90; probes: Ann at 10, Bob at 50, a stranger at 100.
VECTORS = np.stack([direction(a) for a in (0, 40, 90, 10, 50, 100)])
PERSON = np.array([0, 0, 1, 0, 1, 2])
GALLERY, PROBES = np.array([0, 1, 2]), np.array([3, 4, 5])


def test_a_gallery_by_hand():
    mean = search(VECTORS, PERSON, GALLERY, PROBES, "mean")
    # Ann's mean is at 20: the probes are 10, 30 and 80 from it; from Bob's 80, 40 and 10
    assert mean.top == pytest.approx(np.cos(np.radians([10, 30, 10])))
    assert mean.rank.tolist() == [1, 2, 0]  # Bob at 50 is nearer to Ann
    best = search(VECTORS, PERSON, GALLERY, PROBES, "best")
    # the best of Ann is 10, 10 and 60 away
    assert best.top == pytest.approx(np.cos(np.radians([10, 10, 10])))
    assert best.rank.tolist() == [1, 2, 0]


def test_equal_scores_put_the_right_one_last():
    vectors = np.array([[1.0, 0], [1, 0], [1, 0]])
    groups = search(vectors, np.array([0, 1, 0]), np.array([0, 1]), np.array([2]))
    assert groups.rank.tolist() == [2]


def test_rates_by_hand():
    # four known: .9 first, .8 second, .7 first, .3 first; unknown: .75 and .2
    measured = identification(
        Searches(np.array([0.9, 0.8, 0.7, 0.3, 0.75, 0.2]), np.array([1, 2, 1, 1, 0, 0])),
        np.array([0, 1, 2, 3, 4, 5]),
        bootstrap=50,
        fpirs=(0.1, 0.5, 1),
    )
    assert measured.measures["rank_1"] == 3 / 4
    # no unknown may pass: above .75 there is one of four that is first; 0.1 of two is none, though
    assert np.isnan(measured.measures["fnir_at_fpir_0.1"])
    assert "where none is accepted, FNIR is 0.7500" in measured.resolved[0.1]
    # one may: down to .3 three are found (the lowest threshold before .2)
    assert measured.measures["fnir_at_fpir_0.5"] == pytest.approx(1 / 4)
    assert measured.thresholds["fnir_at_fpir_0.5"] == 0.3
    assert measured.cmc[:3].tolist() == [3 / 4, 1, 1]
    low, high = measured.intervals["rank_1"]
    assert low <= 3 / 4 <= high


def test_without_unknown_people():
    measured = identification(Searches(np.array([0.9, 0.8]), np.array([1, 3])), np.array([0, 1]))
    assert measured.curve is None
    assert measured.measures == {"rank_1": 0.5}
    assert measured.cmc[:3].tolist() == [0.5, 0.5, 1]


def test_the_split():
    person = np.repeat([0, 1, 2, 3, 4], [1, 2, 5, 1, 4])
    parts = split(person)
    assert np.bincount(person[parts.gallery]).tolist() == [0, 1, 2, 0, 2]
    assert np.bincount(person[parts.known]).tolist() == [0, 1, 3, 0, 2]
    assert person[parts.unknown].tolist() == [0, 3]
    assert not set(parts.gallery) & set(parts.known)
    again, other = split(person), split(person, seed=1)
    assert parts.gallery.tolist() == again.gallery.tolist() != other.gallery.tolist()
    assert len(split(person, unknown_share=0.5).unknown) == 1
    held = split(person, unknown_share=0, hold_out=1 / 3)
    (stranger,) = set(person[held.unknown])
    assert stranger not in person[held.gallery]
    assert (person[held.unknown] == stranger).sum() == (person == stranger).sum() > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [({"unknown_share": 2}, "unknown is 2"), ({"hold_out": -1}, "hold-out is -1"),
     ({"hold_out": 1}, "Nobody in the gallery")],
)  # fmt: skip
def test_what_cannot_be_split(options, message):
    with pytest.raises(ConfigError, match=message):
        split(np.array([0, 0, 1]), **options)


def test_many_probes_are_searched_in_parts(monkeypatch):
    random = np.random.default_rng(0)
    person = np.repeat(np.arange(20), 4)
    vectors = random.standard_normal((80, 8)) + np.repeat(random.standard_normal((20, 8)), 4, 0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    parts = split(person)
    whole = search(vectors, person, parts.gallery, parts.known, "best")
    monkeypatch.setattr("pipeline.evaluation.measures.identification.PROBES_AT_ONCE", 7)
    pieces = search(vectors, person, parts.gallery, parts.known, "best")
    assert (whole.rank == pieces.rank).all()
    assert whole.top == pytest.approx(pieces.top)
    for row, rank in zip(parts.known, whole.rank, strict=True):
        best = [max(vectors[row] @ vectors[g] for g in parts.gallery if person[g] == p)
                for p in range(20)]  # fmt: skip
        assert rank == sorted(best, reverse=True).index(best[person[row]]) + 1
