"""The settings of a clustering."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pipeline.clustering.algorithms.linkage import SAME_PHOTO_PENALTY
from pipeline.clustering.algorithms.tiers import TierConfig
from pipeline.options import Option, check_bounds

SEARCH, EVIDENCE = "search for neighbours", "evidence and quality"


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """How faces become people."""

    # fmt: off
    threshold: Annotated[float | None, Option(
        "similarity that makes one person, whatever the sizes of the groups", "COSINE",
        above=-1, below=1, unset="calibrated on this lake")] = None
    full: Annotated[bool, Option("make all people again; ids survive")] = False
    device: Annotated[Literal["cpu", "cuda"], Option("where neighbours are searched")] = "cpu"
    neighbours: Annotated[int, Option("neighbours of a face that are looked at", "K", least=2,
        group=SEARCH)] = 32
    probes: Annotated[int, Option("cells that are searched for them", "P", least=1,
        group=SEARCH)] = 8
    exact_below: Annotated[int, Option("fewer faces than this are all compared", "N", least=0,
        group=SEARCH)] = 200_000
    penalty: Annotated[float, Option("what a photo that shows both takes from their similarity",
        "COSINE", name="same_photo_penalty", least=0, most=1,
        group=EVIDENCE)] = SAME_PHOTO_PENALTY
    margin: Annotated[float, Option(
        "by how much a weak face must prefer its person to the next", "COSINE", least=0,
        most=1, group=EVIDENCE)] = 0.05
    tiers: Annotated[TierConfig, EVIDENCE] = field(default_factory=TierConfig)
    # fmt: on

    def __post_init__(self) -> None:
        """Check ranges."""
        check_bounds(self)
