"""The settings of a search for copies."""

from dataclasses import dataclass

from pipeline.config import require
from pipeline.imaging.phash import MATCH_BITS

# Rules for what to keep, in words; `keeper.measures` has what each of them compares.
RULES = {
    "more": "further pages or frames, deeper colours",
    "original": "the camera's own data is still in the file",
    "bars": "no bars around it",
    "pixels": "more pixels",
    "compression": "less compressed",
    "sharpness": "sharper",
    "older": "taken or saved earlier",
    "smaller": "smaller file",
    "path": "shorter path",
}
# More bits than this, and strangers come close by chance (128 bits differ on average, deviation 8).
MOST_BITS = 63
# Below it, sign hashes of what is alike and of what is not overlap.
LEAST_COSINE = 0.88


@dataclass(frozen=True, slots=True)
class DedupeConfig:
    """What counts as a copy, and which one is kept.

    Attributes:
        radius: bits by which the hashes of copies may differ.
        mirrored, rotated: whether copies may be mirrored, or turned by quarters.
        crops: whether a picture that lies inside another, by a face that both show, is a copy.
        model: path of an ONNX image embedding with a card; None: none.
        model_cosine: from which its vectors say that two pictures are one.
        prefer: of `RULES`, first the most important.
        reference: starts of places whose pictures are always kept.
        burst_s: seconds between two shots of a burst; 0: times of capture say nothing.
        max_group: pictures of one group, the nearest ones; the rest make groups of their own.
        full: whether all is searched again, rather than what is new.
    """

    radius: int = MATCH_BITS
    mirrored: bool = False
    rotated: bool = False
    crops: bool = False
    model: str | None = None
    model_cosine: float = 0.95
    prefer: tuple[str, ...] = tuple(RULES)
    reference: tuple[str, ...] = ()
    burst_s: float = 2.0
    max_group: int = 1000
    full: bool = False

    def __post_init__(self) -> None:
        """Check ranges."""
        require(
            0 <= self.radius <= MOST_BITS,
            f"radius is {self.radius} bits; it must lie between 0 and {MOST_BITS}: beyond, "
            "pictures of different things are as close",
        )
        require(
            LEAST_COSINE <= self.model_cosine < 1,
            f"model_cosine is {self.model_cosine}; it must lie between {LEAST_COSINE} and 1",
        )
        unknown = [rule for rule in self.prefer if rule not in RULES]
        require(
            bool(self.prefer) and not unknown and len(set(self.prefer)) == len(self.prefer),
            f"prefer is {','.join(self.prefer)}; choose from {', '.join(RULES)}, each once",
        )
        require(self.burst_s >= 0, f"burst_s is {self.burst_s}; it must not be negative")
        require(self.max_group >= 2, f"max_group is {self.max_group}; it must be 2 or more")
        require(all(self.reference), "a reference folder is empty; write . for the current one")
