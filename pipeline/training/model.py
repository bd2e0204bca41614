"""The folder of a model: a card in JSON, arrays in `.npz`, tables in Parquet; nothing is pickled.

`model.json` names the other files with their sizes and SHA-256, and is replaced last and in one
step: what is stopped before leaves the model that was there, or none. Files of another run are
removed afterwards.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.arrays import Bools, Floats64
from pipeline.errors import ConfigError, LakeMismatchError, StorageError
from pipeline.lake.store import Models, parquet_bytes
from pipeline.storage.folder import Folder
from pipeline.training.algorithms.heads import ARRAYS, KINDS, Evidence, Head, check_arrays
from pipeline.training.algorithms.openset import Acceptance

CARD, FORMAT, PAGE = "model.json", 1, "report.html"
TABLES = ("classes", "samples", "left_out", "per_class", "confusion", "told", "history")
STEMS = ("head", "network", *TABLES)
ENDINGS = "npz|parquet|onnx|toml|safetensors"
NAMES = re.compile(
    rf"(?:{'|'.join(STEMS)})-[\w-]+\.(?:{ENDINGS})|{re.escape(CARD)}|{re.escape(PAGE)}"
)
# Weights to train on with, and the page, are not what tells people.
NOT_READ = (".safetensors", PAGE)


@dataclass(frozen=True)
class HeadModel:
    """A model that tells people by vectors.

    Attributes:
        card: what `model.json` holds.
        digest: SHA-256 of it, which names this model.
        labels: name of each person, [C].
        person_ids: of the lake it was learnt from, [C]; None for labels of a file.
        head, acceptance: what names people, and when it is nobody.
        samples: columns face_id and part of the faces it was learnt from and measured on.
        network: files of the embedder that was trained with it; empty where it knows another's
            vectors.
    """

    card: Mapping[str, Any]
    digest: str
    labels: list[str]
    person_ids: list[str | None]
    head: Head
    acceptance: Acceptance
    samples: pa.Table
    network: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def models(self) -> Models:
        """The detector and the embedder whose vectors it knows."""
        return Models(self.card["detector"], self.card["embedder"], self.card["dimension"])

    def need(self, models: Models, whose: str) -> None:
        """Refuse vectors of another embedder.

        Raises:
            LakeMismatchError: `whose` vectors are not those that the model was learnt from.
        """
        own = self.models
        if (own.embedder, own.dimension) != (models.embedder, models.dimension):
            raise LakeMismatchError(
                f"The model was trained on vectors of {own.embedder} ({own.dimension} numbers), "
                f"{whose} has those of {models.embedder} ({models.dimension}); train one on them"
            )

    def tell(self, vectors: Any) -> tuple[Evidence, Floats64, Bools]:
        """Return evidence, probability [N] of the named person, and whether it is accepted [N]."""
        evidence = self.head.evidence(vectors)
        probability = self.acceptance.probability(evidence)
        return evidence, probability, probability >= self.acceptance.threshold


def check_target(folder: Folder) -> None:
    """Refuse a folder for a model that holds something else.

    Raises:
        ConfigError: it does.
    """
    others = sorted(name for name in folder.files() if not NAMES.fullmatch(name))
    if others:
        raise ConfigError(
            f"{folder.url} holds something that is no model, for example {others[0]}; choose "
            "another --output"
        )


def head_files(run_id: str, head: Head) -> dict[str, bytes]:
    """Return the file of a head, by name."""
    return {f"head-{run_id}.npz": _npz(head.arrays())}


def save_model(
    folder: Folder,
    run_id: str,
    files: Mapping[str, bytes],
    tables: Mapping[str, pa.Table],
    card: Mapping[str, Any],
) -> dict[str, Any]:
    """Write a model, replacing the one that was there, and return its card.

    Args:
        folder: of the model, local or remote.
        run_id: becomes part of the names of the files.
        files: what was learnt, by name, and the page; they are written after the tables.
        tables: of `TABLES`.
        card: what else `model.json` holds.
    """
    files = {
        f"{name}-{run_id}.parquet": parquet_bytes(table) for name, table in tables.items()
    } | dict(files)
    for name, data in files.items():
        folder.publish(name, data)
    whole = {
        "format": FORMAT, "kind": "head", "run_id": run_id, **card,
        "files": {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                  for name, data in files.items()},
    }  # fmt: skip
    folder.publish(CARD, json.dumps(whole, indent=2, allow_nan=False).encode() + b"\n")
    for name in [*folder.files(), *folder.temporary_files()]:
        if name not in files and name != CARD:
            folder.remove(name)
    return whole


def load_model(folder: Folder) -> HeadModel:
    """Read a model, every file of it checked.

    Raises:
        ConfigError: there is none, it was not finished, or another version wrote it.
        StorageError: it is damaged.
    """
    if not folder.exists(CARD):
        what = (
            f"The model in {folder.url} is not finished: {CARD} is missing; run `facelake train` "
            "again" if any(NAMES.fullmatch(name) for name in folder.files())
            else f"There is no model in {folder.url}; make one with `facelake train`"
        )  # fmt: skip
        raise ConfigError(what)
    card, digest = read_card(folder)
    if card["kind"] == "network":
        raise ConfigError(
            f"The model in {folder.url} is a network that was trained without labels: it embeds, "
            "but knows nobody; index with --embedder, or train a head on its vectors"
        )
    if card["kind"] != "head":
        raise _unknown(folder, card)
    with _undamaged(folder):
        names = [name for name in card["files"] if not name.endswith(NOT_READ)]
        contents = {name: read_file(folder, name, card) for name in names}
        return _model(card, digest, contents)


def read_card(folder: Folder) -> tuple[dict[str, Any], str]:
    """Return the card of a model that is there, and its SHA-256.

    Raises:
        ConfigError: another version wrote it.
        StorageError: it is damaged.
    """
    data = folder.read(CARD)
    with _undamaged(folder):
        card: dict[str, Any] = json.loads(data)
        if card["format"] != FORMAT:
            raise _unknown(folder, card)
        if not all(NAMES.fullmatch(name) for name in card["files"]):
            raise ValueError("it names files that are not a model's")
        return card, hashlib.sha256(data).hexdigest()


def read_file(folder: Folder, name: str, card: Mapping[str, Any]) -> bytes:
    """Return a file of a model.

    Raises:
        StorageError: it is not what was written.
    """
    try:
        data = folder.read(name)
    except StorageError as error:
        raise _damaged(folder, f"{name} cannot be read") from error
    if hashlib.sha256(data).hexdigest() != card["files"][name]["sha256"]:
        raise _damaged(folder, f"{name} is not what was written")
    return data


@contextmanager
def _undamaged(folder: Folder) -> Iterator[None]:
    """Raise StorageError where what is read of a model is not what a model has."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, OSError, BadZipFile,
            pa.ArrowException) as error:  # fmt: skip
        raise _damaged(folder, f"{type(error).__name__}: {error}") from error


def _unknown(folder: Folder, card: Mapping[str, Any]) -> ConfigError:
    return ConfigError(
        f"The model in {folder.url} is of format {card['format']}, kind {card['kind']}, which "
        f"this version does not read; it reads {FORMAT}, head"
    )


def _model(card: dict[str, Any], digest: str, contents: Mapping[str, bytes]) -> HeadModel:
    stems = {name.split("-")[0]: data for name, data in contents.items()}
    with np.load(io.BytesIO(stems["head"]), allow_pickle=False) as loaded:
        arrays = {name: loaded[name] for name in ARRAYS}
    if card["head"] not in KINDS:
        raise ValueError(f"there is no head {card['head']!r}")
    check_arrays(card["head"], arrays, int(card["dimension"]))
    classes = pq.read_table(io.BytesIO(stems["classes"])).to_pylist()
    labels: list[str] = [row["label"] for row in classes]
    if not np.array_equal(arrays["people"], np.arange(len(labels))):
        raise ValueError("its classes are not those of its arrays")
    head = Head(card["head"], **arrays, neighbours=int(card["config"]["neighbours"]))
    values = (float(card["acceptance"][name]) for name in Acceptance.__dataclass_fields__)
    return HeadModel(
        card, digest, labels, [row["person_id"] for row in classes], head, Acceptance(*values),
        pq.read_table(io.BytesIO(stems["samples"]), columns=["face_id", "part"]),
        {name: data for name, data in contents.items() if name.startswith("network-")},
    )  # fmt: skip


def _damaged(folder: Folder, what: str) -> StorageError:
    return StorageError(
        f"The model in {folder.url} is damaged ({what}); restore it, or run `facelake train` again"
    )


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
