"""What a report shows, and how much of it."""

from dataclasses import dataclass

from pipeline.errors import ConfigError

# A thumbnail is some 4 KB in base64: a page stays near a megabyte, which phones and object
# storage bear.
PER_PAGE = 200
GROUPS_PER_PAGE = 20
# Below it, a face is about as likely somebody else's.
DOUBTFUL = 0.5
# Faces that may not link others (small, blurred, turned) have to be surer; those that only repeat
# the face of another copy of the photo are.
DOUBTFUL_ATTACHED = 0.9

# Suggestions that are this near to their threshold mark a person; clustering notes many more.
DOUBTFUL_PERSON = 0.5
OTHERS = 5


@dataclass(frozen=True)
class ReportConfig:
    """Bounds of a report.

    Attributes:
        people: persons who get a page at most, the largest first; likewise persons seen once.
        photos: previews of photos in all, which are read and decoded for it.
        groups: groups of duplicates shown at most.
        photo_seconds: after which no more previews are begun.
    """

    people: int = 5_000
    photos: int = 300
    groups: int = 2_000
    photo_seconds: float = 120.0

    def __post_init__(self) -> None:
        """Refuse bounds below zero.

        Raises:
            ConfigError: one is.
        """
        for name in ("people", "photos", "groups"):
            if getattr(self, name) < 0:
                raise ConfigError(f"--{name} {getattr(self, name)}: give 0 or more")
