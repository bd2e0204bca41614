"""The settings of a clustering."""

from dataclasses import dataclass, field

from pipeline.clustering.algorithms.linkage import SAME_PHOTO_PENALTY
from pipeline.clustering.algorithms.threshold import FALSE_NEIGHBOURS
from pipeline.clustering.algorithms.tiers import TierConfig
from pipeline.config import require


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """How faces become people.

    Attributes:
        threshold: cosine above which groups merge, whatever their sizes; None: calibrated.
        false_neighbours: strangers above the threshold that each face may have, on average.
        neighbours: how many neighbours of a face are looked at.
        probes: cells that are searched for them.
        exact_below: fewer faces than this are all compared with each other.
        penalty: what a photo that shows both takes from their similarity.
        margin: by how much a weak face must prefer one person to the next to join.
        tiers: which faces may link.
        full: whether people of an earlier run are made again from their faces.
        device: of torch, for the search: cpu or cuda.
    """

    threshold: float | None = None
    false_neighbours: float = FALSE_NEIGHBOURS
    neighbours: int = 32
    probes: int = 8
    exact_below: int = 200_000
    penalty: float = SAME_PHOTO_PENALTY
    margin: float = 0.05
    tiers: TierConfig = field(default_factory=TierConfig)
    full: bool = False
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Check ranges."""
        require(
            self.threshold is None or -1 < self.threshold < 1,
            f"threshold is {self.threshold}; a cosine lies between -1 and 1",
        )
        require(
            0 < self.false_neighbours <= 100,
            f"false_neighbours is {self.false_neighbours}; give more than 0, at most 100",
        )
        require(self.neighbours >= 2, f"neighbours is {self.neighbours}; it must be 2 or more")
        require(self.probes >= 1, f"probes is {self.probes}; it must be 1 or more")
        require(
            self.exact_below >= 0, f"exact_below is {self.exact_below}; it must not be negative"
        )
        require(0 <= self.penalty <= 1, f"penalty is {self.penalty}; give 0 to 1")
        require(0 <= self.margin <= 1, f"margin is {self.margin}; give 0 to 1")
        require(self.device in ("cpu", "cuda"), f"device is {self.device!r}; choose cpu or cuda")
