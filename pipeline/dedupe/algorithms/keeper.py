"""Which of several copies to keep, and why."""

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.arrays import Floats64, Ints
from pipeline.dedupe.algorithms.pictures import Pictures

# What each rule compares: more is better. Figures that people are shown as equal are equal.
MEASURES: dict[str, Callable[[Pictures], Floats64]] = {
    "whole": lambda p: -p.damaged_rows.astype(float),
    "more": lambda p: p.holds_more.astype(float),
    "original": lambda p: ((p.camera > 0) & np.isfinite(p.taken_ms)).astype(float),
    "bars": lambda p: (~p.has_inner).astype(float),
    "pixels": lambda p: p.area.astype(float),
    # A PNG made of a JPEG is no better than it: what counts is the smallest file of these pixels.
    "compression": lambda p: np.round(bits_a_pixel(p), 2),
    "sharpness": lambda p: np.round(np.nan_to_num(p.sharpness)).astype(float),
    "older": lambda p: -np.nan_to_num(p.taken_ms, nan=np.inf),
    "smaller": lambda p: -p.bytes.astype(float),
    "path": lambda p: -p.path_length.astype(float),
}


def bits_a_pixel(pictures: Pictures) -> Floats64:
    """Return how much of a file a pixel takes."""
    return np.asarray(8.0 * pictures.least_bytes / np.maximum(pictures.area, 1), np.float64)


class Preference:
    """The order of preference among pictures.

    Pictures that somebody chose come first, the latest choice at the top, then those of a
    reference folder; then the rules decide in turn, the id at last.

    Args:
        pictures: all of them.
        prefer: rules, of `MEASURES`.
        chosen: when each was chosen, 0 for never, int64 [N]; None: none was.
    """

    def __init__(
        self, pictures: Pictures, prefer: Sequence[str], chosen: Ints | None = None
    ) -> None:
        self.pictures = pictures
        self.chosen = np.zeros(len(pictures), np.int64) if chosen is None else chosen
        self.measures = {rule: MEASURES[rule](pictures) for rule in prefer}

    def ranks(self) -> Ints:
        """Return the place of each picture, 0 the best; no two share one."""
        ids = np.ascontiguousarray(self.pictures.image_id).view(np.uint64)
        rules = [-values for values in self.measures.values()]
        order = np.lexsort([*ids.T, *reversed(rules), ~self.pictures.reference, -self.chosen])
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        return places

    def reason(self, kept: int, other: int) -> str:
        """Return what `kept` has that `other` has not, for people."""
        if self.chosen[kept] != self.chosen[other]:
            return "was chosen by hand"
        if self.pictures.reference[kept] != self.pictures.reference[other]:
            return "lies in a reference folder"
        for rule, values in self.measures.items():
            if values[kept] != values[other]:
                return describe(rule, self.pictures, kept, other)
        return "is the same in all that is compared, and chosen by its id"


def describe(rule: str, pictures: Pictures, kept: int, other: int) -> str:
    """Return how the kept picture is better by a rule."""
    if rule == "pixels":
        sizes = (f"{pictures.width[i]} x {pictures.height[i]}" for i in (kept, other))
        return "has more pixels ({} against {})".format(*sizes)
    if rule == "compression":
        bits = bits_a_pixel(pictures)[[kept, other]]
        return "is less compressed ({:.2f} against {:.2f} bits a pixel)".format(*bits)
    if rule == "sharpness":
        return "is sharper ({:.0f} against {:.0f})".format(*pictures.sharpness[[kept, other]])
    if rule == "older":
        return "was taken earlier ({} against {})".format(
            *(day(pictures.taken_ms[i]) for i in (kept, other))
        )
    if rule == "smaller":
        return "is the smaller file ({:,} against {:,} bytes)".format(
            *pictures.bytes[[kept, other]]
        )
    if rule == "whole":
        return (
            f"lacks no rows, or fewer ({pictures.damaged_rows[kept]:,} against "
            f"{pictures.damaged_rows[other]:,})"
        )
    return {
        "more": "holds further pages, frames or depth",
        "original": "has the camera's own data",
        "bars": "has no bars around it",
        "path": "has the shorter path",
    }[rule]


def day(taken_ms: float) -> str:
    """Return a time of capture for people."""
    if not np.isfinite(taken_ms):
        return "unknown"
    return str(np.datetime64(int(taken_ms), "ms").astype("datetime64[s]")).replace("T", " ")
