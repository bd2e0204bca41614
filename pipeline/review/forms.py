"""Bodies of requests: read up to a limit, and what their forms say."""

import email.parser
import email.policy
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
# Faces that can be chosen on one page, and a few fields.
MOST_FIELDS = 20_000


class BadFormError(Exception):
    """A body that is too large or no form; `status` is what HTTP calls it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Form:
    """What a form says.

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
        BadFormError: it is larger than `limit`, or ended early.
    """
    if declared.isdigit() and int(declared) > limit:
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
        BadFormError: it is none.
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
    head = f"Content-Type: {kind}\r\n\r\n".encode("latin-1")
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    values: dict[str, list[str]] = {}
    file = b""
    for part in message.iter_parts() if message.is_multipart() else ():
        data = part.get_payload(decode=True)
        field_name = part.get_param("name", header="content-disposition")
        if not isinstance(data, bytes) or not isinstance(field_name, str):
            raise ValueError("a part without a name")
        if part.get_filename() is not None:
            file = data
        else:
            values.setdefault(field_name, []).append(data.decode())
    return Form(values, file)
