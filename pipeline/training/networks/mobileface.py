"""MobileFaceNet, a network of about a million weights for phones and plain processors.

Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile
Devices", CCBR 2018, table 1, with a longer embedding. 0.22 G multiply-adds a face.
"""

from torch import Tensor, nn

from pipeline.training.networks.network import Chain

LAST_SIDE = 7  # of 112 pixels, after four halvings


def _conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, *, depthwise: bool = False
) -> list[nn.Module]:
    groups = inputs if depthwise else 1
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.PReLU(outputs),
    ]


class Bottleneck(nn.Module):
    """Inverted bottleneck: widen, depthwise convolution, narrow without activation.

    Args:
        inputs: channels.
        outputs: channels; where they are the inputs and the stride is 1, the input is added.
        widen: times the inputs, the channels inside.
        stride: of the depthwise convolution.
    """

    def __init__(self, inputs: int, outputs: int, widen: int, stride: int) -> None:
        super().__init__()
        inside = inputs * widen
        self.branch = nn.Sequential(
            *_conv(inputs, inside, 1),
            *_conv(inside, inside, 3, stride, depthwise=True),
            nn.Conv2d(inside, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map float [N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        y: Tensor = self.branch(x)
        return x + y if self.residual else y


def mobileface(dimension: int) -> Chain:
    """Return a network with fresh weights for faces of 112 x 112 pixels.

    Args:
        dimension: of the features; 128 in the paper.
    """

    def keep(channels: int, count: int) -> list[nn.Module]:
        return [Bottleneck(channels, channels, 2, 1) for _ in range(count)]

    return Chain(
        {
            "stem": [*_conv(3, 64, 3, 2), *_conv(64, 64, 3, depthwise=True)],
            "stage1": [Bottleneck(64, 64, 2, 2), *keep(64, 4)],
            "stage2": [Bottleneck(64, 128, 4, 2), *keep(128, 6)],
            "stage3": [Bottleneck(128, 128, 4, 2), *keep(128, 2)],
            "embedding": [
                *_conv(128, 512, 1),
                nn.Conv2d(512, 512, LAST_SIDE, groups=512, bias=False),
                nn.BatchNorm2d(512),
                nn.Flatten(),
                nn.Linear(512, dimension, bias=False),  # a 1x1 convolution of one pixel
                nn.BatchNorm1d(dimension),
            ],
        }
    )
