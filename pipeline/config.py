"""What a run can be told: frozen dataclasses, checked when they are made."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from pipeline.errors import ConfigError

Selection = Literal["all", "largest", "most-probable", "central"]


def require(holds: bool, message: str) -> None:
    """Raise ConfigError with `message` unless `holds`."""
    if not holds:
        raise ConfigError(message)


@dataclass(frozen=True, slots=True)
class DetectConfig:
    """How faces are searched.

    Attributes:
        min_face_px: side of the smallest face searched, in pixels of the original.
        thresholds: lowest probability that passes P-net, R-net and O-net.
        factor: ratio between levels of the image pyramid.
        selection: which faces of a photo are kept; "central" weighs size against the distance
            from the centre, the others speak for themselves.
        detection_side: longest side in pixels at which faces are searched; a larger photo is
            reduced first, boxes are given in original pixels. None: the photo as it is.
        batch_pixels: pixels of all images searched at once; bounds memory at about 20 bytes each.
    """

    min_face_px: float = 20
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    factor: float = 0.709
    selection: Selection = "all"
    detection_side: int | None = None
    batch_pixels: int = 16_000_000

    def __post_init__(self) -> None:
        """Check ranges."""
        require(self.min_face_px >= 1, f"min_face_px is {self.min_face_px}; it must be 1 or more")
        require(
            len(self.thresholds) == 3 and all(0 <= t <= 1 for t in self.thresholds),
            f"thresholds are {self.thresholds}; give three numbers from 0 to 1",
        )
        require(0 < self.factor < 1, f"factor is {self.factor}; it must lie between 0 and 1")
        require(
            self.selection in get_args(Selection),
            f"selection is {self.selection!r}; choose from {', '.join(get_args(Selection))}",
        )
        require(
            self.detection_side is None or self.detection_side >= 12,
            f"detection_side is {self.detection_side}; it must be 12 or more",
        )
        require(self.batch_pixels > 0, f"batch_pixels is {self.batch_pixels}; it must be positive")
