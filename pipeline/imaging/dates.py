"""Reads dates as programs and cameras write them, well or badly.

No date is guessed: of day and month the order must be known, so that `06/05/2004` is none.
"""

import re
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import NamedTuple

# EXIF 3.0 writes 2004:05:06 07:08:09, XMP 2004-05-06T07:08:09+02:00, IPTC 20040506 and 070809+0200;
# others write slashes, dashes, dots, no seconds, or no time at all.
_DAY = re.compile(
    r"\s*(\d{4})(?:([-:/.])(\d{1,2})\2(\d{1,2})(?!\d)|(\d\d)(\d\d)(?:(?!\d)|(?=\d{4}(?:\d\d)?(?!\d))))"
)
_TIME = re.compile(
    r"[\sT_,:]*(\d{1,2})(?:([:.-])(\d{1,2})(?:\2(\d{1,2})(?:[.,](\d+))?)?|(\d\d)(\d\d)?)(?!\d)"
    r"\s*([AP]M\b)?",
    re.IGNORECASE,
)
_ZONE = re.compile(r"\s*(?:(Z)|([+-])(\d\d):?(\d\d))\s*(?!\d)", re.IGNORECASE)
MOST_OFFSET_MIN = 24 * 60 - 1
LEAP_SECOND = 60


class Moment(NamedTuple):
    """A date as it was found.

    Attributes:
        time: local time, without a zone; midnight where there is no time of day.
        date_only: whether there is no time of day.
        offset_min: local time less UTC in minutes; None where nothing says so.
    """

    time: datetime
    date_only: bool = False
    offset_min: int | None = None


def read_moment(text: str) -> Moment | None:
    """Return the moment that a text names, or None when it is no date, or an impossible one."""
    text = text.split("\0", 1)[0]
    day = _DAY.match(text)
    if day is None:
        return _of_mail(text)
    year, month, date = (int(part) for part in (day[1], day[3] or day[5], day[4] or day[6]))
    rest = text[day.end() :]
    try:
        midnight = datetime(year, month, date)
        if not re.search(r"\d", rest):  # nothing, or the blanks that stand for an unknown time
            return Moment(midnight, date_only=True)
        time = _TIME.match(rest)
        if time is None:
            return None
        return Moment(midnight + _since_midnight(time), False, read_offset(rest[time.end() :]))
    except (ValueError, OverflowError):  # a 13th month, a 25th hour
        return None


def _since_midnight(time: re.Match[str]) -> timedelta:
    hour, minute, second = (
        int(part or 0) for part in (time[1], time[3] or time[6], time[4] or time[7])
    )
    if time[8]:
        if not 1 <= hour <= 12:
            raise ValueError("no hour of a half day")
        hour = hour % 12 + 12 * (time[8].upper() == "PM")
    if (hour, minute, second) == (24, 0, 0):  # ISO 8601: the end of the day
        return timedelta(1)
    if hour > 23 or minute > 59 or second > LEAP_SECOND:
        raise ValueError("no time of day")
    return timedelta(0, min(second, LEAP_SECOND - 1), 0, thousandths(time[5]), minute, hour)


def thousandths(digits: str | None) -> int:
    """Return the milliseconds of a fraction: "5" is half a second, "05" a twentieth."""
    return int(digits[:3].ljust(3, "0")) if digits and digits.isascii() and digits.isdigit() else 0


def read_offset(text: str) -> int | None:
    """Return the minutes that a text like `+02:00` or `Z` names; None when it names none."""
    zone = _ZONE.match(text)
    if zone is None:
        return None
    if zone[1]:
        return 0
    minutes = int(zone[3]) * 60 + int(zone[4])
    if int(zone[4]) > 59 or minutes > MOST_OFFSET_MIN:
        return None
    return -minutes if zone[2] == "-" else minutes


def _of_mail(text: str) -> Moment | None:
    """Read `Thu, 06 May 2004 07:08:09 +0200` (RFC 5322), which PNG recommends, and C's `ctime`."""
    try:
        if not re.search(r"\d{4}", text):  # RFC 5322's years of two digits are guesses
            return None
        time = parsedate_to_datetime(text.strip()[:64])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    offset = time.utcoffset()
    return Moment(
        time.replace(tzinfo=None),
        False,
        None if offset is None else int(offset.total_seconds()) // 60,
    )


def utc(day: str, seconds: float) -> Moment | None:
    """Return the moment of a day and seconds since its midnight in UTC, as GPS has them."""
    moment = read_moment(day)
    if moment is None or not moment.date_only or not 0 <= seconds < 86_401:
        return None
    return Moment(moment.time + timedelta(milliseconds=int(seconds * 1000)), False, 0)
