"""The networks by name, and how their input is made."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from torch import Tensor, nn

from pipeline.errors import ConfigError
from pipeline.models.facenet.inception_resnet_v1 import InceptionResnetV1
from pipeline.training.networks.iresnet import BLOCKS, iresnet
from pipeline.training.networks.mobileface import mobileface
from pipeline.training.networks.network import Network, freeze
from pipeline.training.settings import NetworkName

__all__ = ["DIMENSION", "INPUTS", "NAMES", "Input", "Network", "build", "freeze"]

NAMES: tuple[NetworkName, ...] = get_args(NetworkName)
DIMENSION = 512


@dataclass(frozen=True)
class Input:
    """How faces are cut and normalised; the fields mean what they mean in `ModelCard`."""

    size: int
    alignment: Literal["arcface5", "box"]
    margin_px: int = 0
    colour: Literal["RGB"] = "RGB"
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (127.5, 127.5, 127.5)


_ALIGNED = Input(112, "arcface5")
INPUTS: Mapping[NetworkName, Input] = MappingProxyType(
    {
        "mobileface": _ALIGNED,
        "iresnet18": _ALIGNED,
        "iresnet50": _ALIGNED,
        # as the published weights were trained
        "inception-resnet-v1": Input(160, "box", margin_px=14, std=(128.0, 128.0, 128.0)),
    }
)


class FaceNet(Network, InceptionResnetV1):
    """InceptionResnetV1 that returns features; its parameters have the published names."""

    def forward(self, x: Tensor) -> Tensor:
        """See `Network`."""
        return self.features(x)

    def stages(self) -> list[list[nn.Module]]:
        """See `Network`."""
        return [
            [self.conv2d_1a, self.conv2d_2a, self.conv2d_2b, self.conv2d_3b, self.conv2d_4a,
             self.conv2d_4b],
            [self.repeat_1],
            [self.mixed_6a, self.repeat_2],
            [self.mixed_7a, self.repeat_3, self.block8],
            [self.dropout, self.last_linear, self.last_bn],
        ]  # fmt: skip


def build(name: NetworkName) -> Network:
    """Return a network with fresh weights, in training mode.

    `load_weights` of `pipeline.models.facenet.inception_resnet_v1` fills "inception-resnet-v1".

    Raises:
        ConfigError: there is no such network; lists those that there are.
    """
    match name:
        case "mobileface":
            return mobileface(DIMENSION)
        case "iresnet18":
            return iresnet(BLOCKS[18], DIMENSION)
        case "iresnet50":
            return iresnet(BLOCKS[50], DIMENSION)
        case "inception-resnet-v1":
            return FaceNet()
        case _:
            raise ConfigError(f"no network {name!r}; choose from {', '.join(NAMES)}")
