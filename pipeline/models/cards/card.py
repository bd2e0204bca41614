"""Model cards: what a model is, how its input is made, where its weights come from, on what terms.

The cards of the models that Facelake knows lie in `cards/`; `load_card` reads a user's own, for
any ONNX embedder. The keys of a card are the fields of `ModelCard` and `ModelFile`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipeline.config import Views
from pipeline.errors import ConfigError
from pipeline.models.cards.calibration import Calibration, calibration_of
from pipeline.models.cards.spec import Spec, read_toml

CARDS = Path(__file__).parent
TRAINED = "model.json"  # in the folder of a model that was trained here
KINDS = ("detector", "embedder", "picture")
FACENET, ONNX, MTCNN = "torch-inception-resnet-v1", "onnx", "torch-mtcnn"
RUNTIMES = {"detector": (MTCNN,), "embedder": (FACENET, ONNX), "picture": (ONNX,)}


@dataclass(frozen=True)
class ModelFile:
    """One file of weights.

    Attributes:
        size: bytes; None where nobody published it.
        sha256: 64 hex digits; None where nobody published it, then it is pinned on first use.
        url: where it is downloaded from; None for bundled and local files.
    """

    name: str
    size: int | None = None
    sha256: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class ModelCard:
    """A model, its weights, and how crops are made for it.

    Attributes:
        kind: "detector", "embedder" of faces, or "picture", an embedder of whole pictures; the
            fields from `input_size` on speak of embedders.
        runtime: one of `RUNTIMES[kind]`.
        bundled: the files lie inside the package.
        folder: where the files of a user's card lie; None for the cards of Facelake.
        commercial: the licence of the weights, as published, allows commercial use.
        accuracy: as published, with its source or protocol.
        input_size: side of the square crop, pixels.
        alignment: "box", the detector's box resized, or "arcface5", the similarity transform of
            five landmarks to the ArcFace 112 template, scaled to `input_size`; "none" for pictures.
        margin_px: for "box", pixels of the crop around the box, both sides together.
        colour: "RGB" or "BGR", the channel order that the network expects.
        mean, std: a channel each, in that order: the network sees (pixel - mean) / std.
        dimension: length of the vector.
        metric: how vectors are compared; "cosine".
        calibration: from similarity to the probability of one person; None: not calibrated.
        thresholds: similarities by name: `copy`, from which pictures are one; of faces `verify`,
            and for lakes too small to measure them `impostor_mean` and `impostor_sd` of the cosine
            of two people's faces, `own_mean` and `own_sd` of a face to many others of its person,
            above the average of other people.
        flip: calibration and thresholds were found to hold for vectors of a face and its mirror
            image too.
    """

    name: str
    kind: str
    runtime: str
    files: tuple[ModelFile, ...]
    bundled: bool = False
    folder: Path | None = None
    source: str = ""
    licence: str = "not stated"
    commercial: bool = False
    training_data: str = "not stated"
    accuracy: str = "not stated"
    notes: str = ""
    input_size: int = 0
    alignment: str = "box"
    margin_px: int = 0
    colour: str = "RGB"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    dimension: int = 0
    metric: str = "cosine"
    calibration: Calibration | None = None
    thresholds: dict[str, float] = field(default_factory=dict, hash=False)
    flip: bool = False

    def seen(self, views: Views) -> "ModelCard":
        """Return the card of vectors of these views: what does not hold for them is left out."""
        own = self.calibration
        if views == "one" or (own and views_of(own.embedder) == views):
            return self
        if not self.flip:
            return replace(self, thresholds={}, calibration=None)
        if own and own.embedder:
            own = replace(own, embedder=revision_of(own.embedder, views))
        return replace(self, calibration=own)

    @property
    def size(self) -> int | None:
        """Bytes of all files; None if one is unknown."""
        sizes = [file.size for file in self.files if file.size is not None]
        return sum(sizes) if len(sizes) == len(self.files) else None


def load_card(path: Path) -> ModelCard:
    """Read a user's card; its files lie beside it, or where it says, relative to it.

    `file = "model.onnx"` and an optional `sha256` stand for the list of files.

    Raises:
        ConfigError: names the file, the key and the allowed values.
    """
    path = path.expanduser()
    card = _parse(path, read_toml(path))
    if card.bundled or any(file.url for file in card.files):
        raise ConfigError(f"{path}: `bundled` and `url` are not for your own cards; use `file`")
    return replace(card, folder=path.absolute().parent)


@cache
def known_cards() -> Mapping[str, ModelCard]:
    """Return the cards of Facelake by name."""
    cards = [_parse(path, read_toml(path)) for path in sorted(CARDS.glob("*.toml"))]
    return MappingProxyType({card.name: card for card in cards})


def revision_of(weights: str, views: Views) -> str:
    """Return the revision of vectors: that of the weights, and the views where not one."""
    return weights if views == "one" else f"{weights}+{views}"


def views_of(revision: str) -> Views:
    """Return the views that a revision of vectors records."""
    return "flip" if revision.endswith("+flip") else "one"


def card_of(revision: str) -> ModelCard | None:
    """Return the known card of a revision as its views are; None: Facelake has none."""
    card = known_cards().get(revision.split("@")[0])
    return card and card.seen(views_of(revision))


def find_card(name_or_path: str, kind: str | None = None) -> ModelCard:
    """Return a known card by name, or the card of a `.toml`, or of an `.onnx` beside its `.toml`.

    Args:
        name_or_path: a known name, or the path of a card, of an ONNX file with its card, or of the
            folder of a model that `facelake train --network` made.
        kind: "detector" or "embedder" when it must be one.

    Raises:
        ConfigError: there is no such model, or it is of the other kind; lists the known ones.
    """
    card = _find(name_or_path, kind)
    if kind is not None and card.kind != kind:
        raise ConfigError(
            f"{name_or_path!r} is a model of kind {card.kind}, a {kind} is needed; the known ones "
            f"are {', '.join(_names(kind))}"
        )
    return card


def _names(kind: str | None) -> list[str]:
    return [name for name, card in known_cards().items() if kind in (None, card.kind)]


def _find(name_or_path: str, kind: str | None) -> ModelCard:
    cards = known_cards()
    if name_or_path in cards:
        return cards[name_or_path]
    path = Path(name_or_path).expanduser()
    if path.is_dir() and (path / TRAINED).is_file():
        return load_card(_trained(path))
    if path.suffix not in {".toml", ".onnx"}:
        raise ConfigError(
            f"No {kind or 'model'} {name_or_path!r}; the known ones are {', '.join(_names(kind))}. "
            "For your own, give the path of an .onnx file with a .toml card beside it."
        )
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; the known models are {', '.join(cards)}")
    if path.suffix == ".toml":
        return load_card(path)
    spec = path.with_suffix(".toml")
    if not spec.is_file():
        raise ConfigError(
            f"{path} needs a card beside it, {spec.name}, that says how its input is made: "
            "input_size, alignment, colour, mean, std, dimension"
        )
    card = load_card(spec)
    if path.absolute() not in {(spec.absolute().parent / file.name) for file in card.files}:
        raise ConfigError(f"{spec}: `file` is {card.files[0].name!r}, not {path.name!r}")
    return card


def _trained(folder: Path) -> Path:
    """Return the card of the network in the folder of a trained model."""
    try:
        files = json.loads((folder / TRAINED).read_bytes())["files"]
        names = [str(one) for one in files if one.endswith(".toml") and "/" not in one]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"Cannot read {folder / TRAINED}: {error}") from error
    if len(names) != 1:
        raise ConfigError(
            f"The model in {folder} has no network of its own: it knows the vectors of another "
            "embedder, which its model.json names"
        )
    return folder / names[0]


def _parse(path: Path, values: dict[str, Any]) -> ModelCard:
    spec = Spec(path, values)
    name = spec.text("name", path.stem)
    # the name becomes part of `name@revision` in every row, and of file names
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise spec.fail("name", f"is {name!r}; it must be letters, digits, '.', '_' and '-'")
    kind = spec.choice("kind", KINDS, "embedder")
    about: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "runtime": spec.choice("runtime", RUNTIMES[kind], None if kind == "detector" else ONNX),
        "files": _files(spec, path),
        "bundled": spec.flag("bundled", False),
        "commercial": spec.flag("commercial", False),
        "source": spec.text("source", ""),
        "notes": spec.text("notes", ""),
    }
    for key in ("licence", "training_data", "accuracy"):
        about[key] = spec.text(key, "not stated")
    if kind != "detector":
        about |= _input(spec, kind)
    spec.done()
    return ModelCard(**about)


def _input(spec: Spec, kind: str) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "input_size": spec.integer("input_size", 16, 1024),
        "alignment": spec.choice("alignment", ("box", "arcface5"))
        if kind == "embedder"
        else spec.choice("alignment", ("none",), "none"),
        "colour": spec.choice("colour", ("RGB", "BGR")),
        "mean": spec.channels("mean"),
        "std": spec.channels("std", positive=True),
        "dimension": spec.integer("dimension", 2, 65536),
        "metric": spec.choice("metric", ("cosine",), "cosine"),
        "thresholds": spec.cosines("thresholds"),
        "margin_px": spec.integer("margin_px", 0, 1023, 0),
        "calibration": calibration_of(spec),
        "flip": spec.flag("flip", False),
    }
    margin, size = fields["margin_px"], fields["input_size"]
    if margin and fields["alignment"] != "box":
        raise spec.fail("margin_px", 'is only for alignment = "box"')
    if margin >= size:
        raise spec.fail("margin_px", f"is {margin}; it must be below input_size, {size}")
    return fields


def _files(spec: Spec, path: Path) -> tuple[ModelFile, ...]:
    short = {key: spec.take(key) for key in ("file", "sha256")}
    tables = spec.take("files")
    if (tables is None) == (short["file"] is None):
        raise spec.fail("file", "is missing, or given twice; give `file` or `files`, not both")
    if tables is None:
        tables = [{"name": short["file"]} | {"sha256": short["sha256"]}]
        tables = [{key: value for key, value in tables[0].items() if value is not None}]
    if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        raise spec.fail("files", "must be a list of tables, [[files]]")
    return tuple(_file(Spec(path, table, "files")) for table in tables)


def _file(spec: Spec) -> ModelFile:
    name = spec.text("name")
    size = spec.integer("size", 1, 1 << 40) if "size" in spec.values else None
    sha256 = spec.text("sha256").lower() if "sha256" in spec.values else None
    if sha256 is not None and not re.fullmatch("[0-9a-f]{64}", sha256):
        raise spec.fail("sha256", f"is {sha256!r}; it must be 64 hex digits")
    url = spec.text("url") if "url" in spec.values else None
    spec.keys += ["size", "sha256", "url"]
    spec.done()
    return ModelFile(name, size, sha256, url)
