"""Learns people from labelled faces: split, fit, set the threshold, measure, write."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.arrays import Bools, Ints
from pipeline.errors import ConfigError
from pipeline.evaluation.report import plain
from pipeline.lake.manifest import version_of, versions
from pipeline.lake.store import LakeStore, Models
from pipeline.storage.folder import Folder, visible
from pipeline.training.algorithms import measures
from pipeline.training.algorithms.heads import Evidence, Head, fit
from pipeline.training.algorithms.openset import Acceptance, fit_acceptance
from pipeline.training.algorithms.split import folds, images_of, test_images
from pipeline.training.labels import LeftOut
from pipeline.training.model import PAGE, check_target, head_files, save_model
from pipeline.training.samples import Samples, read_samples
from pipeline.training.settings import TrainConfig

FOLDS = 3  # of images, in validation
PEOPLE_FOLDS = 4  # at most, in which people play strangers
TRAIN, TEST = "train", "test"
STRANGER, STRANGER_TEST = "stranger, validation", "stranger, test"
SPARE = "too few images"
MODEL_PACKAGES = ("scikit-learn", "scipy")


@dataclass(frozen=True)
class Trained:
    """What became of a training.

    Attributes:
        folder: address of the model.
        card: what its `model.json` holds, measures included.
        people: a row for each person: label, images, faces, rates and their intervals.
        left_out: what was not learnt from, and why.
        notes: what people should read.
    """

    folder: str
    card: Mapping[str, Any]
    people: list[dict[str, Any]]
    left_out: list[LeftOut]
    notes: list[str]

    @property
    def page(self) -> str:
        """Address of the page that shows all this."""
        return f"{self.folder}/{PAGE}"


# Makes the page of a model, HTML, of what is known of it and its tables.
Page = Callable[[Trained, Mapping[str, pa.Table]], str]


@dataclass(frozen=True)
class Extra:
    """What a training has beside people and head.

    Attributes:
        files: by name; the model's card lists them.
        tables: by name.
        card: entries of the card.
        notes: for people.
        page: makes the page; None: there is none.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    page: Page | None = None


@dataclass(frozen=True)
class Parts:
    """Which faces serve for what, bool [N] each.

    Attributes:
        train, test: of people who are learnt.
        stranger, stranger_test: of people who are not; the first ones set the threshold.
        spare: of people with too few images, where others are the strangers.
    """

    train: Bools
    test: Bools
    stranger: Bools
    stranger_test: Bools
    spare: Bools

    def names(self) -> list[str]:
        """Return the name of the part of each face."""
        parts = np.select(
            [self.train, self.test, self.stranger, self.stranger_test],
            [TRAIN, TEST, STRANGER, STRANGER_TEST],
            SPARE,
        )
        return list(map(str, parts))


@dataclass(frozen=True)
class Division:
    """Labelled faces, divided.

    Attributes:
        samples: those who are learnt are numbered first.
        parts: what they serve for.
        learnt: how many people are learnt.
    """

    samples: Samples
    parts: Parts
    learnt: int


def train_head(lake: LakeStore, labels: str | None, config: TrainConfig) -> Division:
    """Return the labelled faces of a lake, divided, for a head on the lake's own vectors.

    Raises:
        ConfigError: fewer than two people have enough images, or labels match nothing.
    """
    return divide(read_samples(lake, labels, config.face), config)


def finish(
    division: Division,
    models: Models,
    folder: Folder,
    config: TrainConfig,
    run_id: str,
    extra: Extra | None = None,
) -> Trained:
    """Learn people from vectors, measure, and write the model.

    Args:
        division: the faces, with their vectors.
        models: whose vectors they are.
        folder: of the model.
        config: how.
        run_id: of this training.
        extra: what else goes into the model's folder: the network, where one was trained.
    """
    samples, parts, learnt = division.samples, division.parts, division.learnt
    extra = extra or Extra()
    head = _fit(samples.some(parts.train), config)
    acceptance, validation = _validate(samples, parts, head, config)
    tested = samples.some(parts.test | parts.stranger_test)
    result = _measured(tested, head, acceptance, config)
    card = _card(division, models) | {
        "head": config.head,
        "classes": learnt,
        "config": asdict(config),
        "acceptance": asdict(acceptance),
        "validation": validation,
        "measures": plain(result.summary),
        **extra.card,
    }
    people = _people(samples, parts, learnt, result.people)
    tables = _tables(samples, parts, people, result) | dict(extra.tables)
    notes = [*extra.notes, *_notes(samples, validation, result, config)]
    trained = Trained(folder.url, card, people, samples.left_out, notes)
    files = head_files(run_id, head) | dict(extra.files)
    if extra.page is not None:
        files[PAGE] = extra.page(trained, tables).encode(errors="replace")
    return replace(trained, card=save_model(folder, run_id, files, tables, card))


def finish_network(
    division: Division, models: Models, folder: Folder, run_id: str, extra: Extra
) -> Trained:
    """Write a network that was trained without labels: it embeds, but knows nobody.

    Args:
        division: the faces.
        models: the detector, and the network.
        folder: of the model.
        run_id: of this training.
        extra: the network.
    """
    card = _card(division, models) | {"kind": "network", **extra.card}
    tables = {"left_out": _left_out(division.samples), **extra.tables}
    card = save_model(folder, run_id, extra.files, tables, card)
    return Trained(folder.url, card, [], division.samples.left_out, [*extra.notes])


def _card(division: Division, models: Models) -> dict[str, Any]:
    names = division.parts.names()
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "detector": models.detector,
        "embedder": models.embedder,
        "dimension": models.dimension,
        "labels": division.samples.source,
        "data_sha256": division.samples.digest(),
        "parts": {name: names.count(name) for name in dict.fromkeys(names)},
        "versions": versions() | {name: version_of(name) for name in MODEL_PACKAGES},
    }


def divide(samples: Samples, config: TrainConfig, held: Bools | None = None) -> Division:
    """Divide faces by person and image.

    Args:
        samples: all of them.
        config: how.
        held: people who are kept apart to be strangers, bool [P]; without, the strangers are those
            who have too few images. Half of them set the threshold, half test.

    Raises:
        ConfigError: fewer than two people have enough images.
    """
    images = images_of(samples.person, samples.image)
    apart = np.zeros(len(images), bool) if held is None else held
    enough = (images >= config.min_images) & ~apart
    learnt = int(enough.sum())
    if learnt < 2:
        raise ConfigError(_too_few(samples, images * ~apart, learnt, config.min_images))
    order = np.argsort(~enough, kind="stable")
    rank = np.argsort(order)
    faces = np.bincount(samples.person)
    few = ~enough & ~apart
    what = "a stranger" if held is None else "not learnt"
    out = [
        LeftOut(samples.people[k].label, f"fewer than {config.min_images} images: {what}",
                int(faces[k])) for k in np.flatnonzero(few)
    ]  # fmt: skip
    samples = replace(
        samples, person=rank[samples.person], people=[samples.people[k] for k in order],
        left_out=[*samples.left_out, *out],
    )  # fmt: skip
    known = samples.person < learnt
    test = np.zeros(len(known), bool)
    test[known] = test_images(samples.person[known], samples.image[known], config.test_share,
                              config.seed)  # fmt: skip
    strangers = np.flatnonzero((few if held is None else apart)[order])
    others = np.random.default_rng(config.seed).permutation(strangers)
    tested = np.isin(samples.person, others[(len(others) + 1) // 2 :])
    setting = np.isin(samples.person, others[: (len(others) + 1) // 2])
    parts = Parts(known & ~test, test, setting, tested, ~known & ~setting & ~tested)
    return Division(samples, parts, learnt)


def _too_few(samples: Samples, images: Ints, learnt: int, least: int) -> str:
    best = int(images.argmax())
    return (
        f"{'Nobody has' if not learnt else 'Only one person has'} {least} images or more, of "
        f"{len(images):,} labelled people; the most, {int(images[best])}, are of "
        f"{visible(samples.people[best].label)}. At least two people are needed to tell one from "
        "the other: label more photos, or lower --min-images (3 at least)"
    )


def check_place(lake: LakeStore, folder: Folder) -> None:
    """Refuse a folder for a model that lies in the lake, or holds something else.

    Raises:
        ConfigError: it does.
    """
    if f"{folder.url}/".startswith(f"{lake.folder.url}/"):
        raise ConfigError(
            f"{folder.url} lies in the lake, where tables are; a model is kept apart from it: "
            "choose another --output"
        )
    check_target(folder)


def _fit(samples: Samples, config: TrainConfig) -> Head:
    return fit(
        config.head, samples.vectors, samples.person, cost=config.cost, neighbours=config.neighbours
    )


def _validate(
    samples: Samples, parts: Parts, head: Head, config: TrainConfig
) -> tuple[Acceptance, dict[str, Any]]:
    """Return when to accept, by faces of the training part that a head did not see.

    Faces of known people are told by heads that were learnt without their image. Strangers are
    those of the labels; where they are too few for the threshold, known people play strangers too,
    each told by a head that was learnt without that person.
    """
    known = samples.some(parts.train)
    fold = folds(known.person, known.image, FOLDS, config.seed)
    evidence = [_apart(known, fold, config)]
    true, stranger = [known.person], [np.zeros(len(known.person), bool)]
    outside = samples.some(parts.stranger)
    labelled, playing = len(outside.person), 0
    if labelled:
        evidence.append(head.evidence(outside.vectors))
    if labelled < 1 / config.false_alarms:
        count = len(np.unique(known.person))
        random = np.random.default_rng(config.seed).permutation(count)
        evidence.append(_apart(known, random[known.person] % min(count, PEOPLE_FOLDS), config))
        playing = len(known.person)
    unknown = labelled + playing
    true.append(np.full(unknown, -1, np.int64))
    stranger.append(np.ones(unknown, bool))
    joined = _joined(evidence)
    is_stranger = np.concatenate(stranger)
    right = (joined.person == np.concatenate(true)) & ~is_stranger
    acceptance = fit_acceptance(joined, right, is_stranger, config.false_alarms)
    accepted = acceptance.probability(joined) >= acceptance.threshold
    return acceptance, {
        "known_faces": len(known.person),
        "right": float(right[~is_stranger].mean()),
        "stranger_faces": labelled,
        "faces_that_play_strangers": playing,
        "false_alarms": float(accepted[is_stranger].mean()),
        "detected": float((accepted & right)[~is_stranger].mean()),
    }


def _apart(samples: Samples, fold: Ints, config: TrainConfig) -> Evidence:
    """Return the evidence for each face of a head that was learnt from the other folds."""
    rows: list[Ints] = []
    parts: list[Evidence] = []
    for k in np.unique(fold):
        inside = fold == k
        parts.append(_fit(samples.some(~inside), config).evidence(samples.vectors[inside]))
        rows.append(np.flatnonzero(inside))
    back = np.argsort(np.concatenate(rows), kind="stable")
    joined = _joined(parts)
    return Evidence(joined.person[back], joined.margin[back], joined.similarity[back])


def _joined(parts: list[Evidence]) -> Evidence:
    columns = ([getattr(part, name) for part in parts] for name in Evidence.__dataclass_fields__)
    return Evidence(*map(np.concatenate, columns))


@dataclass(frozen=True)
class _Result:
    summary: dict[str, Any]
    people: list[dict[str, Any]]
    confusion: list[dict[str, Any]]
    told: pa.Table


def _measured(tested: Samples, head: Head, acceptance: Acceptance, config: TrainConfig) -> _Result:
    """Return what the faces of the test say of the head, which saw none of them."""
    evidence = head.evidence(tested.vectors)
    probability = acceptance.probability(evidence)
    learnt = len(head.people)
    stranger = tested.person >= learnt
    known = ~stranger
    right = (evidence.person == tested.person) & known
    closed, people = measures.closed_set(
        tested.person[known], evidence.person[known], tested.image[known], learnt, config.bootstrap
    )
    open_set = measures.open_set(
        probability, right, stranger, acceptance.threshold, config.false_alarms
    )
    accepted = probability >= acceptance.threshold
    confusion = _confusion(tested, evidence.person, known, accepted)
    names = np.array([one.label for one in tested.people], object)
    told = pa.table({
        "face_id": pa.array(tested.faces, pa.string()),
        "label": pa.array(names[tested.person], pa.string()),
        "part": pa.array(np.where(stranger, STRANGER_TEST, TEST)),
        "named": pa.array(names[evidence.person], pa.string()),
        "right": right, "probability": probability, "accepted": accepted,
    })  # fmt: skip
    return _Result({"closed_set": closed, "open_set": open_set}, people, confusion, told)


def _confusion(tested: Samples, named: Ints, known: Bools, accepted: Bools) -> list[dict[str, Any]]:
    """Return a row for each pair of people of whom one was named for the other, or rightly."""
    pairs = np.stack([tested.person, named], axis=1)[known]
    cells, of = np.unique(pairs, axis=0, return_inverse=True)
    faces = np.bincount(of.ravel(), minlength=len(cells))
    taken = np.bincount(of.ravel(), accepted[known].astype(np.float64), len(cells))
    return [
        {"true": tested.people[a].label, "named": tested.people[b].label, "faces": int(n),
         "accepted": int(k)}
        for (a, b), n, k in zip(cells.tolist(), faces, taken, strict=True)
    ]  # fmt: skip


def _people(
    samples: Samples, parts: Parts, learnt: int, rates: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    of = {
        name: images_of(samples.person[rows], samples.image[rows])
        for name, rows in (("train_images", parts.train), ("test_images", parts.test))
    }
    return [
        {"label": samples.people[k].label, "person_id": samples.people[k].person_id}
        | {name: int(counts[k]) if k < len(counts) else 0 for name, counts in of.items()}
        | rates[k]
        for k in range(learnt)
    ]


def _tables(
    samples: Samples,
    parts: Parts,
    people: list[dict[str, Any]],
    result: _Result,
) -> dict[str, pa.Table]:
    text = pa.string()
    labels = [samples.people[k].label for k in samples.person]
    return {
        "classes": pa.table({
            "label": pa.array([row["label"] for row in people], text),
            "person_id": pa.array([row["person_id"] for row in people], text),
        }),
        "samples": pa.table({
            "face_id": pa.array(samples.faces, text), "label": pa.array(labels, text),
            "part": pa.array(parts.names(), text),
        }),
        "left_out": _left_out(samples),
        "per_class": pa.Table.from_pylist(people),
        "confusion": pa.Table.from_pylist(result.confusion),
        "told": result.told,
    }  # fmt: skip


def _left_out(samples: Samples) -> pa.Table:
    schema = pa.schema([("label", pa.string()), ("reason", pa.string()), ("count", pa.int64())])
    return pa.Table.from_pylist([asdict(one) for one in samples.left_out], schema)


def _notes(
    samples: Samples, validation: Mapping[str, Any], result: _Result, config: TrainConfig
) -> list[str]:
    open_set, notes = result.summary["open_set"], []
    if samples.source != "file of labels":
        notes.append(
            "the labels are the lake's own people, whom clustering made of the same vectors: the "
            "rates say how well the head agrees with the lake, not how often both are right"
        )
    if not open_set["stranger_faces"]:
        notes.append(
            "no strangers are labelled, so false alarms are not measured; people with fewer than "
            f"{config.min_images} images would serve"
        )
    strangers = validation["stranger_faces"] + validation["faces_that_play_strangers"]
    if strangers * config.false_alarms < 1:
        notes.append(
            f"{strangers:,} faces of strangers cannot show a share of {config.false_alarms:g}: the "
            "threshold lies above all of them"
        )
    untested = sum(not row["tested"] for row in result.people)
    if untested:
        notes.append(f"{untested:,} people have no image in the test: others are on theirs too")
    return notes
