"""Greedy non-maximum suppression of many groups at once on a device of torch.

Greedy suppression keeps box i if no better box of its group that is kept overlaps it:

    keep[i] = not any(keep[j] and overlaps[j, i] for j better than i)

This determines `keep`: keep[i] depends on better boxes only, so exactly one vector satisfies it,
and that is what going through the boxes one by one gives. Applying the right side to any start
makes the first box right, then the second, and so on: after t rounds at least the first t boxes
have their final value. When a round changes nothing, the equation holds, so all have. Rounds
needed are as many as the longest chain of boxes of which each decides the next, usually below
ten, while going one by one would take as many steps as there are boxes.

Small groups share square matrices of overlaps, whole groups in each; a group that is larger than a
matrix is done in blocks, best first. So memory is bounded whatever is found, and pairs of boxes
far apart in the ranking are compared only inside large groups.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

# Side of a matrix, and pairs of boxes compared at once, some 30 bytes each.
SIDE, PAIRS = 1024, 1 << 24
# Rounds between two questions whether something changed: a question makes the host wait.
ROUNDS = 4

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Overlap:
    """When two boxes are too much of the same; see `geometry.nms`."""

    threshold: float
    over_smaller: bool = False

    def between(self, better: Tensor, worse: Tensor) -> Tensor:
        """Return bool [..., M, N] for boxes [..., M, 4] and [..., N, 4].

        In float32 and in the order of operations of `geometry.nms`.
        """
        extra = 1.0 if self.over_smaller else 0.0
        one, other = better[..., :, None, :], worse[..., None, :, :]
        width = torch.minimum(one[..., 2], other[..., 2])
        width -= torch.maximum(one[..., 0], other[..., 0])
        shared = torch.minimum(one[..., 3], other[..., 3])
        shared -= torch.maximum(one[..., 1], other[..., 1])
        if extra:
            width += extra
            shared += extra
        shared.clamp_(min=0).mul_(width.clamp_(min=0))
        del width
        first, second = (
            (x[..., 2] - x[..., 0] + extra) * (x[..., 3] - x[..., 1] + extra) for x in (one, other)
        )
        whole = torch.minimum(first, second) if self.over_smaller else first + second - shared
        # an empty box overlaps nothing
        return (shared / whole > float(np.float32(self.threshold))) & (whole > 0)


def suppress(boxes: Tensor, scores: Tensor, group: Tensor, groups: int, overlap: Overlap) -> Tensor:
    """Return indices that `geometry.nms` keeps inside each group: by group, best score first.

    Args:
        boxes: float32 [N, 4].
        scores: float32 [N]; equal ones keep their order.
        group: int64 [N].
        groups: number of groups.
        overlap: what may not stay together.
    """
    if not len(boxes):
        return group
    order = torch.argsort(scores, descending=True, stable=True)
    order = order[torch.argsort(group[order], stable=True)]
    boxes, group = boxes[order], group[order]
    sizes: list[int] = torch.bincount(group, minlength=groups).tolist()
    # one more than boxes: what pads a matrix is written there
    keep = torch.ones(len(boxes) + 1, dtype=torch.bool, device=boxes.device)
    together, large = bundles(sizes, SIDE)
    for batch in batches(together, PAIRS):
        _settle(boxes, group, keep, batch, overlap)
    for begin, end in large:
        for first in range(begin, end, SIDE):
            last = min(first + SIDE, end)
            step = max(1, PAIRS // SIDE)
            for start in range(begin, first, step):
                prior = slice(start, min(start + step, first))
                over = overlap.between(boxes[prior], boxes[first:last])
                keep[first:last] &= ~(over & keep[prior, None]).any(dim=0)
            _settle(boxes, group, keep, [(first, last)], overlap)
    return order[keep[:-1]]


def bundles(sizes: list[int], side: int) -> tuple[list[Span], list[Span]]:
    """Return spans of whole groups, of `side` boxes at most, and spans of larger groups.

    `sizes` are of groups that follow each other. Groups of one box have nothing to suppress.
    """
    together: list[Span] = []
    large: list[Span] = []
    ends = np.cumsum([0, *sizes]).tolist()
    for begin, end in pairwise(ends):
        if end - begin > side:
            large.append((begin, end))
        elif end - begin > 1:
            if together and end - together[-1][0] <= side:
                together[-1] = (together[-1][0], end)
            else:
                together.append((begin, end))
    return together, large


def batches(spans: list[Span], pairs: int) -> Iterator[list[Span]]:
    """Yield spans, longest first, so many that their matrices hold at most `pairs`, or one."""
    spans = sorted(spans, key=lambda span: span[0] - span[1])
    while spans:
        length = spans[0][1] - spans[0][0]
        count = max(1, pairs // length**2)
        yield spans[:count]
        spans = spans[count:]


def _settle(
    boxes: Tensor, group: Tensor, keep: Tensor, spans: list[Span], overlap: Overlap
) -> None:
    """Suppress inside each span among what `keep` still has; the longest span comes first."""
    length = spans[0][1] - spans[0][0]
    table = torch.tensor(spans, device=boxes.device)
    steps = torch.arange(length, device=boxes.device)
    index = table[:, :1] + steps
    inside = index < table[:, 1:]
    index = torch.minimum(index, table[:, 1:] - 1)
    spanned, owner = boxes[index], group[index]
    over = overlap.between(spanned, spanned)
    over &= owner[:, :, None] == owner[:, None, :]
    over &= steps[:, None] < steps  # the better one comes first
    start = keep[index] & inside
    over &= start[:, :, None]
    alive = start
    while True:
        last = alive
        for _ in range(ROUNDS):
            last, alive = alive, start & ~(over & alive[:, :, None]).any(dim=1)
        if torch.equal(last, alive):
            break
    keep.scatter_(0, index.where(inside, len(boxes)).flatten(), alive.flatten())
