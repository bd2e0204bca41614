"""MTCNN's networks as OpenVINO models; the same layers as in `mtcnn_networks`.

Written down in OpenVINO's operations, because its converter of torch modules reports to its makers
(see `runtime.openvino`). A softmax of two is the sigmoid of their difference, so each model gives
that difference first, then what it regresses.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from pipeline.models.mtcnn_networks import ONET_SIDE, RNET_SIDE, ONet, PNet, RNet
from pipeline.models.runtime import openvino

Floats = npt.NDArray[np.float32]
LAST_SIDE = 3  # of the maps that R-net's and O-net's dense layers see
FEATURES = 10


def propose_model(pnet: PNet) -> Any:
    """Return P-net's later layers, features [1, 10, H, W] to [1, 5, H - 4, W - 4]."""
    build = _Builder([-1, FEATURES, -1, -1])
    x = build.convolution(build.input, *arrays(pnet.conv2), pnet.prelu2)
    x = build.convolution(x, *arrays(pnet.conv3), pnet.prelu3)
    faces, shift = difference(pnet.conv4_1), arrays(pnet.conv4_2)
    return build.model([build.convolution(x, *faces), build.convolution(x, *shift)])


def refine_model(rnet: RNet) -> Any:
    """Return R-net, crops [N, 3, 24, 24] to [N, 5]."""
    build = _Builder([-1, 3, RNET_SIDE, RNET_SIDE])
    x = build.pool(build.convolution(build.input, *arrays(rnet.conv1), rnet.prelu1), 3)
    x = build.pool(build.convolution(x, *arrays(rnet.conv2), rnet.prelu2), 3)
    x = build.convolution(x, *arrays(rnet.conv3), rnet.prelu3)
    x = build.dense(build.flat(x), *transposed(rnet.dense4), rnet.prelu4)
    heads = [difference(rnet.dense5_1), arrays(rnet.dense5_2)]
    return build.model([build.dense(x, *head) for head in heads])


def decide_model(onet: ONet) -> Any:
    """Return O-net, crops [N, 3, 48, 48] to [N, 15]."""
    build = _Builder([-1, 3, ONET_SIDE, ONET_SIDE])
    x = build.pool(build.convolution(build.input, *arrays(onet.conv1), onet.prelu1), 3)
    x = build.pool(build.convolution(x, *arrays(onet.conv2), onet.prelu2), 3)
    x = build.pool(build.convolution(x, *arrays(onet.conv3), onet.prelu3), 2)
    x = build.convolution(x, *arrays(onet.conv4), onet.prelu4)
    x = build.dense(build.flat(x), *transposed(onet.dense5), onet.prelu5)
    heads = [difference(onet.dense6_1), arrays(onet.dense6_2), arrays(onet.dense6_3)]
    return build.model([build.dense(x, *head) for head in heads])


def arrays(layer: nn.Conv2d | nn.Linear) -> tuple[Floats, Floats]:
    """Return weight and bias."""
    assert layer.bias is not None
    return layer.weight.numpy(force=True), layer.bias.numpy(force=True)


def difference(layer: nn.Conv2d | nn.Linear) -> tuple[Floats, Floats]:
    """Return weight and bias of the second output less the first."""
    weight, bias = arrays(layer)
    return weight[1:] - weight[:1], bias[1:] - bias[:1]


def transposed(layer: nn.Linear) -> tuple[Floats, Floats]:
    """Return weight and bias for maps flattened as they lie, channels, rows, columns.

    The layer's own order is columns, rows, channels.
    """
    weight, bias = arrays(layer)
    maps = weight.reshape(len(weight), LAST_SIDE, LAST_SIDE, -1)
    return maps.transpose(0, 3, 2, 1).reshape(len(weight), -1), bias


class _Builder:
    """Writes down a network of one input."""

    def __init__(self, shape: list[int]) -> None:
        found = openvino()
        assert found is not None
        self._model = found.Model
        self._ops = found.opset13
        self.input = self._ops.parameter(shape, np.float32)

    def convolution(
        self, x: Any, weight: Floats, bias: Floats, prelu: nn.PReLU | None = None
    ) -> Any:
        y = self._ops.convolution(x, self._constant(weight), [1, 1], [0, 0], [0, 0], [1, 1])
        return self._finish(y, bias.reshape(1, -1, 1, 1), prelu)

    def dense(self, x: Any, weight: Floats, bias: Floats, prelu: nn.PReLU | None = None) -> Any:
        y = self._ops.matmul(x, self._constant(weight), False, True)
        return self._finish(y, bias[None], prelu)

    def _finish(self, x: Any, bias: Floats, prelu: nn.PReLU | None) -> Any:
        y = self._ops.add(x, self._constant(bias))
        if prelu is None:
            return y
        return self._ops.prelu(y, self._constant(prelu.weight.numpy(force=True)))

    def pool(self, x: Any, side: int) -> Any:
        kernel = [side, side]
        pooled = self._ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], kernel, "ceil")
        return pooled.output(0)

    def flat(self, x: Any) -> Any:
        return self._ops.reshape(x, self._constant(np.array([0, -1])), special_zero=True)

    def model(self, heads: list[Any]) -> Any:
        return self._model([self._ops.concat(heads, 1)], [self.input])

    def _constant(self, value: npt.NDArray[Any]) -> Any:
        return self._ops.constant(np.ascontiguousarray(value))
