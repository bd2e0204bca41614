"""Weights to begin a training with: of an earlier one, or published for InceptionResnetV1."""

from collections.abc import Mapping
from typing import Any

import torch

from pipeline.errors import ConfigError
from pipeline.models.cards.card import FACENET, known_cards
from pipeline.models.facenet.inception_resnet_v1 import load_weights
from pipeline.models.weights.checkpoint import read_checkpoint
from pipeline.models.weights.store import WeightStore
from pipeline.storage.folder import Folder
from pipeline.training.extra import extra
from pipeline.training.fit.checkpoint import packed
from pipeline.training.model import CARD, read_card, read_file
from pipeline.training.networks.build import FaceNet
from pipeline.training.settings import NetworkConfig


def initial_weights(
    config: NetworkConfig, options: Mapping[str, Any], store: WeightStore
) -> bytes | None:
    """Return the weights that `init` names, packed; None without.

    Raises:
        ConfigError: they are of another network, or there are none.
    """
    if config.init is None:
        return None
    card = known_cards().get(config.init)
    if card is None:
        state = _trained(Folder(config.init, options if "://" in config.init else {}), config)
    elif card.runtime == FACENET and config.network == "inception-resnet-v1":
        network, path = FaceNet(), store.path(card)
        load_weights(network, read_checkpoint(path), str(path))
        state = network.state_dict()
    else:
        raise ConfigError(
            f"{config.init} is no {config.network}; --init takes the folder of a model that "
            "facelake train --network made, or, for inception-resnet-v1, facenet-vggface2 or "
            "facenet-casia-webface"
        )
    return packed(state)


def _trained(folder: Folder, config: NetworkConfig) -> dict[str, torch.Tensor]:
    safetensors = extra("safetensors.torch")
    if not folder.exists(CARD):
        raise ConfigError(f"There is no trained model in {folder.url}; see --init")
    card, _ = read_card(folder)
    network = card.get("network", {}).get("name")
    if network != config.network:
        known = f"is {network}, not {config.network}; give --network {network}"
        unknown = "is a head without a network; nothing can begin with it"
        raise ConfigError(f"The model in {folder.url} {known if network else unknown}")
    name = next(one for one in card["files"] if one.endswith(".safetensors"))
    state: dict[str, torch.Tensor] = safetensors.load(read_file(folder, name, card))
    return state
