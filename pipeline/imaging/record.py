"""What is recorded of an image: the one list that decoding, sandbox, stages and the lake share.

`Decoded` says what the file says, `Fingerprint` what its pixels say. Each of their fields that is
annotated with a `Column` is a column of `images`: a new one is declared here, and computed.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, get_type_hints

from pipeline.arrays import Pixels
from pipeline.imaging.phash import HASH_BYTES

MAX_CAMERA_CHARACTERS = 100
MAX_SOURCE_BYTES = 64
CAMERA_BYTES = 4 * MAX_CAMERA_CHARACTERS  # of UTF-8, at most


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `images`.

    Attributes:
        kind: Arrow type by name; "hash" stands for `HASH_BYTES` bytes.
        receive: returns the value of what the decoding process sent as JSON. It raises ValueError
            or TypeError for what the value cannot be: that process may be in the hands of the
            image that it decoded.
        doc, unit: for people.
        optional: whether the value may be None.
        stored: whether the lake has the column; else stages alone.
    """

    kind: str
    receive: Callable[[Any], Any]
    doc: str
    unit: str = ""
    optional: bool = False
    stored: bool = True


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def receive(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"{value!r} is not within {low} and {high}")
        return value

    return receive


def _text(most_bytes: int) -> Callable[[Any], str]:
    def receive(value: Any) -> str:
        if not isinstance(value, str) or len(value.encode()) > most_bytes:
            raise ValueError("no text, or a long one")
        return value

    return receive


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _moment(value: Any) -> datetime:
    return datetime.fromisoformat(value).replace(tzinfo=None)


def _hash(value: Any) -> bytes:
    data = bytes.fromhex(value)
    if len(data) != HASH_BYTES:
        raise ValueError(f"{len(data)} bytes where {HASH_BYTES} were promised")
    return data


def _measure(value: Any) -> float:
    if type(value) is not float or not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{value!r} is no measure")
    return value


_SIDE = Column("int32", _whole(1, 2**31 - 1), "of the upright image", "pixels")


@dataclass(frozen=True, slots=True)
class Decoded:
    """One decoded image.

    Attributes:
        pixels: uint8 [H, W, 3], RGB, upright, C-contiguous.
        width, height: of the picture; with `reduced` 1 those of `pixels`.
        orientation: 1 to 8; for HEIF and AVIF their own turns.
        taken_at: None when absent or impossible.
        taken_from: see `metadata.DATES`.
        reduced: 1, or 2, 4, 8 where a JPEG was decoded at that part of its size; then `pixels` has
            a side of the picture divided by it, rounded up.
    """

    pixels: Pixels
    width: Annotated[int, _SIDE] = field(default=0, kw_only=True)
    height: Annotated[int, _SIDE] = field(default=0, kw_only=True)
    format: Annotated[
        str,
        Column("string", _text(16), "container format, as Pillow names it: JPEG, PNG, HEIF ..."),
    ]
    orientation: Annotated[
        int, Column("int8", _whole(1, 8), "EXIF orientation that was applied", "1 to 8")
    ]
    taken_at: Annotated[
        datetime | None,
        Column(
            "timestamp[ms]",
            _moment,
            "time of capture, camera's local time where it is known; null when absent",
            optional=True,
        ),
    ]
    taken_from: Annotated[
        str | None,
        Column(
            "string",
            _text(MAX_SOURCE_BYTES),
            "which metadata `taken_at` is from, such as `EXIF DateTimeOriginal`; with `, date "
            "only` where no time of day is known and midnight stands for it",
            optional=True,
        ),
    ] = None
    taken_offset_min: Annotated[
        int | None,
        Column(
            "int16",
            _whole(-24 * 60, 24 * 60),
            "`taken_at` less UTC, where the metadata say; 0 for those that are in UTC, as GPS is",
            "minutes",
            optional=True,
        ),
    ] = None
    camera: Annotated[
        str | None,
        Column(
            "string", _text(CAMERA_BYTES), "EXIF make and model; null when absent", optional=True
        ),
    ] = None
    holds_more: Annotated[
        bool,
        Column(
            "bool",
            _flag,
            "whether the file has further pages or frames, or deeper colours than are looked at",
        ),
    ] = False
    damaged_rows: Annotated[
        int,
        Column(
            "int32",
            _whole(0, 2**31 - 1),
            "rows at the end of the picture, as it is stored, that the file has lost; 0 when it is "
            "whole, at most a quarter",
            "rows",
        ),
    ] = 0
    reduced: Annotated[
        int, Column("int8", _whole(1, 8), "pixels have this part of a side", stored=False)
    ] = 1

    def __post_init__(self) -> None:
        """Take the size from the pixels where nothing else is said."""
        if not self.width:
            object.__setattr__(self, "height", self.pixels.shape[0])
            object.__setattr__(self, "width", self.pixels.shape[1])


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is kept of the pixels of an image.

    Attributes:
        phash_inner: None where there are no bars, or too little inside them for a hash to mean
            something.
        sharpness: see `fingerprint.sharpness`.
    """

    phash: Annotated[
        bytes, Column("hash", _hash, "PDQ perceptual hash of the upright image", "256 bits")
    ]
    phash_quality: Annotated[
        int,
        Column("int8", _whole(0, 100), "PDQ quality; below 50 the hash says little", "0 to 100"),
    ]
    phash_inner: Annotated[
        bytes | None,
        Column(
            "hash",
            _hash,
            "PDQ hash of what lies inside bars of one colour; null when there are none",
            "256 bits",
            optional=True,
        ),
    ]
    phash_turnable: Annotated[
        bytes,
        Column(
            "hash",
            _hash,
            "like PDQ, but made so that its bits tell the hash of the mirrored or turned image",
            "256 bits",
        ),
    ]
    pixels_sha256: Annotated[
        str,
        Column(
            "string",
            lambda value: _hash(value).hex(),
            "of size and pixels of the upright image, whatever the container or metadata",
            "64 hex digits",
        ),
    ]
    sharpness: Annotated[
        float,
        Column("float32", _measure, "variance of the Laplacian of the grey image, in samples"),
    ]


Record = Decoded | Fingerprint


_COLUMNS = {
    kind: {
        name: column
        for name, hint in get_type_hints(kind, include_extras=True).items()
        for column in getattr(hint, "__metadata__", ())
    }
    for kind in (Decoded, Fingerprint)
}


def columns() -> dict[str, Column]:
    """Return the columns of both records by name, in the order of the table."""
    return _COLUMNS[Decoded] | _COLUMNS[Fingerprint]


def values(*records: Record) -> dict[str, Any]:
    """Return what records say by column."""
    return {name: getattr(one, name) for one in records for name in _COLUMNS[type(one)]}


def sent(*records: Record) -> dict[str, Any]:
    """Return what records say as JSON has it."""
    return {name: _as_json(value) for name, value in values(*records).items()}


def _as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, datetime) else value


def received(kind: type[Record], message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a record out of a message, as if the sender meant harm.

    Raises:
        ValueError, TypeError, KeyError: a value is not what the column holds.
    """
    return {
        name: None if column.optional and message[name] is None else column.receive(message[name])
        for name, column in _COLUMNS[kind].items()
    }
