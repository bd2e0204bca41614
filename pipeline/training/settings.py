"""The settings of training, which are the options of `facelake train`."""

from dataclasses import dataclass
from typing import Annotated

from pipeline.lake.lookup import Which
from pipeline.options import Option, check_bounds
from pipeline.training.algorithms.heads import Kind


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How a head is learnt and measured; see docs/training.md."""

    # fmt: off
    head: Annotated[Kind, Option("logistic: multinomial regression; svm: linear, one against the "
        "rest; centroid: the mean of each person; knn: the nearest faces")] = "logistic"
    face: Annotated[Which, Option("which face of an image a label of --labels belongs to")] = (
        "largest")
    min_images: Annotated[int, Option("people with fewer images are not learnt; they serve as "
        "strangers", "N", least=3, why="two to learn from, one to test")] = 5
    test_share: Annotated[float, Option("of each person's images, at least one", "X", above=0,
        most=0.5)] = 0.25
    false_alarms: Annotated[float, Option("share of strangers who may be taken for somebody, for "
        "the threshold", "X", above=0, below=1)] = 0.01
    cost: Annotated[float, Option("of an error, for logistic and svm; more fits closer", "C",
        above=0)] = 10.0
    neighbours: Annotated[int, Option("faces of a person that are compared, for knn", "K",
        least=1)] = 3
    bootstrap: Annotated[int, Option("samples of the bootstrap intervals, 0 for none", "N",
        least=0)] = 1000
    seed: Annotated[int, Option("of everything that is drawn", "N", least=0)] = 0
    # fmt: on

    def __post_init__(self) -> None:
        """Check ranges."""
        check_bounds(self)
