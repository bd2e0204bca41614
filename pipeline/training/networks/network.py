"""What every network can do: features of a batch, its stages, and stages that stay as they are."""

from collections.abc import Mapping, Sequence
from typing import Self

from torch import Tensor, nn

from pipeline.errors import ConfigError

PRELU_SLOPE = 0.25  # where PyTorch starts a PReLU, and He et al. 2015 did


class Network(nn.Module):
    """Maps normalised faces to features.

    Attributes:
        frozen: how many of the first stages do not learn; `freeze` sets it.
    """

    frozen: int = 0

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised faces, float [N, 3, S, S], to features that have no unit length yet.

        Returns:
            float [N, 512]. In training mode N must be 2 or more: batch norm needs it.
        """
        raise NotImplementedError

    def stages(self) -> list[list[nn.Module]]:
        """Return the modules by stage, from the input to the output; each is in one stage."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; frozen stages stay in evaluation mode."""
        super().train(mode)
        for stage in self.stages()[: self.frozen]:
            for module in stage:
                module.eval()
        return self


class Chain(Network):
    """A network whose stages and their modules follow one another; weights as `he_init`.

    Args:
        stages: modules of each stage by its name.
    """

    def __init__(self, stages: Mapping[str, Sequence[nn.Module]]) -> None:
        super().__init__()
        self.chain = nn.Sequential()
        for name, stage in stages.items():
            self.chain.add_module(name, nn.Sequential(*stage))
        he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """See `Network`."""
        features: Tensor = self.chain(x)
        return features

    def stages(self) -> list[list[nn.Module]]:
        """See `Network`."""
        return [list(stage.children()) for stage in self.chain.children()]


def he_init(network: nn.Module) -> None:
    """Draw the weights of convolutions and linear layers for PReLUs (He et al., ICCV 2015)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, a=PRELU_SLOPE)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def freeze(network: Network, stages: int) -> None:
    """Stop the first stages from learning; all others learn.

    The weights of frozen stages get no gradient. Their batch norms keep their statistics and their
    dropouts do nothing, also after `network.train()`.

    Args:
        network: changed in place.
        stages: how many of `network.stages()`; 0 thaws all.

    Raises:
        ConfigError: the network has fewer stages.
    """
    every = network.stages()
    if not 0 <= stages <= len(every):
        raise ConfigError(f"{stages} stages cannot be frozen; the network has {len(every)}")
    network.frozen = stages
    for index, stage in enumerate(every):
        for module in stage:
            module.requires_grad_(index >= stages)
    network.train(network.training)
