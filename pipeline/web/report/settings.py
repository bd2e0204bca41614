"""What a report shows, and how much of it."""

from dataclasses import dataclass
from typing import Annotated

from pipeline.options import Option, check_bounds

# A thumbnail is some 4 KB in base64: a page stays near a megabyte, which phones and object
# storage bear.
PER_PAGE = 200
GROUPS_PER_PAGE = 20
# With less confidence a face is more likely somebody else's than not.
DOUBTFUL = 0.5
# Faces that may not link others (small, blurred, turned) need more; those of another copy of the
# same photo have it.
DOUBTFUL_ATTACHED = 0.9

# Suggestions with at least this doubt mark a person; clustering notes many more.
DOUBTFUL_PERSON = 0.5
OTHERS = 5


@dataclass(frozen=True)
class ReportConfig:
    """Bounds of a report; no more previews are begun after `photo_seconds`."""

    # fmt: off
    people: Annotated[int, Option(
        "people who get a page at most, the largest first, and people seen once that are shown",
        "N", least=0)] = 5_000
    photos: Annotated[int, Option("small pictures of photos in all, 0: faces alone", "N",
        least=0)] = 300
    groups: Annotated[int, Option("groups of duplicates shown at most", "N", least=0)] = 2_000
    photo_seconds: float = 120.0
    # fmt: on

    def __post_init__(self) -> None:
        """Check ranges."""
        check_bounds(self)
