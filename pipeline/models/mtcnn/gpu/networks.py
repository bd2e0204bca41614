"""MTCNN's networks on a device of torch: a quick first judgement, and float32 where it counts.

P-net and R-net may judge everything in half precision first, then whatever is near their threshold
again in float32. So every answer that counts is a float32 one; only what half precision puts more
than a guard below the threshold is not judged again. O-net has little to do, all in float32.
"""

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor

from pipeline.arrays import Floats32
from pipeline.models.mtcnn.cascade import logit
from pipeline.models.mtcnn.networks import PNet, loaded
from pipeline.models.mtcnn.runtime import PROPOSE_GUARD, REFINE_GUARD

# In float32 the first judgement differs from the second by its order of operations only.
FLOAT32_GUARD = 1e-3


class DeviceNetworks:
    """The three networks.

    Args:
        weights: state_dicts by network, "pnet", "rnet" and "onet".
        device: where they run.
        first: type of the first judgement. With float32, P-net's is as exact as the second, and
            R-net has none.
    """

    def __init__(
        self,
        weights: Mapping[str, Mapping[str, Floats32]],
        device: torch.device,
        first: torch.dtype,
    ) -> None:
        self.first = first
        pnet, rnet, onet = loaded(weights)
        for network in (pnet, rnet, onet):
            # pooling is three times faster with channels last on a CPU; tensor cores want it too
            network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self._pnet, self._rnet, self._onet = pnet, rnet, onet
        self._pnet_first = deepcopy(pnet).to(first)
        self._rnet_first = None if first == torch.float32 else deepcopy(rnet).to(first)

    def propose_first(self, pixels: Tensor, past: Tensor, threshold: float) -> tuple[Tensor, float]:
        """P-net on an atlas, less exact: logits [H, W], and from which on to judge again."""
        faces, _ = propose(self._pnet_first, pixels.to(self.first), past)
        guard = FLOAT32_GUARD if self.first == torch.float32 else PROPOSE_GUARD
        return difference(faces)[0], logit(threshold) - guard

    def propose(self, pixels: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """P-net on single cells, [N, 3, 12, 12]: logit [N], shift [N, 4]."""
        faces, shift = propose(self._pnet, pixels, past)
        return difference(faces)[:, 0, 0], shift[:, :, 0, 0]

    def refine_first(self, crops: Tensor, threshold: float) -> Tensor | None:
        """R-net on crops [N, 3, 24, 24], less exact: which to judge again, bool [N]; None: all."""
        if self._rnet_first is None:
            return None
        faces, _ = self._rnet_first.logits(crops.to(self.first))
        return difference(faces) >= logit(threshold) - REFINE_GUARD

    def refine(self, crops: Tensor) -> Tensor:
        """R-net on crops [N, 3, 24, 24]: logit and shift, [N, 5]."""
        faces, shift = self._rnet.logits(crops)
        return torch.cat([difference(faces)[:, None], shift], dim=1)

    def decide(self, crops: Tensor) -> Tensor:
        """O-net on crops [N, 3, 48, 48]: logit, shift, five x, five y, [N, 15]."""
        faces, shift, points = self._onet.logits(crops)
        return torch.cat([difference(faces)[:, None], shift, points], dim=1)


def propose(pnet: PNet, pixels: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """P-net on pixels [N, 3, H, W]: two logits [N, 2, h, w] and shift [N, 4, h, w].

    Args:
        pnet: the network.
        pixels: normalised.
        past: bool [N, 1, H - 2, W - 2], positions of the first convolution that do not exist in
            the level. They are taken out after PReLU, whose slopes have both signs: the lowest
            value before it may be the highest after it.
    """
    x = pnet.prelu1(pnet.conv1(pixels)).masked_fill_(past, -torch.inf)
    return pnet.later(pnet.pool1(x))


def difference(faces: Tensor) -> Tensor:
    """Return the logit of the second of two classes, [N, 2, ...] to float32 [N, ...]."""
    faces = faces.float()
    return faces[:, 1] - faces[:, 0]
