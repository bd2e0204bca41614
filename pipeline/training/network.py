"""Trains a network on the photos of a lake: split by person, cut faces, fit, export, measure."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.arrays import Bools, Floats64, Ints
from pipeline.errors import ConfigError
from pipeline.lake.checkpoints import Mapper, Progress, TaskRunner, Workspace
from pipeline.lake.manifest import version_of
from pipeline.lake.store import LakeStore, Models
from pipeline.models.cards.card import ModelCard
from pipeline.models.weights.store import WeightStore
from pipeline.storage.folder import Folder
from pipeline.training.algorithms.split import images_of
from pipeline.training.data.batches import Faces, Order
from pipeline.training.data.crops import CropShards, Cut, cut_crops
from pipeline.training.export import card_text, exported, load_network, network_card, own_embedder
from pipeline.training.extra import need_network_packages
from pipeline.training.fit.checkpoint import Progressed
from pipeline.training.fit.loop import Task
from pipeline.training.fit.verification import Held, judged
from pipeline.training.initial import initial_weights
from pipeline.training.labels import NONE
from pipeline.training.samples import Samples, read_samples, unlabelled
from pipeline.training.settings import TrainConfig
from pipeline.training.train import (
    Division,
    Extra,
    Page,
    Parts,
    Trained,
    divide,
    finish,
    finish_network,
)

CROPS, CHECKPOINTS = "crops", "training"
PROBES, EMBED_BATCH = 16, 256
LEAST_HELD = 4
PACKAGES = ("torch", "kornia", "onnx", "onnxscript", "safetensors")
# Settings that change where a training runs, not what comes out of it.
ELSEWHERE = ("workers", "train_device", "crops", "tensorboard", "checkpoint_steps", "patience")


@dataclass(frozen=True)
class Means:
    """What a preparation works with.

    Attributes:
        weights: where weights of the teacher, or to begin with, lie.
        mapper: runs the cutting.
        progress: hears of it.
    """

    weights: WeightStore
    mapper: Mapper
    progress: Progress


@dataclass(frozen=True)
class Prepared:
    """A training that is ready to begin: the lake is needed no more.

    Attributes:
        division: the labelled faces that have a crop.
        places: shard and row of each, [N, 2].
        shards: the crops.
        models: whose faces they are.
        task: what the workers do.
    """

    division: Division
    places: Ints
    shards: CropShards
    models: Models
    task: Task


def prepare(
    lake: LakeStore,
    labels: str | None,
    folder: Folder,
    config: TrainConfig,
    means: Means,
) -> Prepared:
    """Divide the labelled faces of a lake, and cut them out of their photos.

    Args:
        lake: nothing is written into it.
        labels: file of labels; None: the named people of the lake.
        folder: of the model.
        config: how.
        means: what it works with.

    Raises:
        ConfigError: too few people or faces, or settings that do not go together.
    """
    own = config.network
    assert own.network is not None
    if labels == NONE and own.objective != "none":
        raise ConfigError(
            f"--objective {own.objective} needs labels; without them there is a --teacher with "
            "--objective none"
        )
    need_network_packages(own.workers)
    order_of(config).check_numbers(own.workers)
    init = initial_weights(own, folder.options, means.weights)
    samples = unlabelled(lake) if labels == NONE else read_samples(lake, labels, config.face)
    card = network_card(own.network, "network", {})
    key = _key(samples.faces, card, own.teacher)
    workspace = Workspace.only(folder.child(CROPS), key) if own.crops is None else (
        Workspace(Folder(own.crops, folder.options).child(f"facelake-crops/{key}"))
    )  # fmt: skip
    tasks = TaskRunner(workspace, means.mapper, means.progress)
    shards = cut_crops(tasks, lake, set(samples.faces), Cut(card, own.teacher, means.weights))
    where, missing = shards.places()
    reasons = {face: f"no crop: {missing.get(face, 'its photo is gone')}"
               for face in samples.faces if face not in where}  # fmt: skip
    samples = samples.without(reasons)
    if not samples.faces:
        raise ConfigError(
            f"No photo can be read again ({next(iter(reasons.values()))}); are the photos where "
            "they were indexed?"
        )
    if labels == NONE:
        division = without_labels(samples, config)
    else:
        division = divide(samples, config, held_out(samples, config))
    places = np.array([where[face] for face in division.samples.faces], np.int64)
    task = replace(_task(division, places, shards, config, folder), init=init)
    task.order.check(task.train, own.workers)
    task.checkpoints.check()
    return Prepared(division, places, shards, lake.existing_models(), task)


def without_labels(samples: Samples, config: TrainConfig) -> Division:
    """Return faces that only a teacher tells about; some pictures are kept apart."""
    pictures = np.unique(samples.image)
    count = max(LEAST_HELD, round(config.network.held_out * len(pictures)))
    random = np.random.default_rng((config.seed, 4))
    held = np.isin(samples.image, random.permutation(pictures)[:count])
    nothing = np.zeros(len(held), bool)
    return Division(samples, Parts(~held, nothing, held, nothing, nothing), 0)


def held_out(samples: Samples, config: TrainConfig) -> Bools:
    """Return who is kept apart from training, bool [P]; drawn by the seed.

    Raises:
        ConfigError: there are too few people.
    """
    images = images_of(samples.person, samples.image)
    count = round(config.network.held_out * len(images))
    if count < LEAST_HELD:
        least = int(np.ceil(LEAST_HELD / config.network.held_out))
        raise ConfigError(
            f"{len(images)} people are labelled; {config.network.held_out:g} of them are kept "
            f"apart to verify with, which must be {LEAST_HELD} at least: label {least} people or "
            "more, raise --held-out, or train a head alone (without --network)"
        )
    random = np.random.default_rng((config.seed, 4))
    held = np.zeros(len(images), bool)
    held[random.permutation(len(images))[:count]] = True
    return held


def learn(
    prepared: Prepared,
    folder: Folder,
    config: TrainConfig,
    run_id: str,
    fit: Callable[[Task], Progressed],
    page: Page | None = None,
) -> Trained:
    """Train the network, then a head on its vectors, measure both, and write the model.

    Args:
        prepared: what `prepare` returned.
        folder: of the model.
        config: how.
        run_id: of this training.
        fit: does the task, here or on several workers.
        page: makes the page of the model; None: there is none.

    Raises:
        TrainingError: the loss is not finite, or the network takes all people for one.
    """
    task = prepared.task
    progressed = fit(task)
    network = config.network.network
    assert network is not None
    state = task.checkpoints.best()
    about = _about(prepared, config, progressed)
    card = network_card(network, folder.url.rpartition("/")[2], about)
    probe = prepared.shards.pixels(prepared.places[:PROBES])
    files = exported(load_network(network, state), card, run_id, probe)
    embedder = own_embedder(files)
    models = replace(prepared.models, embedder=embedder.revision, dimension=card.dimension)
    extra = Extra(
        files,
        {"history": _history(task, progressed)},
        {"network": {
            "name": network, "init": config.network.init, "teacher": config.network.teacher,
            "best_epoch": progressed.best[0] + 1, "epochs": progressed.history,
            "versions": {name: version_of(name) for name in PACKAGES},
        }},
        page=page,
    )  # fmt: skip
    if prepared.division.learnt:
        division = prepared.division
        samples = replace(division.samples, vectors=_embedded(embedder.embed, prepared))
        apart = division.parts.stranger
        card = judged(card, samples.vectors[apart], samples.person[apart], config.seed,
                      embedder.revision)  # fmt: skip
        (name,) = (one for one in files if one.endswith(".toml"))
        onnx = name.replace(".toml", ".onnx")
        extra = replace(extra, files={**files, name: card_text(card, onnx).encode()})
        division = replace(division, samples=samples)
        trained = finish(division, models, folder, config, run_id, extra)
    else:
        trained = finish_network(prepared.division, models, folder, run_id, extra)
    Workspace(folder.child(CHECKPOINTS)).remove()
    if config.network.crops is None:
        Workspace(folder.child(CROPS)).remove()
    return trained


def _task(
    division: Division, places: Ints, shards: CropShards, config: TrainConfig, folder: Folder
) -> Task:
    own, parts, samples = config.network, division.parts, division.samples
    chosen = parts.train | parts.spare if own.objective == "none" else parts.train
    held = np.flatnonzero(parts.stranger)
    held = held[np.argsort(places[held, 0], kind="stable")]
    train = Faces(places[chosen, 0], places[chosen, 1], samples.person[chosen])
    teacher = _vectors(shards, places[held]) if own.teacher is not None else None
    settings = {k: v for k, v in asdict(own).items() if k not in ELSEWHERE} | {"seed": config.seed}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for array in (train.shard, train.row, train.target, held):
        digest.update(np.ascontiguousarray(array, "<i8").tobytes())
    return Task(
        own, order_of(config), shards, train,
        Held(places[held, 0], places[held, 1], samples.person[held], teacher),
        division.learnt, None if teacher is None else teacher.shape[1], None,
        folder.child(CHECKPOINTS), digest.hexdigest(),
    )  # fmt: skip


def order_of(config: TrainConfig) -> Order:
    """Return how faces come into batches."""
    own = config.network
    images = own.images_per_person or (4 if own.objective == "triplet" else None)
    return Order(own.batch, min(own.chunk, own.batch), images, config.seed)


def _vectors(shards: CropShards, places: Ints) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the teacher's vectors of some faces, [N, T]."""
    read = {number: shards.read(number).teacher for number in np.unique(places[:, 0]).tolist()}
    found = [vectors[row] for number, row in places.tolist()
             if (vectors := read[number]) is not None]  # fmt: skip
    return np.stack(found)


def _embedded(embed: Callable[..., Any], prepared: Prepared) -> Floats64:
    by_shard = np.argsort(prepared.places[:, 0], kind="stable")  # so that each is read once
    crops = prepared.shards.batches(prepared.places[by_shard], EMBED_BATCH)
    vectors: Floats64 = np.concatenate([embed(some)[0].astype(np.float64) for some in crops])
    return vectors[np.argsort(by_shard)]


def _key(faces: Sequence[str], card: ModelCard, teacher: str | None) -> str:
    cut = (card.input_size, card.alignment, card.margin_px, teacher)
    return hashlib.sha256(repr((sorted(faces), cut)).encode()).hexdigest()[:16]


def _about(prepared: Prepared, config: TrainConfig, progressed: Progressed) -> dict[str, str]:
    samples, own = prepared.division.samples, config.network
    best = progressed.history[progressed.best[0]] if progressed.history else {}
    measured = ", ".join(f"{k} {v:.4f}" for k, v in best.items() if k in ("accuracy", "auc"))
    taught = f", taught by {own.teacher}" if own.teacher else ""
    return {
        "licence": own.licence,
        "training_data": f"{len(prepared.task.train):,} faces of {prepared.division.learnt:,} "
        f"people, labels: {samples.source}{taught}",
        "accuracy": f"held-out people, balanced pairs: {measured or 'not measured'}",
        "notes": f"{own.network}, trained by facelake train",
    }


def _history(task: Task, progressed: Progressed) -> pa.Table:
    steps = np.arange(len(progressed.losses))
    return pa.table({
        "step": pa.array(steps + 1), "epoch": pa.array(steps // task.steps + 1),
        "loss": pa.array(progressed.losses, pa.float64()),
    })  # fmt: skip
