"""InceptionResnetV1 as an OpenVINO model; the same layers as in `inception_resnet_v1`."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from pipeline.arrays import Floats32
from pipeline.models.cards.card import ModelCard
from pipeline.models.facenet.inception_resnet_v1 import (
    INPUT_SIDE,
    ConvUnit,
    InceptionResnetV1,
    Reduction,
    Residual,
    load_weights,
)
from pipeline.models.openvino.embedder import OpenvinoEmbedder
from pipeline.models.openvino.graph import Builder
from pipeline.models.runtime import Precision
from pipeline.models.weights.checkpoint import read_checkpoint
from pipeline.models.weights.store import sha256


def facenet_embedder(
    card: ModelCard, path: Path, threads: int = 1, precision: Precision | None = None
) -> OpenvinoEmbedder:
    """Return a FaceNet embedder in OpenVINO.

    Raises:
        WeightsError: the file is no checkpoint of this network.
    """
    network = InceptionResnetV1().eval().requires_grad_(False)
    load_weights(network, read_checkpoint(path), str(path))
    revision = f"{card.name}@{sha256(path)[:12]}"
    return OpenvinoEmbedder(card, revision, features_model(network), threads, precision)


def features_model(network: InceptionResnetV1) -> Any:
    """Return the network up to its embedding before normalisation.

    Maps float32 [N, 3, 160, 160] to [N, 512]. Batch norms are folded into their convolutions;
    `network` must be in evaluation mode, its dropout passes everything on.
    """
    build = Builder([-1, 3, INPUT_SIDE, INPUT_SIDE])
    x = build.input
    stem: list[nn.Module] = [network.conv2d_1a, network.conv2d_2a, network.conv2d_2b]
    rest: list[nn.Module] = [
        network.conv2d_3b, network.conv2d_4a, network.conv2d_4b, network.repeat_1,
        network.mixed_6a, network.repeat_2, network.mixed_7a, network.repeat_3, network.block8,
    ]  # fmt: skip
    for part in stem:
        x = _add(build, x, part)
    x = build.pool(x, 3)
    for part in rest:
        x = _add(build, x, part)
    return build.model([build.dense(build.mean(x), *folded(network.last_linear, network.last_bn))])


def _add(build: Builder, x: Any, part: nn.Module) -> Any:
    """Add a part of the network behind `x`."""
    if isinstance(part, ConvUnit):
        weight, bias = folded(part.conv, part.bn)
        stride, padding = part.conv.stride, part.conv.padding
        assert not isinstance(padding, str)
        return build.relu(build.convolution(x, weight, bias, stride=stride, padding=padding))
    if isinstance(part, nn.Sequential):
        for inner in part:
            x = _add(build, x, inner)
        return x
    assert isinstance(part, Residual | Reduction)
    branches = [_add(build, x, part.get_submodule(f"branch{i}")) for i in range(part.width)]
    if isinstance(part, Reduction):
        return build.join([*branches, build.pool(x, 3)])
    weight, bias = arrays(part.conv2d)
    residual = build.convolution(build.join(branches), weight * part.scale, bias * part.scale)
    y = build.add(x, residual)
    return build.relu(y) if part.activate else y


def arrays(layer: nn.Conv2d | nn.Linear) -> tuple[Floats32, Floats32]:
    """Return weight and bias of a layer that has both."""
    assert layer.bias is not None
    return layer.weight.numpy(force=True), layer.bias.numpy(force=True)


def folded(layer: nn.Conv2d | nn.Linear, norm: nn.Module) -> tuple[Floats32, Floats32]:
    """Return weight and bias of a layer without bias and the batch norm behind it, as one.

    y = (Wx - mean) / sqrt(var + eps) * gamma + beta; in float64, rounded once.
    """
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    assert norm.running_var is not None
    assert norm.running_mean is not None
    deviation = np.sqrt(norm.running_var.numpy(force=True).astype(np.float64) + norm.eps)
    scale = norm.weight.numpy(force=True) / deviation
    weight = layer.weight.numpy(force=True)
    bias = norm.bias.numpy(force=True) - norm.running_mean.numpy(force=True) * scale
    shape = [-1] + [1] * (weight.ndim - 1)
    return (weight * scale.reshape(shape)).astype(np.float32), bias.astype(np.float32)
