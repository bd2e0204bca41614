"""MTCNN's networks on a CPU, as functions of arrays, in OpenVINO or in torch.

Each returns a logit first, then what it regresses. P-net's first layer is not here: it is done
while levels are made (`kernels.fill_atlas`).

Where the CPU has bfloat16, P-net and R-net first judge everything in bfloat16, then whatever is
near their threshold again in float32. So every answer that counts is a float32 one; only what
bfloat16 puts more than a guard below the threshold is not judged again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats32
from pipeline.models.mtcnn.kernels import FirstLayer
from pipeline.models.mtcnn.openvino import (
    Weights,
    decide_model,
    layer,
    propose_model,
    refine_model,
)
from pipeline.models.runtime import Compiled, has_bfloat16, openvino

Network = Callable[[Floats32], Floats32]

# How far below the threshold of P-net and of R-net, as logits, an answer in bfloat16 may be and is
# still judged again. docs/benchmarks.md has how much bfloat16 was off at most.
PROPOSE_GUARD, REFINE_GUARD = 0.5, 0.5


@dataclass(frozen=True)
class Networks:
    """The three networks.

    Attributes:
        propose: P-net's later layers, features [N, 10, H, W] to [N, 5, H - 4, W - 4].
        refine: R-net, crops [N, 3, 24, 24] to [N, 5].
        decide: O-net, crops [N, 3, 48, 48] to [N, 15]; landmarks are five x, then five y.
        propose_first, refine_first: the same but less exact, to look with first; None: nothing
            is faster than the exact ones.
        first_layer: of P-net.
    """

    propose: Network
    refine: Network
    decide: Network
    propose_first: Network | None
    refine_first: Network | None
    first_layer: FirstLayer


def load_networks(weights: Mapping[str, Weights]) -> Networks:
    """Return the networks in the fastest runtime that there is.

    Args:
        weights: state_dicts by network, "pnet", "rnet" and "onet".
    """
    pnet, rnet, onet = (weights[name] for name in ("pnet", "rnet", "onet"))
    weight, bias = layer(pnet, "conv1")
    first_layer = FirstLayer(np.ascontiguousarray(weight), bias, pnet["prelu1.weight"])
    if openvino() is None:
        from pipeline.models.mtcnn.networks import in_torch  # OpenVINO does without torch

        propose, refine, decide = in_torch(weights)
        return Networks(propose, refine, decide, None, None, first_layer)
    propose, refine = propose_model(pnet), refine_model(rnet)
    half = has_bfloat16()
    return Networks(
        Compiled(propose),
        Compiled(refine),
        Compiled(decide_model(onet)),
        Compiled(propose, "bfloat16") if half else None,
        Compiled(refine, "bfloat16") if half else None,
        first_layer,
    )
