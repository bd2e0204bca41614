"""A network learns from the vectors of another one, its teacher."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


def cosine_distance(
    student: Tensor, teacher: Tensor, projection: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Return the mean of 1 - cosine of vectors and the teacher's, a scalar from 0 to 2.

    Args:
        student: float [N, D], of any length.
        teacher: float [N, T], of any length.
        projection: from D to T numbers; without it D is T.
    """
    projected = student if projection is None else projection(student)
    return 1 - functional.cosine_similarity(projected, teacher.detach()).mean()


def relation_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference of the cosines within the batch, a scalar from 0 to 4.

    What counts is how faces lie to one another, so dimensions may differ; 0 after any rotation.
    In the spirit of Park et al., "Relational Knowledge Distillation", CVPR 2019, who compare
    distances and angles of triples by a Huber loss.

    Args:
        student: float [N, D], of any length.
        teacher: float [N, T], of any length.
    """
    with torch.autocast(student.device.type, enabled=False):
        student, teacher = (
            functional.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)))
            for rows in (student, teacher.detach())
        )
        return (student @ student.T - teacher @ teacher.T).square().mean()


class Distillation(nn.Module):
    """`cosine_distance` under a learnt linear projection, and `relation_distance`.

    The projection learns with the network; average its gradients over workers as well.

    Args:
        dimension: of the student's vectors, D.
        teacher_dimension: of the teacher's, T.
        relations: weight of `relation_distance`; 0 leaves it out.
    """

    def __init__(self, dimension: int, teacher_dimension: int, relations: float = 1.0) -> None:
        super().__init__()
        self.projection = nn.Linear(dimension, teacher_dimension, bias=False)
        nn.init.orthogonal_(self.projection.weight)  # keeps what it can of all cosines
        self.relations = relations

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss, a scalar, of features [N, D] and the teacher's vectors [N, T]."""
        loss = cosine_distance(student, teacher, self.projection)
        if self.relations:
            loss = loss + self.relations * relation_distance(student, teacher)
        return loss
