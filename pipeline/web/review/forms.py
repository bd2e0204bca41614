"""Request bodies: read up to a limit, and parsed as forms."""

import asyncio
import email.message
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
# Faces that can be chosen on one page, and a few fields.
MOST_FIELDS = 20_000
# A picture of 64 MB takes that long at 0.5 MB/s.
BODY_S = 120.0


class BadFormError(Exception):
    """A body that is too large or is not a form; `status` is the HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Form:
    """The fields of a form.

    Attributes:
        values: of each field, in order.
        file: bytes of the file that was sent; empty when there is none.
    """

    values: dict[str, list[str]] = field(default_factory=dict)
    file: bytes = b""

    def one(self, name: str) -> str:
        """Return the first value of a field, empty when there is none."""
        return self.values.get(name, [""])[0]

    def all(self, name: str) -> list[str]:
        """Return all values of a field, each once."""
        return list(dict.fromkeys(self.values.get(name, [])))


async def read_body(receive: Receive, declared: str, limit: int) -> bytes:
    """Return the body of a request.

    Raises:
        BadFormError: it is larger than `limit`, ended early, or did not come in `BODY_S`.
    """
    try:
        async with asyncio.timeout(BODY_S):
            return await _read(receive, declared, limit)
    except TimeoutError:
        raise BadFormError(408, f"The form did not come within {BODY_S:g} seconds") from None


async def _read(receive: Receive, declared: str, limit: int) -> bytes:
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
        raise BadFormError(413, f"More than {limit:,} bytes were sent")
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise BadFormError(400, "The request ended early")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise BadFormError(413, f"More than {limit:,} bytes were sent")
        if not message.get("more_body", False):
            return b"".join(parts)


def parse(kind: str, body: bytes) -> Form:
    """Return the form in a body of content type `kind`.

    Raises:
        BadFormError: it is not a form.
    """
    name = kind.split(";")[0].strip().lower()
    try:
        if name == "application/x-www-form-urlencoded":
            return Form(parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS))
        if name == "multipart/form-data":
            return _multipart(kind, body)
    except (ValueError, LookupError) as error:
        raise BadFormError(400, "The form cannot be read") from error
    raise BadFormError(415, "Only forms can be sent")


def _multipart(kind: str, body: bytes) -> Form:
    """Return the parts of a body; the parser of `email` takes minutes for a large picture."""
    boundary = _parameter(f"Content-Type: {kind}", "boundary")
    mark = f"\r\n--{boundary}".encode("latin-1")
    # A mark ends what is before it; the first one stands at the start, without its line break.
    parts = (b"\r\n" + body).split(mark, MOST_FIELDS)[1:]
    if not boundary or not parts or parts[-1][:2] != b"--":
        raise ValueError("no parts")
    values: dict[str, list[str]] = {}
    file = b""
    for part in parts[:-1]:
        head, between, data = part.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")[1:]
        disposition = next(
            (one for one in lines if one.lower().startswith("content-disposition:")), ""
        )
        name = _parameter(disposition, "name")
        if not between or not name:
            raise ValueError("a part without a name")
        if _parameter(disposition, "filename", None) is not None:
            file = data
        else:
            values.setdefault(name, []).append(data.decode())
    return Form(values, file)


def _parameter(line: str, name: str, default: str | None = "") -> str | None:
    header = email.message.Message()
    header["Content-Type"] = line.partition(":")[2].strip() or "x"
    value = header.get_param(name, default)
    return value if isinstance(value, str | None) else value[2]
