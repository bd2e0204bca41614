"""A trained network as files: weights in safetensors, ONNX, and the card that embedders have."""

import json
import logging
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from pipeline.arrays import Pixels
from pipeline.errors import TrainingError
from pipeline.models.cards.card import ModelCard, ModelFile
from pipeline.models.embedder import Embedder, load_embedder
from pipeline.models.vectors import network_input
from pipeline.models.weights.store import WeightStore
from pipeline.storage.scratch import scratch
from pipeline.training.extra import extra
from pipeline.training.networks.build import DIMENSION, INPUTS, build
from pipeline.training.networks.network import Network
from pipeline.training.settings import NetworkName

TOLERANCE = 1e-4  # of unit vectors, ONNX beside torch
OPSET = 18
ONNX, WEIGHTS, CARD = "onnx", "safetensors", "toml"


def network_card(name: NetworkName, model: str, about: Mapping[str, str]) -> ModelCard:
    """Return the card of a network.

    Args:
        name: of the network.
        model: what it is to be called; letters that a card does not allow become dashes.
        about: texts of the card: licence, training_data, accuracy, notes.
    """
    made = INPUTS[name]
    called = re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-._") or "network"
    return ModelCard(
        called, "embedder", ONNX, (ModelFile("network.onnx"),), input_size=made.size,
        alignment=made.alignment, margin_px=made.margin_px, colour=made.colour, mean=made.mean,
        std=made.std, dimension=DIMENSION, **cast(dict[str, Any], about),
    )  # fmt: skip


def load_network(name: NetworkName, state: Mapping[str, Tensor]) -> Network:
    """Return a network with these weights, ready to embed."""
    network = build(name)
    network.load_state_dict(dict(state))
    return network.eval()


def exported(network: Network, card: ModelCard, run_id: str, probe: Pixels) -> dict[str, bytes]:
    """Return the files of a network, by name, and check that ONNX gives what torch gives.

    Args:
        network: in evaluation mode.
        card: of it.
        run_id: becomes part of the names.
        probe: real faces to check with, uint8 [N, S, S, 3].

    Raises:
        ConfigError: onnxscript or safetensors is not installed.
        TrainingError: the vectors differ.
    """
    stem = f"network-{run_id}"
    save = extra("safetensors.torch").save
    state = {name: one.contiguous() for name, one in network.state_dict().items()}
    weights = save(state, {"network": card.name})
    toml = card_text(card, f"{stem}.{ONNX}")
    files = {f"{stem}.{ONNX}": _onnx(network, card), f"{stem}.{CARD}": toml.encode(),
             f"{stem}.{WEIGHTS}": weights}  # fmt: skip
    difference = _difference(network, own_embedder(files), probe)
    if difference > TOLERANCE:
        raise TrainingError(
            f"The network in ONNX differs from torch by {difference:.1e} in a vector; this is a "
            "fault of the export: report it with the versions of torch, onnx and onnxscript"
        )
    return files


def _onnx(network: Network, card: ModelCard) -> bytes:
    example = torch.zeros(2, 3, card.input_size, card.input_size)
    batch = torch.export.Dim("faces", min=1)
    extra("onnxscript")  # torch.onnx.export needs it
    # what torch says of its own parts, and that torchvision is not there
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with scratch() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            network, (example,), path, input_names=["faces"], output_names=["features"],
            dynamic_shapes=({0: batch},), opset_version=OPSET, dynamo=True, verbose=False,
            external_data=False,
        )  # fmt: skip
        return path.read_bytes()


def _difference(network: Network, embedder: Embedder, probe: Pixels) -> float:
    with torch.inference_mode():
        x = torch.from_numpy(network_input(embedder.card, probe))
        own = torch.nn.functional.normalize(network(x).double()).numpy()
    return float(np.abs(own - embedder.embed(probe)[0]).max())


def card_text(card: ModelCard, file: str) -> str:
    """Return the TOML of an embedder's card, its weights in `file` beside it."""
    lines = [f"name = {json.dumps(card.name)}", 'kind = "embedder"', f"file = {json.dumps(file)}"]
    texts = ("licence", "training_data", "accuracy", "notes", "alignment", "colour")
    plain = ("input_size", "dimension", "margin_px")
    lines += [f"{key} = {json.dumps(getattr(card, key), ensure_ascii=False)}" for key in texts]
    lines += [f"{key} = {getattr(card, key)}" for key in plain]
    lines += [f"{key} = {list(getattr(card, key))}" for key in ("mean", "std")]
    if card.thresholds:
        lines.append("[thresholds]")
        lines += [f"{key} = {value:.6f}" for key, value in card.thresholds.items()]
    if card.calibration is not None:
        lines.append("[calibration]")
        lines += [
            f"{key} = {json.dumps(value)}" for key, value in card.calibration.fields().items()
        ]
    return "\n".join(lines) + "\n"


def own_embedder(files: Mapping[str, bytes]) -> Embedder:
    """Return the embedder of a trained model's files: the card and the ONNX file."""
    with scratch() as folder:
        for name, data in files.items():
            Path(folder, name).write_bytes(data)
        (card,) = Path(folder).glob(f"*.{CARD}")
        # whoever trained it says what it may be used for
        return load_embedder(str(card), store=WeightStore(licences="any"), precision="float32")
