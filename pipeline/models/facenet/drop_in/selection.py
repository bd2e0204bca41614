"""Which face of an image is taken, by the four rules of facenet-pytorch."""

from pipeline.arrays import Floats64
from pipeline.errors import ConfigError
from pipeline.imaging import geometry

METHODS = ("largest", "probability", "largest_over_threshold", "center_weighted_size")


def check_method(method: str) -> None:
    """Raise ConfigError unless this is one of the four."""
    if method not in METHODS:
        raise ConfigError(f"selection_method is {method!r}; choose from {', '.join(METHODS)}")


def chosen(
    boxes: Floats64,
    scores: Floats64,
    size: tuple[int, int],
    method: str,
    threshold: float = 0.9,
    center_weight: float = 2.0,
) -> int | None:
    """Return which of `boxes` [N, 4] with `scores` [N] is taken; None: there is none.

    `size` is height and width of the image. Of equal faces the last one is taken, as there.

    Raises:
        ConfigError: no such method.
    """
    check_method(method)
    places = [i for i, score in enumerate(scores) if "over" not in method or score > threshold]
    if method == "probability":
        rank = scores
    elif method == "center_weighted_size":
        rank = geometry.central_areas(boxes, size, center_weight)
    else:
        rank = geometry.areas(boxes)
    return max(places, key=lambda place: (rank[place], place), default=None)
