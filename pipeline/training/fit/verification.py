"""How well a network tells people whom it was not trained on, after each epoch."""

import contextlib
from dataclasses import dataclass, replace

import numpy as np

from pipeline.arrays import Floats32, Floats64, Ints
from pipeline.errors import ConfigError, TrainingError
from pipeline.evaluation.measures.calibrate import fit
from pipeline.evaluation.measures.folds import best_threshold
from pipeline.evaluation.measures.verification import Pairs, pair_scores, verification
from pipeline.models.cards.calibration import LOGISTIC
from pipeline.models.cards.card import ModelCard

PAIRS = 10_000  # of each kind, at most
FOLDS = 10
COLLAPSED = 0.95  # mean cosine of two people's faces
HINT = (
    "lower --learning-rate, lengthen --warmup, or raise --images-per-person; see docs/training.md"
)


@dataclass(frozen=True)
class Held:
    """Faces that are kept apart, [N] each.

    Attributes:
        shard, row: where the crop lies.
        person: of each, from 0; -1 where nobody is labelled.
        teacher: vectors [N, T]; None without a teacher.
    """

    shard: Ints
    row: Ints
    person: Ints
    teacher: Floats32 | None = None

    def __len__(self) -> int:
        return len(self.person)


def held_pairs(person: Ints, seed: int) -> Pairs | None:
    """Return pairs of faces, as many of one person as of two, drawn where there are too many.

    None where nobody has two faces, or all are one person's.
    """
    random = np.random.default_rng((seed, 3))
    first, second = np.triu_indices(len(person), 1) if len(person) <= 3000 else _drawn(
        person, random
    )  # fmt: skip
    equal = person[first] == person[second]
    same, other = np.flatnonzero(equal), np.flatnonzero(~equal)
    count = min(PAIRS, len(same), len(other))
    if count < FOLDS:
        return None
    chosen = np.concatenate([random.permutation(same)[:count], random.permutation(other)[:count]])
    first, second = first[chosen], second[chosen]
    fold = np.tile(np.arange(count) % FOLDS, 2)
    return Pairs(first, second, equal[chosen], fold, person[first], person[second])


def _drawn(person: Ints, random: np.random.Generator) -> tuple[Ints, Ints]:
    """Return neighbours in the order of people, who are one person's, and pairs at random."""
    order = np.lexsort((random.random(len(person)), person))
    first, second = order[:-1], order[1:]
    more = random.integers(0, len(person), (2, 4 * PAIRS))
    more = more[:, more[0] != more[1]]
    return np.concatenate([first, more[0]]), np.concatenate([second, more[1]])


def measured(vectors: Floats64, held: Held, pairs: Pairs | None) -> dict[str, float]:
    """Return figures of an epoch; `score` is what the best epoch has most of.

    Args:
        vectors: unit vectors of the held faces, [N, D].
        held: the faces.
        pairs: of them.

    Raises:
        TrainingError: the vectors are not finite, or all alike.
    """
    if not np.isfinite(vectors).all():
        raise TrainingError(
            f"The network gives vectors that are not finite; the training is stopped: {HINT}"
        )
    figures: dict[str, float] = {}
    if held.teacher is not None and held.teacher.shape[1] == vectors.shape[1]:
        figures["teacher_cosine"] = float((vectors * held.teacher).sum(axis=1).mean())
    if held.teacher is not None:
        figures["teacher_correlation"] = _agreement(vectors, held.teacher.astype(np.float64))
    if pairs is not None:
        scores = pair_scores(vectors, pairs)
        result = verification(scores, pairs, bootstrap=0)
        figures["likeness_of_strangers"] = float(scores[0][~pairs.same].mean())
        figures |= {"accuracy": result.measures["accuracy"], "auc": result.measures["auc"]}
    figures["score"] = figures.get("auc", figures.get("teacher_correlation", 0.0))
    return figures


def judged(card: ModelCard, vectors: Floats64, person: Ints, seed: int, revision: str) -> ModelCard:
    """Return a card with what likenesses mean, as faces of people who are kept apart tell.

    Args:
        card: of the network.
        vectors: unit vectors of their faces, [N, D].
        person: of each, [N].
        seed: of the pairs that are drawn.
        revision: of the network's weights.
    """
    pairs = held_pairs(person, seed)
    if pairs is None:
        return card
    scores = pair_scores(vectors, pairs)[0]
    others = scores[~pairs.same]
    figures = {"verify": best_threshold(scores, pairs.same), "impostor_mean": others.mean(),
               "impostor_sd": others.std()}  # fmt: skip
    calibration = None
    with contextlib.suppress(ConfigError):  # likeness does not rise with sameness
        calibration = replace(
            fit(LOGISTIC, scores, pairs.same), labelled_set="people kept apart in training",
            embedder=revision,
        )  # fmt: skip
    return replace(card, thresholds={k: float(v) for k, v in figures.items()},
                   calibration=calibration)  # fmt: skip


def check_collapse(figures: dict[str, float]) -> None:
    """Stop a training whose vectors are all alike.

    Raises:
        TrainingError: they are.
    """
    alike = figures.get("likeness_of_strangers", 0.0)
    if alike > COLLAPSED:
        raise TrainingError(
            f"All people look alike to the network: the mean cosine of two is {alike:.3f}; the "
            f"training is stopped: {HINT}"
        )


def _agreement(vectors: Floats64, teacher: Floats64) -> float:
    """Return the correlation of the cosines of pairs of faces, by the network and the teacher."""
    count = len(vectors) // 2
    own = (vectors[:count] * vectors[count : 2 * count]).sum(axis=1)
    theirs = (teacher[:count] * teacher[count : 2 * count]).sum(axis=1)
    return float(np.corrcoef(own, theirs)[0, 1]) if count > 1 else 0.0
