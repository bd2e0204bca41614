"""The FaceNet network: Inception-ResNet-v1 with a 512-d embedding.

Architecture: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", AAAI 2017, as trained by davidsandberg/facenet. The parameter names are
those of facenet-pytorch, so that its published files load.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import ConfigError, WeightsError

BN_EPS = 1e-3  # slim's default, which the published weights were trained with
DIMENSION = 512
INPUT_SIDE = 160


class ConvUnit(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=BN_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Return float [N, outputs, H', W'], not negative."""
        return functional.relu(self.bn(self.conv(x)), inplace=True)


class Residual(nn.Module):
    """Parallel branches, joined by a 1x1 convolution with bias, scaled and added to the input.

    Args:
        branches: one chain of (outputs, kernel) a branch; padding keeps height and width.
        scale: factor on the branches, which keeps deep residual stacks stable (section 3.3).
        activate: whether a ReLU follows the sum; the network's last block has none.
    """

    def __init__(
        self,
        channels: int,
        branches: list[list[tuple[int, tuple[int, int]]]],
        scale: float,
        activate: bool = True,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.activate = activate
        self.width = len(branches)
        for index, steps in enumerate(branches):
            units: list[nn.Module] = []
            inputs = channels
            for outputs, kernel in steps:
                padding = (kernel[0] // 2, kernel[1] // 2)
                units.append(ConvUnit(inputs, outputs, kernel, padding=padding))
                inputs = outputs
            # a lone unit is not wrapped: its names in the published files have no index
            self.add_module(
                f"branch{index}", units[0] if len(units) == 1 else nn.Sequential(*units)
            )
        self.conv2d = nn.Conv2d(sum(steps[-1][0] for steps in branches), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map float [N, channels, H, W] to the same shape."""
        parts = [self.get_submodule(f"branch{index}")(x) for index in range(self.width)]
        x = x + self.conv2d(torch.cat(parts, 1)) * self.scale
        return functional.relu(x, inplace=True) if self.activate else x


class Reduction(nn.Module):
    """Parallel branches and a max-pool, all of stride 2 without padding, concatenated."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.width = len(branches)
        for index, branch in enumerate(branches):
            self.add_module(f"branch{index}", branch)

    def forward(self, x: Tensor) -> Tensor:
        """Map float [N, C, H, W] to [N, C', (H - 1) // 2, (W - 1) // 2]."""
        parts = [self.get_submodule(f"branch{index}")(x) for index in range(self.width)]
        return torch.cat([*parts, functional.max_pool2d(x, 3, 2)], 1)


def _block35() -> Residual:
    one, three = (1, 1), (3, 3)
    branches = [[(32, one)], [(32, one), (32, three)], [(32, one), (32, three), (32, three)]]
    return Residual(256, branches, scale=0.17)


def _block17() -> Residual:
    return Residual(896, [[(128, (1, 1))], [(128, (1, 1)), (128, (1, 7)), (128, (7, 1))]], 0.10)


def _block8(scale: float = 0.20, activate: bool = True) -> Residual:
    branches = [[(192, (1, 1))], [(192, (1, 1)), (192, (1, 3)), (192, (3, 1))]]
    return Residual(1792, branches, scale, activate)


class InceptionResnetV1(nn.Module):
    """Maps standardised 160 x 160 RGB faces to unit vectors, or to class logits.

    Args:
        classify: return logits, for training with a softmax head.
        num_classes: size of the `logits` layer; needed by `classify`, allowed without.
        dropout_prob: probability of dropping a feature before the embedding, in training mode.
    """

    def __init__(
        self,
        classify: bool = False,
        num_classes: int | None = None,
        dropout_prob: float = 0.6,
    ) -> None:
        super().__init__()
        if classify and num_classes is None:
            raise ValueError("classify=True needs num_classes, the number of people to tell apart")
        self.classify = classify
        self.num_classes = num_classes
        self.conv2d_1a = ConvUnit(3, 32, 3, stride=2)
        self.conv2d_2a = ConvUnit(32, 32, 3)
        self.conv2d_2b = ConvUnit(32, 64, 3, padding=1)
        self.conv2d_3b = ConvUnit(64, 80, 1)
        self.conv2d_4a = ConvUnit(80, 192, 3)
        self.conv2d_4b = ConvUnit(192, 256, 3, stride=2)
        self.repeat_1 = nn.Sequential(*(_block35() for _ in range(5)))
        self.mixed_6a = Reduction(
            ConvUnit(256, 384, 3, stride=2),
            nn.Sequential(
                ConvUnit(256, 192, 1),
                ConvUnit(192, 192, 3, padding=1),
                ConvUnit(192, 256, 3, stride=2),
            ),
        )
        self.repeat_2 = nn.Sequential(*(_block17() for _ in range(10)))
        self.mixed_7a = Reduction(
            nn.Sequential(ConvUnit(896, 256, 1), ConvUnit(256, 384, 3, stride=2)),
            nn.Sequential(ConvUnit(896, 256, 1), ConvUnit(256, 256, 3, stride=2)),
            nn.Sequential(
                ConvUnit(896, 256, 1),
                ConvUnit(256, 256, 3, padding=1),
                ConvUnit(256, 256, 3, stride=2),
            ),
        )
        self.repeat_3 = nn.Sequential(*(_block8() for _ in range(5)))
        self.block8 = _block8(scale=1.0, activate=False)
        self.dropout = nn.Dropout(dropout_prob)
        self.last_linear = nn.Linear(1792, DIMENSION, bias=False)
        self.last_bn = nn.BatchNorm1d(DIMENSION, eps=BN_EPS)
        if num_classes is not None:
            self.logits = nn.Linear(DIMENSION, num_classes)

    def features(self, x: Tensor) -> Tensor:
        """Map float [N, 3, 160, 160] to embeddings before normalisation, float [N, 512]."""
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x)))
        x = self.conv2d_3b(functional.max_pool2d(x, 3, 2))
        x = self.conv2d_4b(self.conv2d_4a(x))
        x = self.mixed_6a(self.repeat_1(x))
        x = self.mixed_7a(self.repeat_2(x))
        x = self.block8(self.repeat_3(x))
        x = self.dropout(x.mean((2, 3)))
        features: Tensor = self.last_bn(self.last_linear(x))
        return features

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return unit vectors [N, 512] and their norms before normalisation [N]."""
        features = self.features(x)
        return functional.normalize(features), features.norm(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return unit vectors [N, 512], or logits [N, num_classes] if `classify`."""
        features = self.features(x)
        if self.classify:
            if not hasattr(self, "logits"):
                raise ConfigError(
                    "classify is set, but this network has no head; make it with classify=True and "
                    "num_classes, or give it one: network.logits = nn.Linear(512, people)"
                )
            logits: Tensor = self.logits(features)
            return logits
        return functional.normalize(features)


def load_weights(
    network: InceptionResnetV1, state: Mapping[str, Tensor], origin: str = "the weights"
) -> None:
    """Fill the network from a state_dict, ours or facenet-pytorch's.

    Logits of the file are dropped where the network has none, or has a head of another size:
    that head keeps its fresh values. Everything else must match exactly.

    Args:
        network: changed in place.
        state: tensors by name.
        origin: where the weights come from, for messages.

    Raises:
        WeightsError: names what is missing, unexpected, or of another shape.
    """
    head = {"logits.weight", "logits.bias"}
    own = network.state_dict()
    given = dict(state)
    fits = all(key in own and key in given and own[key].shape == given[key].shape for key in head)
    if not fits:
        for key in head:
            given.pop(key, None)
    kept = head if not fits else set()
    problems = [
        _some("missing", sorted(own.keys() - given.keys() - kept)),
        _some("unexpected", sorted(given.keys() - own.keys())),
        _some(
            "of another shape",
            [
                f"{key} {list(given[key].shape)}, not {list(own[key].shape)}"
                for key in sorted(own.keys() & given.keys())
                if given[key].shape != own[key].shape
            ],
        ),
    ]
    if any(problems):
        reasons = "; ".join(filter(None, problems))
        raise WeightsError(f"{origin} is not an Inception-ResNet-v1 of FaceNet: {reasons}")
    network.load_state_dict(given, strict=fits)


def _some(what: str, names: list[str], limit: int = 5) -> str:
    if not names:
        return ""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{len(names)} {what} ({', '.join(names[:limit])}{more})"
