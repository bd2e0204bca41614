"""Request bodies: read up to a limit, and parsed as forms."""

import asyncio
import email.message
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from pipeline.web.http.access import Receive, RefusedError

# Faces that can be chosen on one page, and a few fields.
MOST_FIELDS = 20_000
# `email` takes time with the square of a line that is all quotes and semicolons.
HEAD_BYTES = 8192
# A picture of 64 MB takes that long at 0.5 MB/s.
BODY_S = 120.0


@dataclass(frozen=True)
class Form:
    """The fields of a form.

    Attributes:
        values: of each field, in order.
        files: bytes of each file with the name of its field, in order.
    """

    values: dict[str, list[str]] = field(default_factory=dict)
    files: tuple[tuple[str, bytes], ...] = ()

    @property
    def file(self) -> bytes:
        """The last file; empty when there is none."""
        return self.files[-1][1] if self.files else b""

    def one(self, name: str) -> str:
        """Return the first value of a field, empty when there is none."""
        return self.values.get(name, [""])[0]

    def all(self, name: str) -> list[str]:
        """Return all values of a field, each once."""
        return list(dict.fromkeys(self.values.get(name, [])))


async def read_body(
    receive: Receive, declared: str, limit: int, seconds: float | None = None
) -> bytes:
    """Return the body of a request.

    Args:
        receive: gives its parts.
        declared: its header Content-Length, empty without one.
        limit: most bytes.
        seconds: time for it; None: `BODY_S`.

    Raises:
        RefusedError: it is larger than `limit`, ended early, or did not come in time.
    """
    seconds = seconds or BODY_S
    try:
        async with asyncio.timeout(seconds):
            return await _read(receive, declared, limit)
    except TimeoutError:
        raise RefusedError(
            408, f"The data did not come within {seconds:g} seconds; send it faster"
        ) from None


async def _read(receive: Receive, declared: str, limit: int) -> bytes:
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
        raise RefusedError(413, f"More than {limit:,} bytes were sent; send fewer")
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise RefusedError(400, "The request ended early")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise RefusedError(413, f"More than {limit:,} bytes were sent; send fewer")
        if not message.get("more_body", False):
            return b"".join(parts)


def parse(kind: str, body: bytes, most: int = MOST_FIELDS) -> Form:
    """Return the form in a body of content type `kind`, of at most so many fields.

    Raises:
        RefusedError: it is not a form.
    """
    name = kind.split(";")[0].strip().lower()
    try:
        if len(kind) > HEAD_BYTES:
            raise ValueError("a content type that is too long")
        if name == "application/x-www-form-urlencoded":
            return Form(parse_qs(body.decode(), keep_blank_values=True, max_num_fields=most))
        if name == "multipart/form-data":
            return _multipart(kind, body, most)
    except (ValueError, LookupError) as error:
        raise RefusedError(400, "The form cannot be read") from error
    raise RefusedError(415, "Only forms can be sent")


def _multipart(kind: str, body: bytes, most: int) -> Form:
    """Return the parts of a body; the parser of `email` takes minutes for a large picture."""
    boundary = _parameter(f"Content-Type: {kind}", "boundary")
    mark = f"\r\n--{boundary}".encode("latin-1")
    # A mark ends what is before it; the first one stands at the start, without its line break.
    parts = (b"\r\n" + body).split(mark, most + 1)[1:]
    if not boundary or not parts or parts[-1][:2] != b"--":
        raise ValueError("no parts")
    values: dict[str, list[str]] = {}
    files = []
    for part in parts[:-1]:
        head, between, data = part.partition(b"\r\n\r\n")
        if len(head) > HEAD_BYTES:
            raise ValueError("a head of a part that is too long")
        lines = head.decode().split("\r\n")[1:]
        disposition = next(
            (one for one in lines if one.lower().startswith("content-disposition:")), ""
        )
        name = _parameter(disposition, "name")
        if not between or not name:
            raise ValueError("a part without a name")
        if _parameter(disposition, "filename", None) is not None:
            files.append((name, data))
        else:
            values.setdefault(name, []).append(data.decode())
    return Form(values, tuple(files))


def _parameter(line: str, name: str, default: str | None = "") -> str | None:
    header = email.message.Message()
    header["Content-Type"] = line.partition(":")[2].strip() or "x"
    value = header.get_param(name, default)
    return value if isinstance(value, str | None) else value[2]
