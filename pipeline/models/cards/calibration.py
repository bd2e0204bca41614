"""A calibration: from the similarity of two faces to the probability that they are one person.

It belongs to the weights of one embedder and to a prior: the share of pairs of one person among
those that it was made from. Another prior shifts the log odds by the difference (Bayes).
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Floats64
from pipeline.errors import ConfigError
from pipeline.models.cards.spec import Spec, read_toml

LOGISTIC, ISOTONIC = "logistic", "isotonic"
METHODS = (LOGISTIC, ISOTONIC)


@dataclass(frozen=True)
class Calibration:
    """How probability follows from cosine similarity.

    Attributes:
        method: "logistic", log odds = slope * similarity + intercept (Platt 1999), or
            "isotonic", log odds in straight lines between `knots`, level beyond them.
        prior: share of pairs of one person that the probability supposes, between 0 and 1.
        labelled_set: what it was made from.
        pairs: how many pairs those were.
        embedder: name and revision of the weights that it belongs to; "" if not given.
        slope, intercept: for "logistic".
        knots: for "isotonic", pairs of similarity and probability, both rising.
        log_loss, brier, ece: on pairs held out by folds; NaN where nobody said.
    """

    method: str
    prior: float
    labelled_set: str
    pairs: int = 0
    embedder: str = ""
    slope: float = 0.0
    intercept: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()
    log_loss: float = float("nan")
    brier: float = float("nan")
    ece: float = float("nan")

    def probabilities(self, similarities: npt.ArrayLike, prior: float | None = None) -> Floats64:
        """Return the probability of one person for each similarity.

        Args:
            similarities: cosines of any shape.
            prior: share of pairs of one person where it is used; None: that of the calibration.
        """
        x = np.asarray(similarities, dtype=np.float64)
        if self.method == LOGISTIC:
            odds = self.slope * x + self.intercept
        else:
            at, p = np.array(self.knots).T
            odds = np.interp(x, at, log_odds(p))
        if prior is not None:
            odds = odds + log_odds(prior) - log_odds(self.prior)
        return sigmoid(odds)

    def probability(self, similarity: float, prior: float | None = None) -> float:
        """Return the probability of one person for one similarity."""
        return float(self.probabilities(similarity, prior))

    def fields(self) -> dict[str, Any]:
        """Return what a card says of it, unset fields left out."""
        given = asdict(self)
        drop = ("knots",) if self.method == LOGISTIC else ("slope", "intercept")
        return {
            key: value
            for key, value in given.items()
            if key not in drop and value != "" and value == value  # NaN differs from itself
        }


def calibration_of(spec: Spec) -> Calibration | None:
    """Return the table `calibration`; its keys are the fields of `Calibration`."""
    table = spec.take("calibration")
    if table is None:
        return None
    if not isinstance(table, dict):
        raise spec.fail("calibration", "must be a table, [calibration]")
    inner = Spec(spec.origin, table, "calibration")
    method = inner.choice("method", METHODS)
    nan = float("nan")
    fields: dict[str, Any] = {
        "method": method,
        "prior": inner.number("prior", 1e-9, 1 - 1e-9),
        "labelled_set": inner.text("labelled_set"),
        "pairs": inner.integer("pairs", 0, 1 << 40, 0),
        "embedder": inner.text("embedder", ""),
        "log_loss": inner.number("log_loss", 0, 1e3, nan),
        "brier": inner.number("brier", 0, 1, nan),
        "ece": inner.number("ece", 0, 1, nan),
    }
    if method == LOGISTIC:
        # a probability that falls with similarity is no calibration
        fields["slope"] = inner.number("slope", 1e-9, 1e9)
        fields["intercept"] = inner.number("intercept", -1e9, 1e9)
    else:
        fields["knots"] = inner.rising("knots")
    inner.done()
    return Calibration(**fields)


def read_calibration(path: Path) -> Calibration:
    """Read the table [calibration] of a card, or of a file that holds nothing else.

    Raises:
        ConfigError: there is none, or it is not valid; names the file and the key.
    """
    path = path.expanduser()
    calibration = calibration_of(Spec(path, read_toml(path)))
    if calibration is None:
        raise ConfigError(
            f"{path} has no table [calibration]; make one with facelake evaluate calibrate"
        )
    return calibration


def log_odds(p: npt.ArrayLike) -> Floats64:
    """Return log(p / (1 - p))."""
    share = np.asarray(p, dtype=np.float64)
    return np.asarray(np.log(share) - np.log1p(-share))


def sigmoid(odds: npt.ArrayLike) -> Floats64:
    """Return 1 / (1 + exp(-odds)), without overflow."""
    return np.asarray((1 + np.tanh(np.asarray(odds, dtype=np.float64) / 2)) / 2)
