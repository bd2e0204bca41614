"""What readers of shards share: a member, a report, and which members are passed over.

Nothing is ever extracted to disk. Readers yield `Member`s and never raise for what a shard holds:
a member that cannot be used carries an error, and damage of the shard as a whole is noted in its
`Report`.
"""

import lzma
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.errors import ErrorCode
from pipeline.sources.identity import Keys
from pipeline.sources.units import archive_kind
from pipeline.sources.walk import is_unopened_archive, reason_to_skip_member
from pipeline.storage.folder import visible

# A hostile name is shown, not repeated whole.
NAME_SHOWN = 200
ERROR_SHOWN = 300
NOTICES = 20


@dataclass(slots=True)
class Member:
    """One image of a shard: its key, its encoded bytes, or why there are none."""

    key: str
    data: bytes | None = None
    error: ErrorCode | None = None
    detail: str = ""
    size: int = -1


@dataclass(slots=True)
class Report:
    """What one unit passed over or found wrong.

    Attributes:
        skipped: members that are no image, by reason.
        notices: what the user should know.
        damage: why images of the shard may be missing; it changes the run's exit code.
        already_in_lake: images that the lake had before.
        images: rows of a shard that were handed on.
        unopened: archives inside an archive, which becomes damage when all is read.
        retries: how often storage was asked again, by kind of failure.
    """

    skipped: Counter[str] = field(default_factory=Counter)
    notices: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    already_in_lake: int = 0
    images: int = 0
    unopened: list[str] = field(default_factory=list)
    retries: Counter[str] = field(default_factory=Counter)

    def note(self, text: str) -> None:
        """Add a notice; a flood of them is cut."""
        if len(self.notices) < NOTICES:
            self.notices.append(text)


Wanted = Callable[[str], bool]


def shown(name: str) -> str:
    """Return a member's name fit for a message."""
    text = visible(name)
    return text if len(text) <= NAME_SHOWN else text[:NAME_SHOWN] + "..."


def error_text(error: BaseException) -> str:
    """Return a library's error about damaged data, fit for a message: it may quote the data."""
    text = visible(str(error)) or type(error).__name__
    return text if len(text) <= ERROR_SHOWN else text[:ERROR_SHOWN] + "..."


def is_unsafe(name: str) -> bool:
    """Return whether a member's name leads out of its archive."""
    parts = name.replace("\\", "/").split("/")
    return (
        name.startswith(("/", "\\")) or ".." in parts or (len(parts[0]) == 2 and parts[0][1] == ":")
    )


def skip(name: str, report: Report) -> bool:
    """Count a member that is no image, and return whether it is passed over."""
    if archive_kind(name) or is_unopened_archive(name):
        report.skipped["archive inside an archive"] += 1
        report.unopened.append(shown(name))
        return True
    reason = reason_to_skip_member(name.replace("\\", "/"))  # some zips of Windows
    if reason:
        report.skipped[reason] += 1
    return reason is not None


def unsafe(key: str, what: str) -> Member:
    """Return the error row of a member that must not be followed."""
    return Member(
        key, error=ErrorCode.UNSAFE_MEMBER, detail=f"{shown(key)} {what}; it was not followed"
    )


def too_many_bytes(key: str, size: int, max_bytes: int) -> Member:
    """Return the error row of an image with more encoded bytes than allowed."""
    return Member(
        key,
        error=ErrorCode.TOO_LARGE,
        detail=f"{size} bytes, more than the {max_bytes} allowed by --max-bytes",
        size=size,
    )


def note_repeated(keys: Keys, report: Report) -> None:
    """Add a notice about members that share a name."""
    if keys.repeated:
        report.note(
            f"{len(keys.repeated)} names occur more than once, each image kept under its own key "
            f"(name@2 ...), the first: {shown(keys.repeated[0])}"
        )


# What archive readers and decompressors raise for damaged data, their own classes apart; tarfile
# takes the ord() of a byte that is not there.
TORN = (
    ValueError,
    TypeError,
    EOFError,
    OverflowError,
    RecursionError,  # a long name of a long name of ...
    struct.error,
    zlib.error,
    lzma.LZMAError,
)
