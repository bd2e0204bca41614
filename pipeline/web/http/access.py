"""Who may come in: names of the host, the token, and requests that other web pages send.

Any web page can make a browser send requests to this machine. So the host name must be one of ours
(a rebound name is not), and what changes something or costs time must not come from another site.
"""

import hmac
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pipeline.options import Option, check_bounds, require

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


class RefusedError(Exception):
    """A request that goes no further.

    Attributes:
        status: of HTTP.
        code: for programs, where the status does not say enough.
    """

    def __init__(self, status: int, text: str, code: str = "") -> None:
        super().__init__(text)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Access:
    """Where a server listens, and who may come in.

    Attributes:
        token: the secret that everybody who comes in has.
    """

    # fmt: off
    token: str
    host: Annotated[str, Option(
        "interface to listen on; others than this machine's own need --allow-host", "ADDRESS",
        )] = "127.0.0.1"
    port: Annotated[int, Option("to listen on; 0: a free one", "N", least=0, most=65_535)] = 0
    allowed: Annotated[tuple[str, ...], Option(
        "name by which a reverse proxy is reached, see docs/review.md; may be repeated", "NAME",
        name="allow_host", repeated=True)] = ()
    # fmt: on

    def __post_init__(self) -> None:
        """Check host, port and names."""
        check_bounds(self)
        require(
            self.host in LOOPBACK or bool(self.allowed),
            f"--host {self.host} is reachable from other machines; pictures and names would be "
            "open to them. Put a reverse proxy in front, see docs/review.md, and name it with "
            "--allow-host",
        )
        for name in self.allowed:
            require(bool(_NAME.fullmatch(name)), f"--allow-host {name} is no name of a host")

    @cached_property
    def hosts(self) -> frozenset[str]:
        """Names that the header Host may have, without port."""
        return frozenset({*LOOPBACK, *(name.lower() for name in self.allowed)})

    @property
    def address(self) -> str:
        """Where a browser finds the server."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def is_ours(self, scope: Message) -> bool:
        """Return whether a request names us as its host."""
        hosts = headers(scope, "host")
        return len(hosts) == 1 and host_name(hosts[0]) in self.hosts


def from_another_site(scope: Message) -> bool:
    """Return whether a browser sent a request for a page that is not ours."""
    host = headers(scope, "host")[0].lower()
    return any(
        origin.lower().partition("://")[2] != host for origin in headers(scope, "origin")
    ) or any(site != "same-origin" for site in headers(scope, "sec-fetch-site"))


def host_name(host: str) -> str:
    """Return the name in a header Host, without port and brackets."""
    text = host.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def same(given: str, secret: str) -> bool:
    """Compare in a time that does not show how much of the secret was right."""
    return hmac.compare_digest(given.encode(), secret.encode())


def headers(scope: Message, name: str) -> list[str]:
    """Return all values of a header."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key.decode() == name]


def with_headers(send: Send, fixed: dict[str, str]) -> Send:
    """Return a `send` under which every answer has the fixed headers, in place of its own."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [h for h in message.get("headers", ()) if h[0].decode() not in fixed]
            message["headers"] = [*own, *((k.encode(), v.encode()) for k, v in fixed.items())]
        await send(message)

    return sending
