"""Which faces may link people, which only join them, and which are left out, and why."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Floats64, Ints
from pipeline.options import Option, check_bounds

CORE, ATTACH, REJECTED = 0, 1, 2
NAMES = ("core", "attach", "rejected")


@dataclass(frozen=True, slots=True)
class TierConfig:
    """Least measures of a face for each tier; the figures are from the ablation in docs/people.md.

    A face that misses one of the first four never links others, it only joins a finished group;
    one that misses one of the last two is left out.
    """

    # fmt: off
    core_score: Annotated[float, Option("detector probability that a face needs to link others",
        "X", least=0, most=1)] = 0.90
    core_px: Annotated[float, Option("size that a face needs to link others", "PX", least=0)] = 24.0
    core_sharpness: Annotated[float, Option("sharpness that a face needs to link others", "X",
        least=0)] = 5.0
    core_yaw: Annotated[float, Option("turn above which a face links nobody", "DEGREES",
        least=0, most=90)] = 75.0
    attach_score: Annotated[float, Option("detector probability below which a face is left out",
        "X", least=0, most=1)] = 0.70
    attach_px: Annotated[float, Option("size below which a face is left out", "PX", least=0)] = 16.0
    # fmt: on

    def __post_init__(self) -> None:
        """Check ranges."""
        check_bounds(self)


@dataclass(frozen=True)
class Tiers:
    """The tier of each face, and why it is not core.

    Attributes:
        tier: `CORE`, `ATTACH` or `REJECTED`, int8 [N].
        reasons: of the faces that are not core.
    """

    tier: npt.NDArray[np.int8]
    reasons: dict[int, str]

    @property
    def core(self) -> Ints:
        """Rows of the core faces."""
        return np.flatnonzero(self.tier == CORE)

    @property
    def weak(self) -> Ints:
        """Rows of the faces that only join a finished group."""
        return np.flatnonzero(self.tier == ATTACH)

    def put(self, row: int, tier: int, reason: str | None) -> None:
        """Change the tier of a face."""
        self.tier[row] = tier
        self.reasons.pop(row, None)
        if reason is not None:
            self.reasons[row] = reason


def tiers_by_measures(
    score: Floats64, size_px: Floats64, sharpness: Floats64, yaw: Floats64, config: TierConfig
) -> Tiers:
    """Return each face's tier by its measures.

    A measure that is not known (NaN) does not speak against a face.
    """
    tests: list[tuple[int, Floats64, float, str]] = [
        (REJECTED, score, config.attach_score, "score below {:g}"),
        (REJECTED, size_px, config.attach_px, "smaller than {:g} px"),
        (ATTACH, score, config.core_score, "score below {:g}"),
        (ATTACH, size_px, config.core_px, "smaller than {:g} px"),
        (ATTACH, sharpness, config.core_sharpness, "sharpness below {:g}"),
        (ATTACH, -np.abs(yaw), -config.core_yaw, "turned away by more than {:g} degrees"),
    ]
    result = Tiers(np.full(len(score), CORE, np.int8), {})
    for tier, values, least, text in tests:
        for row in np.flatnonzero((values < least) & (result.tier == CORE)):
            result.put(int(row), tier, text.format(abs(least)))
    return result
