"""The three networks of MTCNN: P-net proposes, R-net refines, O-net decides and finds landmarks.

Zhang, Zhang, Li, Qiao: "Joint Face Detection and Alignment Using Multitask Cascaded
Convolutional Networks", IEEE Signal Processing Letters 2016. Module names follow the published
weights, so that their state_dicts load strictly.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from pipeline.arrays import Floats32


class PNet(nn.Module):
    """Proposal network: fully convolutional, one answer a 12 x 12 cell."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 10, 3)
        self.prelu1 = nn.PReLU(10)
        self.pool1 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv2 = nn.Conv2d(10, 16, 3)
        self.prelu2 = nn.PReLU(16)
        self.conv3 = nn.Conv2d(16, 32, 3)
        self.prelu3 = nn.PReLU(32)
        self.conv4_1 = nn.Conv2d(32, 2, 1)
        self.conv4_2 = nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map [N, 3, H, W] to face probability [N, h, w] and box regression [N, 4, h, w]."""
        faces, shift = self.later(self.pool1(self.prelu1(self.conv1(x))))
        return torch.softmax(faces, dim=1)[:, 1], shift

    def later(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map features [N, 10, H, W] of the first layer to logits [N, 2, h, w] and regression."""
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(features))))
        return self.conv4_1(x), self.conv4_2(x)


class RNet(nn.Module):
    """Refinement network on 24 x 24 crops."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 28, 3)
        self.prelu1 = nn.PReLU(28)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = nn.Conv2d(28, 48, 3)
        self.prelu2 = nn.PReLU(48)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3 = nn.Conv2d(48, 64, 2)
        self.prelu3 = nn.PReLU(64)
        self.dense4 = nn.Linear(576, 128)
        self.prelu4 = nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)
        self.dense5_2 = nn.Linear(128, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map crops [N, 3, 24, 24] to face probability [N] and box regression [N, 4]."""
        faces, shift = self.logits(x)
        return torch.softmax(faces, dim=1)[:, 1], shift

    def logits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map crops [N, 3, 24, 24] to logits [N, 2] and box regression [N, 4]."""
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.pool2(self.prelu2(self.conv2(x)))
        x = self.prelu3(self.conv3(x))
        # The weights were trained on transposed maps: columns before rows, channels last.
        x = self.prelu4(self.dense4(x.permute(0, 3, 2, 1).flatten(1)))
        return self.dense5_1(x), self.dense5_2(x)


class ONet(nn.Module):
    """Output network on 48 x 48 crops."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3)
        self.prelu1 = nn.PReLU(32)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.prelu2 = nn.PReLU(64)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3 = nn.Conv2d(64, 64, 3)
        self.prelu3 = nn.PReLU(64)
        self.pool3 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv4 = nn.Conv2d(64, 128, 2)
        self.prelu4 = nn.PReLU(128)
        self.dense5 = nn.Linear(1152, 256)
        self.prelu5 = nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)
        self.dense6_2 = nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map crops [N, 3, 48, 48] to probability [N], regression [N, 4] and landmarks [N, 10].

        Landmarks are five x, then five y, as fractions of the box.
        """
        faces, shift, points = self.logits(x)
        return torch.softmax(faces, dim=1)[:, 1], shift, points

    def logits(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map crops [N, 3, 48, 48] to logits [N, 2], regression [N, 4] and landmarks [N, 10]."""
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.pool2(self.prelu2(self.conv2(x)))
        x = self.pool3(self.prelu3(self.conv3(x)))
        x = self.prelu4(self.conv4(x))
        x = self.prelu5(self.dense5(x.permute(0, 3, 2, 1).flatten(1)))
        return self.dense6_1(x), self.dense6_2(x), self.dense6_3(x)


def loaded(weights: Mapping[str, Mapping[str, Floats32]]) -> tuple[PNet, RNet, ONet]:
    """Return the networks with `weights` by network, "pnet", "rnet" and "onet"; for answers."""
    networks = PNet(), RNet(), ONet()
    for name, network in zip(("pnet", "rnet", "onet"), networks, strict=True):
        state = {key: torch.as_tensor(value) for key, value in weights[name].items()}
        network.load_state_dict(state, strict=True)
        network.eval().requires_grad_(False)
    return networks


def in_torch(
    weights: Mapping[str, Mapping[str, Floats32]],
) -> tuple[Callable[[Floats32], Floats32], ...]:
    """Return P-net's later layers, R-net and O-net as functions of arrays, on a CPU."""
    pnet, rnet, onet = loaded(weights)
    for network in (pnet, rnet, onet):
        # pooling is three times faster with channels last on a CPU
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    return tuple(map(_of_arrays, (pnet.later, rnet.logits, onet.logits)))


def _of_arrays(network: Callable[[Tensor], tuple[Tensor, ...]]) -> Callable[[Floats32], Floats32]:
    """Return a network of two logits and regressions as a function of arrays."""

    @torch.inference_mode()
    def run(x: Floats32) -> Floats32:
        faces, *rest = network(torch.from_numpy(x))
        return torch.cat([faces[:, 1:] - faces[:, :1], *rest], dim=1).numpy()

    return run
