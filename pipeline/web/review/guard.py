"""The guard in front of every page: it checks each request, and tells the browser what is allowed.

Any web page can make a browser send requests to this machine. So the host name must be one of ours
(a rebound name is not), the cookie must be there (SameSite: requests of other sites lack it), and
a request that changes something must come from our own pages and hold their secret.
"""

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import nullcontext
from html import escape
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from pipeline.web.review.forms import BadFormError, Receive, parse, read_body
from pipeline.web.review.settings import FORM_BYTES, UPLOAD_BYTES, ReviewConfig

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
logger = logging.getLogger(__name__)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: browsers then send `Origin: null` with forms, which tells nothing.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
UPLOADS, MOST_UPLOADS = "/search", 2


class RefusedError(Exception):
    """A request that goes no further."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Guard:
    """ASGI middleware; see the top of this module.

    Args:
        app: the guarded application; it finds a checked form as `form` in the state of its scope.
        config: says who may come in.
    """

    def __init__(self, app: App, config: ReviewConfig) -> None:
        self.app = app
        self.config = config
        # Of a picture there are up to four copies in memory.
        self._uploads = asyncio.Semaphore(MOST_UPLOADS)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request, or let the application do so."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                app_headers = [
                    h for h in message.get("headers", ()) if h[0].decode() not in HEADERS
                ]
                headers = [(key.encode(), value.encode()) for key, value in HEADERS.items()]
                message["headers"] = [*app_headers, *headers]
            await send(message)

        try:
            login = self._login(scope)
            if login is not None:
                await _answer(guarded, 303, "", login)
                return
            if scope["method"] in ("GET", "HEAD"):
                await self.app(scope, receive, guarded)
                return
            async with self._uploads if scope["path"] == UPLOADS else nullcontext():
                await self._check_change(scope, receive)
                await self.app(scope, receive, guarded)
        except (RefusedError, BadFormError) as refused:
            await _answer(guarded, refused.status, _page(refused.status, str(refused)))

    def _login(self, scope: MutableMapping[str, Any]) -> list[tuple[str, str]] | None:
        """Return headers that log in a browser with the token; None: it has the cookie."""
        hosts = _headers(scope, "host")
        if len(hosts) != 1 or host_name(hosts[0]) not in self.config.hosts:
            raise RefusedError(
                421, "This is not the address of this page; open the one that was printed when "
                "facelake review started",
            )  # fmt: skip
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        tokens = [value for key, value in query if key == "token"]
        if tokens and scope["method"] == "GET":
            if not same(tokens[0], self.config.token):
                raise RefusedError(
                    403, "The token is of another run; open the address that facelake review "
                    "printed when it was started last",
                )  # fmt: skip
            rest = urlencode([(key, value) for key, value in query if key != "token"])
            path = "/" + quote(scope["path"].lstrip("/"), safe="/-._~")
            cookie = (
                f"{self.config.cookie_name}={self.config.cookie}; Path=/; HttpOnly; SameSite=Strict"
            )
            return [("location", path + (f"?{rest}" if rest else "")), ("set-cookie", cookie)]
        if not any(
            same(value, self.config.cookie)
            for value in _cookies(_headers(scope, "cookie"), self.config.cookie_name)
        ):
            raise RefusedError(
                403, "These pages are for whoever started them: open the whole address, with its "
                "token, that facelake review printed in the terminal",
            )  # fmt: skip
        return None

    async def _check_change(self, scope: MutableMapping[str, Any], receive: Receive) -> None:
        if scope["method"] != "POST":
            raise RefusedError(405, "Only GET and POST are known here")
        if self.config.read_only:
            raise RefusedError(403, "These pages were opened read-only; nothing was changed")
        host = _headers(scope, "host")[0].lower()
        origins = _headers(scope, "origin")
        if any(origin.lower().partition("://")[2] != host for origin in origins):
            raise RefusedError(403, "The form is of another site; nothing was changed")
        if any(site != "same-origin" for site in _headers(scope, "sec-fetch-site")):
            raise RefusedError(403, "The form is of another site; nothing was changed")
        limit = UPLOAD_BYTES if scope["path"] == UPLOADS else FORM_BYTES
        body = await read_body(receive, "".join(_headers(scope, "content-length")), limit)
        form = parse("".join(_headers(scope, "content-type")), body)
        if not same(form.one("csrf"), self.config.csrf):
            raise RefusedError(
                403, "The form is not of this run of facelake review; go back, load the page "
                "again, and repeat what you did",
            )  # fmt: skip
        scope.setdefault("state", {})["form"] = form


def host_name(host: str) -> str:
    """Return the name in a header Host, without port and brackets."""
    text = host.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def same(given: str, secret: str) -> bool:
    """Compare in a time that does not show how much of the secret was right."""
    return hmac.compare_digest(given.encode(), secret.encode())


def _headers(scope: MutableMapping[str, Any], name: str) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.decode() == name]


def _cookies(headers: Iterable[str], name: str) -> Iterable[str]:
    for header in headers:
        for pair in header.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                yield value


def _page(status: int, text: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>{status}</title></head><body>'
        f"<main><h1>Not shown ({status})</h1><p>{escape(text)}</p></main></body></html>"
    )


async def _answer(
    send: Send, status: int, body: str, headers: Iterable[tuple[str, str]] = ()
) -> None:
    pairs = [("content-type", "text/html; charset=utf-8"), *headers]
    start = [(key.encode(), value.encode("latin-1")) for key, value in pairs]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body.encode()})
