"""The guard in front of every page: it checks each request, and tells the browser what is allowed.

The host name must be one of ours (see `access`), the cookie must be there (SameSite: requests of
other sites lack it), and a request that changes something must come from our own pages and hold
their secret.
"""

import asyncio
from collections.abc import Iterable
from contextlib import nullcontext
from html import escape
from urllib.parse import parse_qsl, quote, unquote, urlencode

from pipeline.people.log import made_by
from pipeline.storage.folder import visible
from pipeline.web.http.access import (
    App,
    Message,
    Receive,
    RefusedError,
    Send,
    from_another_site,
    headers,
    same,
    with_headers,
)
from pipeline.web.http.forms import parse, read_body
from pipeline.web.review.settings import FORM_BYTES, UPLOAD_BYTES, ReviewConfig

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
MOST_USER = 80


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

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or let the application do so."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        guarded = with_headers(send, HEADERS)
        try:
            login = self._login(scope)
            if login is not None:
                await _answer(guarded, 303, "", login)
                return
            made_by.set(self._user(scope))
            if scope["method"] in ("GET", "HEAD"):
                await self.app(scope, receive, guarded)
                return
            async with self._uploads if scope["path"] == UPLOADS else nullcontext():
                await self._check_change(scope, receive)
                await self.app(scope, receive, guarded)
        except RefusedError as refused:
            await _answer(guarded, refused.status, _page(refused.status, str(refused)))

    def _login(self, scope: Message) -> list[tuple[str, str]] | None:
        """Return headers that log in a browser with the token; None: it has the cookie."""
        if not self.config.is_ours(scope):
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
            for value in _cookies(headers(scope, "cookie"), self.config.cookie_name)
        ):
            raise RefusedError(
                403, "These pages are for whoever started them: open the whole address, with its "
                "token, that facelake review printed in the terminal",
            )  # fmt: skip
        return None

    def _user(self, scope: Message) -> str | None:
        """Return who sits at the browser, as the proxy or a cookie of ours says; None: unknown."""
        said = headers(scope, self.config.user_header.lower()) if self.config.user_header else []
        cookies = _cookies(headers(scope, "cookie"), self.config.me_cookie)
        name = next(iter(said), None) or unquote(next(iter(cookies), ""))
        return visible(name.strip())[:MOST_USER] or None

    async def _check_change(self, scope: Message, receive: Receive) -> None:
        if scope["method"] != "POST":
            raise RefusedError(405, "Only GET and POST are known here")
        if self.config.read_only:
            raise RefusedError(403, "These pages were opened read-only; nothing was changed")
        if from_another_site(scope):
            raise RefusedError(403, "The form is of another site; nothing was changed")
        limit = UPLOAD_BYTES if scope["path"] == UPLOADS else FORM_BYTES
        body = await read_body(receive, "".join(headers(scope, "content-length")), limit)
        form = parse("".join(headers(scope, "content-type")), body)
        if not same(form.one("csrf"), self.config.csrf):
            raise RefusedError(
                403, "The form is not of this run of facelake review; go back, load the page "
                "again, and repeat what you did",
            )  # fmt: skip
        scope.setdefault("state", {})["form"] = form


def _cookies(sent: Iterable[str], name: str) -> Iterable[str]:
    for header in sent:
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


async def _answer(send: Send, status: int, body: str, more: Iterable[tuple[str, str]] = ()) -> None:
    pairs = [("content-type", "text/html; charset=utf-8"), *more]
    start = [(key.encode(), value.encode("latin-1")) for key, value in pairs]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body.encode()})
