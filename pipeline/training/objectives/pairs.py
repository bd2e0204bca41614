"""Losses of distances within a batch, and to centres."""

import torch
from torch import Tensor, nn
from torch.nn import functional


def triplet_semi_hard(unit: Tensor, target: Tensor, margin: float = 0.2) -> Tensor:
    """Return the mean triplet loss of the batch with semi-hard negatives, a scalar.

    Schroff et al., "FaceNet", CVPR 2015. For each anchor and positive, in both orders, the
    negative is the nearest one that is farther than the positive; where none is farther, the
    farthest one, as in TensorFlow's `triplet_semihard_loss`. The loss is max(0, margin + squared
    distance to the positive - that to the negative). Without a positive pair, or a negative, it
    is 0, with a gradient of 0.

    Args:
        unit: unit vectors, float [N, D].
        target: their classes, int64 [N].
        margin: of squared Euclidean distances, which are from 0 to 4.
    """
    with torch.autocast(unit.device.type, enabled=False):
        unit = unit.to(torch.promote_types(unit.dtype, torch.float32))
        squares = unit.square().sum(1)
        distances = (squares[:, None] + squares - 2 * unit @ unit.T).clamp(min=0)
    same = target[:, None] == target
    # N is small, N^3 is not: sorted once, a negative of each pair is found by bisection
    rising = distances.masked_fill(same, torch.inf).sort(dim=1).values
    at = torch.searchsorted(rising.detach(), distances.detach(), right=True)
    nearest = rising.gather(1, at.clamp(max=len(unit) - 1))
    farthest = distances.masked_fill(same, 0).amax(1, keepdim=True)
    negatives = torch.where(nearest.isinf(), farthest, nearest)
    pairs = same & ~same.all(1, keepdim=True)
    pairs = pairs & ~torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    losses = (margin + distances - negatives).clamp(min=0)
    return torch.where(pairs, losses, 0).sum() / pairs.sum().clamp(min=1)


class CentreLoss(nn.Module):
    """Half the mean squared distance of features to the centre of their class.

    Wen et al., "A Discriminative Feature Learning Approach for Deep Face Recognition", ECCV 2016.
    Centres start at 0 and have no gradient: `update` moves them by the paper's rule.

    Args:
        classes: how many.
        dimension: of the features, D.
        alpha: rate of the centres, from 0 to 1.
    """

    centres: Tensor

    def __init__(self, classes: int, dimension: int, alpha: float = 0.5) -> None:
        super().__init__()
        self.alpha = alpha
        self.register_buffer("centres", torch.zeros(classes, dimension))

    def forward(self, features: Tensor, target: Tensor) -> Tensor:
        """Return the loss, a scalar, of features [N, D] and their classes, int64 [N]."""
        return (features - self.centres[target]).square().sum(1).mean() / 2

    @torch.no_grad()
    def update(self, features: Tensor, target: Tensor) -> None:
        """Move each centre by alpha * sum(feature - centre) / (1 + features of the class).

        Call it once a step, on every worker, with the features [N, D] and classes [N] of the
        global batch; centres then stay equal on all workers.
        """
        classes, at = torch.unique(target, return_inverse=True)
        # a product instead of scattered additions, whose order differs from worker to worker
        member = functional.one_hot(at, len(classes)).T.to(self.centres.dtype)
        away = features.to(self.centres.dtype) - self.centres[target]
        self.centres[classes] += self.alpha * (member @ away) / (1 + member.sum(1, keepdim=True))
