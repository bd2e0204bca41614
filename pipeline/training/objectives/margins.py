"""Margins: the cosine to the own class is lowered in training, so that classes move apart.

The norm of a feature tells how good its image is (AdaFace), so margins are given it.
"""

import torch
from torch import Tensor, nn

# The slope of the sine of an angle by its cosine is infinite at 0 and pi; here it is 1,000 at most.
LEAST_SQUARE = 1e-6


class Margin(nn.Module):
    """Cosines to class centres become logits, the own class's with a margin.

    Args:
        scale: factor on all cosines; the inverse of a temperature.
    """

    def __init__(self, scale: float = 64.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, cosine: Tensor, target: Tensor, norms: Tensor) -> Tensor:
        """Return logits, float [N, C].

        Args:
            cosine: of features and class centres, float [N, C]; C may be 0.
            target: column of the own class, int64 [N]; -1 where it is none of the columns, such
                rows have no margin.
            norms: of the features, float [N].
        """
        if not cosine.shape[1]:
            return cosine * self.scale
        column = target.clamp(min=0)[:, None]
        own = cosine.gather(1, column)[:, 0]
        lowered = torch.where(target >= 0, self.lowered(own, norms), own)
        return cosine.scatter(1, column, lowered[:, None]) * self.scale

    def lowered(self, own: Tensor, norms: Tensor) -> Tensor:
        """Return the cosines to the own classes [N], less the margin."""
        raise NotImplementedError

    def update(self, norms: Tensor) -> None:
        """Learn from the norms of a step's global batch; most margins have nothing to learn."""


class NormalisedSoftmax(Margin):
    """No margin: Wang et al., "NormFace", ACM MM 2017."""

    def lowered(self, own: Tensor, norms: Tensor) -> Tensor:
        """See `Margin`."""
        return own


class CosFace(Margin):
    """cos(angle) - margin: Wang et al., "CosFace", CVPR 2018.

    Args:
        scale: see `Margin`.
        margin: off the cosine.
    """

    def __init__(self, scale: float = 64.0, margin: float = 0.35) -> None:
        super().__init__(scale)
        self.margin = margin

    def lowered(self, own: Tensor, norms: Tensor) -> Tensor:
        """See `Margin`."""
        return own - self.margin


class ArcFace(Margin):
    """cos(angle + margin): Deng et al., "ArcFace", CVPR 2019.

    Where angle + margin exceeds pi, where the cosine would rise again, it goes on falling as
    cos(angle) - margin sin(margin). Values and gradients are finite at cosines of 1 and -1, and a
    little beyond.

    Args:
        scale: see `Margin`.
        margin: on the angle, radians, from 0 to pi / 2.
    """

    def __init__(self, scale: float = 64.0, margin: float = 0.5) -> None:
        super().__init__(scale)
        self.margin = margin

    def lowered(self, own: Tensor, norms: Tensor) -> Tensor:
        """See `Margin`."""
        return _turned(own, torch.full_like(own, self.margin))


class AdaFace(Margin):
    """cos(angle - m z) - m z - m, z the normalised norm: Kim et al., "AdaFace", CVPR 2022.

    z is (norm - mean) / deviation times `concentration`, from -1 to 1, without gradient. Poor
    images (z = -1) get ArcFace's margin, good ones more, mostly off the cosine. An angle below 0
    counts as 0; above pi it is ArcFace's extension.

    Mean and deviation are those of the steps *before*: `forward` does not change them. `update`
    does, called once a step with the norms of the whole global batch. So it makes no difference
    how a batch is split among workers or into pieces.

    Args:
        scale: see `Margin`.
        margin: m above.
        concentration: share of the deviation that counts; h in the paper.
    """

    mean: Tensor
    deviation: Tensor
    momentum = 0.99
    bounds = (1e-3, 100.0)  # of norms, as in the authors' code

    def __init__(
        self, scale: float = 64.0, margin: float = 0.4, concentration: float = 0.333
    ) -> None:
        super().__init__(scale)
        self.margin = margin
        self.concentration = concentration
        # where the authors' code starts: wide, so that the first steps have CosFace's margin
        self.register_buffer("mean", torch.tensor(20.0))
        self.register_buffer("deviation", torch.tensor(100.0))

    def lowered(self, own: Tensor, norms: Tensor) -> Tensor:
        """See `Margin`."""
        spread = self.deviation + 1e-3  # epsilon of the authors' code
        z = (norms.detach().clamp(*self.bounds) - self.mean) / spread * self.concentration
        z = z.clamp(-1, 1).to(own.dtype)
        return _turned(own, -self.margin * z) - self.margin * z - self.margin

    @torch.no_grad()
    def update(self, norms: Tensor) -> None:
        """Move mean and deviation towards those of the norms [N] of a step's global batch.

        The deviation needs two norms or more; one alone changes nothing.
        """
        if len(norms) < 2:
            return
        norms = norms.to(self.mean).clamp(*self.bounds)
        self.mean.lerp_(norms.mean(), 1 - self.momentum)
        self.deviation.lerp_(norms.std(), 1 - self.momentum)


def _turned(cosine: Tensor, by: Tensor) -> Tensor:
    """Return the cosines of angles after a turn of `by` radians, kept monotone in the angle.

    Below 0 it is 1; above pi see `ArcFace`.
    """
    sine = (1 - cosine.square()).clamp(min=LEAST_SQUARE).sqrt()
    turned = cosine * by.cos() - sine * by.sin()
    turned = torch.where((by > 0) & (cosine < -by.cos()), cosine - by * by.sin(), turned)
    return torch.where((by < 0) & (cosine > by.cos()), torch.ones_like(turned), turned)
