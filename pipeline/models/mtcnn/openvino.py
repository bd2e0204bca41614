"""MTCNN's networks as OpenVINO models; the same layers as in `networks`, without torch.

A softmax of two is the sigmoid of their difference, so each model gives that difference first,
then what it regresses.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.arrays import Floats32
from pipeline.models.mtcnn.cascade import ONET_SIDE, RNET_SIDE
from pipeline.models.openvino.graph import Builder

Weights = Mapping[str, Floats32]
Layer = tuple[Floats32, Floats32]

LAST_SIDE = 3  # of the maps that R-net's and O-net's dense layers see
FEATURES = 10


def propose_model(pnet: Weights) -> Any:
    """Return P-net's later layers, features [1, 10, H, W] to [1, 5, H - 4, W - 4]."""
    build = Builder([-1, FEATURES, -1, -1])
    x = build.convolution(build.input, *layer(pnet, "conv2"), prelu=pnet["prelu2.weight"])
    x = build.convolution(x, *layer(pnet, "conv3"), prelu=pnet["prelu3.weight"])
    faces, shift = difference(layer(pnet, "conv4_1")), layer(pnet, "conv4_2")
    return build.model([build.convolution(x, *faces), build.convolution(x, *shift)])


def refine_model(rnet: Weights) -> Any:
    """Return R-net, crops [N, 3, 24, 24] to [N, 5]."""
    build = Builder([-1, 3, RNET_SIDE, RNET_SIDE])
    x = _pooled(build, build.input, rnet, 1)
    x = _pooled(build, x, rnet, 2)
    x = build.convolution(x, *layer(rnet, "conv3"), prelu=rnet["prelu3.weight"])
    dense = transposed(layer(rnet, "dense4"))
    x = build.dense(build.flat(x), *dense, prelu=rnet["prelu4.weight"])
    heads = [difference(layer(rnet, "dense5_1")), layer(rnet, "dense5_2")]
    return build.model([build.dense(x, *head) for head in heads])


def decide_model(onet: Weights) -> Any:
    """Return O-net, crops [N, 3, 48, 48] to [N, 15]."""
    build = Builder([-1, 3, ONET_SIDE, ONET_SIDE])
    x = _pooled(build, build.input, onet, 1)
    x = _pooled(build, x, onet, 2)
    x = _pooled(build, x, onet, 3, side=2)
    x = build.convolution(x, *layer(onet, "conv4"), prelu=onet["prelu4.weight"])
    dense = transposed(layer(onet, "dense5"))
    x = build.dense(build.flat(x), *dense, prelu=onet["prelu5.weight"])
    heads = [difference(layer(onet, "dense6_1")), layer(onet, "dense6_2"), layer(onet, "dense6_3")]
    return build.model([build.dense(x, *head) for head in heads])


def _pooled(build: Builder, x: Any, weights: Weights, number: int, side: int = 3) -> Any:
    """Add a convolution, its PReLU and a maximum over `side` x `side`."""
    slopes = weights[f"prelu{number}.weight"]
    y = build.convolution(x, *layer(weights, f"conv{number}"), prelu=slopes)
    return build.pool(y, side, ceil=True)


def layer(weights: Weights, name: str) -> Layer:
    """Return weight and bias of a layer."""
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def difference(two: Layer) -> Layer:
    """Return weight and bias of the second output less the first."""
    weight, bias = two
    return weight[1:] - weight[:1], bias[1:] - bias[:1]


def transposed(dense: Layer) -> Layer:
    """Return weight and bias for maps flattened as they lie, channels, rows, columns.

    The layer's own order is columns, rows, channels.
    """
    weight, bias = dense
    maps = weight.reshape(len(weight), LAST_SIDE, LAST_SIDE, -1)
    return maps.transpose(0, 3, 2, 1).reshape(len(weight), -1), bias
