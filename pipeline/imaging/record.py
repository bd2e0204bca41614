"""What is recorded of an image: the one list that decoding, sandbox, stages and the lake share.

`Decoded` says what the file says, `Fingerprint` what its pixels say. Each of their fields that has
a `Column` is a column of `images`. A new one is declared here, and computed where it belongs.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from pipeline.geometry import Pixels
from pipeline.imaging.phash import HASH_BYTES

MAX_CAMERA_CHARACTERS = 100
# A character has at most four bytes in UTF-8.
MAX_CAMERA_BYTES = 4 * MAX_CAMERA_CHARACTERS
MAX_FORMAT_BYTES = 16


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


def _column(
    kind: str, receive: Callable[[Any], Any], doc: str, unit: str = "", optional: bool = False
) -> dict[str, Column]:
    return {"column": Column(kind, receive, doc, unit, optional)}


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


def _hex_hash(value: Any) -> str:
    return _hash(value).hex()


def _measure(value: Any) -> float:
    if type(value) is not float or not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{value!r} is no measure")
    return value


_SIDE = _whole(1, 2**31 - 1)


@dataclass(frozen=True, slots=True)
class Decoded:
    """One decoded image.

    Attributes:
        pixels: uint8 [H, W, 3], RGB, upright, C-contiguous.
        width, height: of the picture, upright; with `reduced` 1 those of `pixels`.
        format: Pillow's name: JPEG, PNG, HEIF ...
        orientation: EXIF orientation that was applied, 1 to 8; for HEIF and AVIF their own turns.
        taken_at: EXIF time of capture, the camera's local time; None when absent or impossible.
        camera: EXIF make and model; None when absent.
        holds_more: whether the file has further pages or frames, or deeper colours.
        reduced: 1, or 2, 4, 8 where a JPEG was decoded at that part of its size; then `pixels` has
            a side of the picture divided by it, rounded up.
    """

    pixels: Pixels
    width: int = field(
        default=0,
        kw_only=True,
        metadata=_column("int32", _SIDE, "of the upright image", "pixels"),
    )
    height: int = field(
        default=0,
        kw_only=True,
        metadata=_column("int32", _SIDE, "of the upright image", "pixels"),
    )
    format: str = field(
        metadata=_column(
            "string",
            _text(MAX_FORMAT_BYTES),
            "container format, as Pillow names it: JPEG, PNG, HEIF ...",
        )
    )
    orientation: int = field(
        metadata=_column("int8", _whole(1, 8), "EXIF orientation that was applied", "1 to 8")
    )
    taken_at: datetime | None = field(
        metadata=_column(
            "timestamp[ms]",
            _moment,
            "EXIF time of capture, camera's local time; null when absent",
            optional=True,
        )
    )
    camera: str | None = field(
        default=None,
        metadata=_column(
            "string",
            _text(MAX_CAMERA_BYTES),
            "EXIF make and model; null when absent",
            optional=True,
        ),
    )
    holds_more: bool = field(
        default=False,
        metadata=_column(
            "bool",
            _flag,
            "whether the file has further pages or frames, or deeper colours than are looked at",
        ),
    )
    reduced: int = field(
        default=1,
        metadata={
            "column": Column("int8", _whole(1, 8), "pixels have this part of a side", stored=False)
        },
    )

    def __post_init__(self) -> None:
        """Take the size from the pixels where nothing else is said."""
        if not self.width:
            object.__setattr__(self, "height", self.pixels.shape[0])
            object.__setattr__(self, "width", self.pixels.shape[1])


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is kept of the pixels of an image.

    Attributes:
        phash: PDQ hash, 32 bytes.
        phash_quality: PDQ quality, 0 to 100.
        phash_inner: PDQ hash of what lies inside bars of one colour; None where there are no bars,
            or too little inside them for a hash to mean something.
        phash_turnable: hash that can be mirrored and turned, 32 bytes.
        pixels_sha256: SHA-256 of the picture's size and of its pixels, 64 hex digits.
        sharpness: see `fingerprint.sharpness`.
    """

    phash: bytes = field(
        metadata=_column("hash", _hash, "PDQ perceptual hash of the upright image", "256 bits")
    )
    phash_quality: int = field(
        metadata=_column(
            "int8", _whole(0, 100), "PDQ quality; below 50 the hash says little", "0 to 100"
        )
    )
    phash_inner: bytes | None = field(
        metadata=_column(
            "hash",
            _hash,
            "PDQ hash of what lies inside bars of one colour; null when there are none",
            "256 bits",
            optional=True,
        )
    )
    phash_turnable: bytes = field(
        metadata=_column(
            "hash",
            _hash,
            "like PDQ, but made so that its bits tell the hash of the mirrored or turned image",
            "256 bits",
        )
    )
    pixels_sha256: str = field(
        metadata=_column(
            "string",
            _hex_hash,
            "of size and pixels of the upright image, whatever the container or metadata",
            "64 hex digits",
        )
    )
    sharpness: float = field(
        metadata=_column(
            "float32", _measure, "variance of the Laplacian of the grey image, in samples"
        )
    )


Record = Decoded | Fingerprint


def columns(*kinds: type[Record]) -> Iterator[tuple[str, Column]]:
    """Yield names and columns of the given records, of both when none is given, in order."""
    for kind in kinds or (Decoded, Fingerprint):
        yield from ((f.name, f.metadata["column"]) for f in fields(kind) if f.metadata)


def values(*records: Record) -> dict[str, Any]:
    """Return what records say by column."""
    return {name: getattr(one, name) for one in records for name, _ in columns(type(one))}


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
        for name, column in columns(kind)
    }
