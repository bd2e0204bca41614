"""One thing that was looked at."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that was looked at.

    Attributes:
        group: heading that it stands below.
        name: what was looked at.
        value: what is there.
        advice: what to do about it; empty where nothing is missing.
        necessary: whether Facelake, or what was asked for, does not work as it is.
    """

    group: str
    name: str
    value: str
    advice: str = ""
    necessary: bool = False
