"""MTCNN's networks as OpenVINO models; the same layers as in `networks`.

A softmax of two is the sigmoid of their difference, so each model gives that difference first,
then what it regresses.
"""

from typing import Any

from torch import nn

from pipeline.arrays import Floats32
from pipeline.models.mtcnn.networks import ONET_SIDE, RNET_SIDE, ONet, PNet, RNet
from pipeline.models.openvino.graph import Builder, arrays

LAST_SIDE = 3  # of the maps that R-net's and O-net's dense layers see
FEATURES = 10


def propose_model(pnet: PNet) -> Any:
    """Return P-net's later layers, features [1, 10, H, W] to [1, 5, H - 4, W - 4]."""
    build = Builder([-1, FEATURES, -1, -1])
    x = build.convolution(build.input, *arrays(pnet.conv2), prelu=pnet.prelu2)
    x = build.convolution(x, *arrays(pnet.conv3), prelu=pnet.prelu3)
    faces, shift = difference(pnet.conv4_1), arrays(pnet.conv4_2)
    return build.model([build.convolution(x, *faces), build.convolution(x, *shift)])


def refine_model(rnet: RNet) -> Any:
    """Return R-net, crops [N, 3, 24, 24] to [N, 5]."""
    build = Builder([-1, 3, RNET_SIDE, RNET_SIDE])
    x = build.pool(
        build.convolution(build.input, *arrays(rnet.conv1), prelu=rnet.prelu1), 3, ceil=True
    )
    x = build.pool(build.convolution(x, *arrays(rnet.conv2), prelu=rnet.prelu2), 3, ceil=True)
    x = build.convolution(x, *arrays(rnet.conv3), prelu=rnet.prelu3)
    x = build.dense(build.flat(x), *transposed(rnet.dense4), prelu=rnet.prelu4)
    heads = [difference(rnet.dense5_1), arrays(rnet.dense5_2)]
    return build.model([build.dense(x, *head) for head in heads])


def decide_model(onet: ONet) -> Any:
    """Return O-net, crops [N, 3, 48, 48] to [N, 15]."""
    build = Builder([-1, 3, ONET_SIDE, ONET_SIDE])
    x = build.pool(
        build.convolution(build.input, *arrays(onet.conv1), prelu=onet.prelu1), 3, ceil=True
    )
    x = build.pool(build.convolution(x, *arrays(onet.conv2), prelu=onet.prelu2), 3, ceil=True)
    x = build.pool(build.convolution(x, *arrays(onet.conv3), prelu=onet.prelu3), 2, ceil=True)
    x = build.convolution(x, *arrays(onet.conv4), prelu=onet.prelu4)
    x = build.dense(build.flat(x), *transposed(onet.dense5), prelu=onet.prelu5)
    heads = [difference(onet.dense6_1), arrays(onet.dense6_2), arrays(onet.dense6_3)]
    return build.model([build.dense(x, *head) for head in heads])


def difference(layer: nn.Conv2d | nn.Linear) -> tuple[Floats32, Floats32]:
    """Return weight and bias of the second output less the first."""
    weight, bias = arrays(layer)
    return weight[1:] - weight[:1], bias[1:] - bias[:1]


def transposed(layer: nn.Linear) -> tuple[Floats32, Floats32]:
    """Return weight and bias for maps flattened as they lie, channels, rows, columns.

    The layer's own order is columns, rows, channels.
    """
    weight, bias = arrays(layer)
    maps = weight.reshape(len(weight), LAST_SIDE, LAST_SIDE, -1)
    return maps.transpose(0, 3, 2, 1).reshape(len(weight), -1), bias
