"""IResNet, the residual network of ArcFace.

Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019, section
3.1: a stem of stride 1 for 112 x 112 faces, four stages of stride 2, the improved residual unit
BN-Conv-BN-PReLU-Conv-BN of Han et al., "Deep Pyramidal Residual Networks", CVPR 2017, and the
output BN-Dropout-FC-BN.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from pipeline.training.networks.network import Chain

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 14, 3)}
WIDTHS = (64, 128, 256, 512)
LAST_SIDE = 7  # of 112 pixels, after four halvings
DROPOUT = 0.4  # as ArcFace was trained


class Unit(nn.Module):
    """The improved residual unit; a 1x1 convolution carries the input where its shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map float [N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        y: Tensor = self.branch(x) + self.shortcut(x)
        return y


def iresnet(blocks: Sequence[int], dimension: int, dropout: float = DROPOUT) -> Chain:
    """Return a network with fresh weights for faces of 112 x 112 pixels.

    Args:
        blocks: residual units of each stage, as in `BLOCKS`.
        dimension: of the features.
        dropout: probability of dropping a value before the last layer, in training mode.
    """
    stem = WIDTHS[0]
    stages: dict[str, list[nn.Module]] = {
        "stem": [nn.Conv2d(3, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem), nn.PReLU(stem)]
    }
    inputs = stem
    for index, (count, width) in enumerate(zip(blocks, WIDTHS, strict=True), start=1):
        more = (Unit(width, width, 1) for _ in range(count - 1))
        stages[f"stage{index}"] = [Unit(inputs, width, 2), *more]
        inputs = width
    stages["embedding"] = [
        nn.BatchNorm2d(inputs),
        nn.Dropout(dropout),
        nn.Flatten(),
        nn.Linear(inputs * LAST_SIDE**2, dimension),
        nn.BatchNorm1d(dimension),
    ]
    return Chain(stages)
