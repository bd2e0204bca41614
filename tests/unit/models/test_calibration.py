import tomllib
from dataclasses import replace

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as their_log_loss

from pipeline.errors import ConfigError
from pipeline.evaluation.measures.calibrate import (
    brier,
    calibrate,
    expected_error,
    fit,
    isotonic,
    log_loss,
    logistic,
    reliability,
)
from pipeline.models.cards.calibration import Calibration, log_odds, read_calibration, sigmoid
from pipeline.models.cards.card import find_card
from pipeline.models.cards.text import calibration_text, with_calibration

LINE = Calibration("logistic", 0.5, "a set", 9, "m@1", slope=10, intercept=-3)
STEPS = Calibration("isotonic", 0.5, "a set", knots=((0.1, 0.1), (0.3, 0.5), (0.5, 0.9)))


def drawn(size=20_000, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(0.3, 0.3, size)
    return x, random.random(size) < sigmoid(12 * x - 4)


def test_probabilities_by_hand():
    # log odds 10 x .3 - 3 = 0; 10 x .5 - 3 = 2
    assert LINE.probability(0.3) == pytest.approx(0.5)
    assert LINE.probability(0.5) == pytest.approx(1 / (1 + np.exp(-2)))
    # a prior of 1 in 10 divides the odds by 9: even odds become 1 to 9
    assert LINE.probability(0.3, prior=0.1) == pytest.approx(0.1)
    assert STEPS.probability(0.3) == pytest.approx(0.5)
    # halfway in log odds between even and 9 to 1: 3 to 1
    assert STEPS.probability(0.4) == pytest.approx(0.75)
    assert STEPS.probabilities([-1, 1]) == pytest.approx([0.1, 0.9])
    assert sigmoid(log_odds([0.2])) == pytest.approx([0.2])
    assert (sigmoid([-1e4, 1e4]) == [0, 1]).all()


def test_a_known_logistic_is_recovered():
    slope, intercept = logistic(*drawn())
    assert slope == pytest.approx(12, rel=0.05)
    assert intercept == pytest.approx(-4, rel=0.05)
    x, same = drawn()
    made = calibrate(x, same, np.arange(len(x)) % 5)
    assert made.calibration.method == "logistic"
    assert made.calibration.prior == pytest.approx(same.mean())
    assert made.calibration.ece < 0.02


def test_kinds_that_separate_keep_a_finite_slope():
    x = np.array([0.1, 0.2, 0.8, 0.9])
    slope, _ = logistic(x, x > 0.5)
    assert 1 < slope < 100


def test_what_is_no_logistic_is_isotonic():
    x = np.random.default_rng(0).uniform(0, 1, 20_000)
    p = np.where(x < 0.5, 0.1, np.where(x < 0.9, 0.5, 0.98))
    same = np.random.default_rng(1).random(len(x)) < p
    made = calibrate(x, same, np.arange(len(x)) % 5).calibration
    assert made.method == "isotonic"
    assert made.probability(0.3) == pytest.approx(0.1, abs=0.03)
    assert made.probability(0.7) == pytest.approx(0.5, abs=0.06)
    assert made.probability(0.99) == pytest.approx(0.98, abs=0.02)
    assert calibrate(x, same, np.arange(len(x)) % 5, "logistic").calibration.method == "logistic"


def test_pools_are_those_of_scikit_learn():
    x, same = drawn(500)
    x = np.round(x, 1)  # with ties
    theirs = IsotonicRegression(y_min=1 / 502, y_max=1 - 1 / 502).fit(x, same).predict(x)
    for at, p in isotonic(x, same):
        # a knot is the centre of a pool: some of its pairs lie to either side
        below, above = theirs[x <= at + 1e-9].max(), theirs[x >= at - 1e-9].min()
        assert min(abs(below - p), abs(above - p)) < 1e-9


@pytest.mark.parametrize("method", ["logistic", "isotonic"])
def test_more_similar_is_more_probable(method):
    made = fit(method, *drawn(300))
    p = made.probabilities(np.linspace(-1, 1, 200))
    assert (np.diff(p) >= 0).all()
    assert p.min() > 0
    assert p.max() < 1


def test_measures_by_hand_and_by_scikit_learn():
    p, same = np.array([0.9, 0.6, 0.2]), np.array([True, False, False])
    # squares of .1, .6 and .2: (.01 + .36 + .04) / 3
    assert brier(p, same) == pytest.approx(0.41 / 3)
    assert log_loss(p, same) == pytest.approx(-np.log([0.9, 0.4, 0.8]).mean())
    # three bins of one pair each: |.9 - 1|, |.6 - 0|, |.2 - 0|
    assert expected_error(p, same) == pytest.approx((0.1 + 0.6 + 0.2) / 3)
    assert [row["pairs"] for row in reliability(p, same)] == [1, 1, 1]
    x, same = drawn(500)
    p = sigmoid(5 * x)
    assert brier(p, same) == pytest.approx(brier_score_loss(same, p))
    assert log_loss(p, same) == pytest.approx(their_log_loss(same, p))
    assert log_loss(np.array([0.0]), np.array([True])) < 40
    assert expected_error(np.ones(3), np.ones(3, bool)) == 0


@pytest.mark.parametrize("method", ["logistic", "isotonic"])
def test_pairs_that_calibrate_nothing(method):
    x = np.linspace(0, 1, 10)
    with pytest.raises(ConfigError, match="not more similar"):
        fit(method, x, x < 0.5)
    with pytest.raises(ConfigError, match="both kinds"):
        fit(method, x, x >= 0)


# --- in cards


def test_sface_is_calibrated():
    made = find_card("sface").calibration
    assert made.embedder.startswith("sface@")
    assert "LFW" in made.labelled_set
    assert made.probability(0.1) < 0.01
    assert made.probability(0.6) > 0.99
    assert made.probability(0.333) == pytest.approx(0.65, abs=0.15)
    assert find_card("facenet-vggface2").calibration is None


@pytest.mark.parametrize("made", [LINE, STEPS, replace(LINE, log_loss=0.1, brier=0.2, ece=0.0)])
def test_what_is_written_is_read(tmp_path, made):
    path = tmp_path / "mine.toml"
    path.write_text(with_calibration("", made))
    again = read_calibration(path)
    assert again.fields() == made.fields()


def test_the_rest_of_a_card_stays():
    card = '# mine\nname = "x"\n[thresholds]\nverify = 0.3\n'
    once = with_calibration(card, LINE)
    assert once.startswith(card)
    assert with_calibration(once, STEPS) == with_calibration(card, STEPS)
    before = calibration_text(LINE) + "\n[[files]]\nname = 'y'\n"
    assert tomllib.loads(with_calibration(before, STEPS))["files"] == [{"name": "y"}]
    with pytest.raises(ConfigError, match="cannot take"):
        with_calibration("= 1", LINE)
    with pytest.raises(ConfigError, match="cannot"):
        with_calibration("calibration = { prior = 1 }", LINE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1", "no table"),
        ("calibration = 1", "must be a table"),
        ("[calibration]\nmethod = 'magic'", "`calibration.method` is 'magic'"),
        ("[calibration]\nmethod = 'logistic'", "`calibration.prior` is missing"),
        ("[calibration]\nmethod = 'logistic'\nprior = 1.5", "`calibration.prior` is 1.5"),
        ("[calibration]\nmethod = 'logistic'\nprior = 0.5", "labelled_set` is missing"),
        ("[calibration]\nmethod = 'logistic'\nprior = 0.5\nlabelled_set = 'x'\nslope = -1",
         "slope` is -1"),
        ("[calibration]\nmethod = 'logistic'\nprior = 0.5\nlabelled_set = 'x'\nslope = 1",
         "intercept` is missing"),
        ("[calibration]\nmethod = 'isotonic'\nprior = 0.5\nlabelled_set = 'x'", "list of two"),
        *(("[calibration]\nmethod = 'isotonic'\nprior = 0.5\nlabelled_set = 'x'\n"
           f"knots = {knots}", "list of two")
          for knots in ("[[0, 0.1]]", "[[0, 0.2], [1, 0.1]]", "[[0, 0.1], [0, 0.2]]",
                        "[[0, 0.0], [1, 0.5]]", "[[0, 0.5], [1, 1.0]]", "[[0], [1]]", "7")),
        ("[calibration]\nmethod = 'logistic'\nprior = 0.5\nlabelled_set = 'x'\nslope = 1\n"
         "intercept = 0\nspeed = 3", "`calibration.speed` is not a key"),
    ],
)  # fmt: skip
def test_calibrations_that_are_refused(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_calibration(path)
