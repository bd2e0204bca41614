"""What a network learns by, put together from the settings."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.training.fit.team import Team
from pipeline.training.objectives import class_head
from pipeline.training.objectives.class_head import ClassHead, SoftmaxHead, gather
from pipeline.training.objectives.distil import Distillation
from pipeline.training.objectives.margins import AdaFace, ArcFace, CosFace
from pipeline.training.objectives.pairs import CentreLoss, triplet_semi_hard
from pipeline.training.settings import NetworkConfig

MARGINS = {"arcface": (ArcFace, 0.5), "cosface": (CosFace, 0.35), "adaface": (AdaFace, 0.4)}
TRIPLET_MARGIN = 0.2


class Learning(nn.Module):
    """The losses of a training.

    Args:
        config: which, and their weights.
        classes: people who are told apart.
        sizes: numbers of a feature, and of the teacher's vectors if there is a teacher.
        team: the workers.
        seed: of what is drawn.
    """

    def __init__(
        self,
        config: NetworkConfig,
        classes: int,
        sizes: tuple[int, int | None],
        team: Team,
        seed: int,
    ) -> None:
        super().__init__()
        dimension, taught = sizes
        self.config, self.team = config, team
        self.head: ClassHead | SoftmaxHead | None = None
        if config.objective == "softmax":
            self.head = SoftmaxHead(classes, dimension, config.smoothing)
        elif config.objective in MARGINS:
            kind, default = MARGINS[config.objective]
            margin = kind(config.scale, default if config.margin is None else config.margin)
            options = class_head.Options(config.rate, config.smoothing, seed)
            self.head = ClassHead(classes, dimension, margin, options, team.group)
        self.centre = CentreLoss(classes, dimension) if config.centre else None
        self.distillation = (
            Distillation(dimension, taught, config.relations) if taught is not None else None
        )
        self._seen: list[tuple[Tensor, Tensor]] = []

    @property
    def own(self) -> list[nn.Parameter]:
        """The parameters of which each worker has others: centres of its classes."""
        return list(self.head.parameters()) if isinstance(self.head, ClassHead) else []

    def begin(self, step: int) -> None:
        """Begin a step."""
        self._seen.clear()
        if isinstance(self.head, ClassHead):
            self.head.sample(step)

    def forward(self, features: Tensor, target: Tensor, teacher: Tensor | None) -> Tensor:
        """Return the loss of a chunk, a scalar.

        Args:
            features: float [N, D], before normalisation.
            target: person of each, int64 [N].
            teacher: vectors [N, T]; None without one.
        """
        self._seen.append((features.detach(), target))
        loss = features.sum() * 0
        if self.head is not None:
            loss = loss + self.head(features, target)
        elif self.config.objective == "triplet":
            margin = TRIPLET_MARGIN if self.config.margin is None else self.config.margin
            loss = loss + triplet_semi_hard(functional.normalize(features), target, margin)
        if self.centre is not None:
            loss = loss + self.config.centre * self.centre(features, target)
        if self.distillation is not None and teacher is not None:
            loss = loss + self.config.distillation * self.distillation(features, teacher)
        return loss

    @torch.no_grad()
    def end(self) -> None:
        """End a step: what learns without gradients sees the whole global batch."""
        margin = self.head.margin if isinstance(self.head, ClassHead) else None
        if not isinstance(margin, AdaFace) and self.centre is None:
            return
        features = gather(torch.cat([one for one, _ in self._seen]), self.team.group)
        target = gather(torch.cat([one for _, one in self._seen]), self.team.group)
        if margin is not None:
            margin.update(features.norm(dim=1))
        if self.centre is not None:
            self.centre.update(features, target)
