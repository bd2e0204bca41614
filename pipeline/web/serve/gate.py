"""The gate in front of the API: it checks who asks, and counts what is answered."""

import time

from fastapi.responses import JSONResponse

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
from pipeline.web.serve.metrics import Metrics
from pipeline.web.serve.settings import ServeConfig

RECOGNISE, VERIFY, HEALTH, METRICS = (
    f"/v1/{name}" for name in ("recognise", "verify", "health", "metrics")
)
ENDPOINTS = frozenset({RECOGNISE, VERIFY, HEALTH, METRICS})
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
CODES = {
    400: "bad_request", 401: "no_token", 403: "other_site", 404: "not_found",
    405: "wrong_method", 408: "body_too_slow", 413: "body_too_large", 415: "wrong_content_type",
    421: "wrong_host", 500: "broken", 504: "timeout",
}  # fmt: skip
RETRY_S = 1


def refusal(refused: RefusedError) -> JSONResponse:
    """Return the answer to a request that was refused."""
    more = {}
    if refused.status == 401:
        more["www-authenticate"] = "Bearer"
    if refused.status == 503:
        more["retry-after"] = str(RETRY_S)
    code = refused.code or CODES[refused.status]
    return JSONResponse({"error": code, "message": str(refused)}, refused.status, more)


class Gate:
    """ASGI middleware; see the top of this module.

    Args:
        app: the guarded application.
        config: says who may come in.
        metrics: count the answers.
    """

    def __init__(self, app: App, config: ServeConfig, metrics: Metrics) -> None:
        self.app, self.config, self.metrics = app, config, metrics

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or let the application do so."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        began, status = time.perf_counter(), 500

        async def counted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        sending = with_headers(counted, HEADERS)
        try:
            self._check(scope)
            await self.app(scope, receive, sending)
        except RefusedError as refused:
            await refusal(refused)(scope, receive, sending)
        finally:
            endpoint = scope["path"] if scope["path"] in ENDPOINTS else "other"
            self.metrics.answered(endpoint, status, time.perf_counter() - began)

    def _check(self, scope: Message) -> None:
        if not self.config.is_ours(scope):
            raise RefusedError(
                421, "This is not the address of this server; ask at the one that facelake serve "
                "printed, or name this one with --allow-host",
            )  # fmt: skip
        if scope["method"] not in ("GET", "HEAD") and from_another_site(scope):
            raise RefusedError(403, "A page of another site sent this; ask from a program")
        if scope["path"] == HEALTH:
            return
        given = headers(scope, "authorization")
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        if scheme.lower() != "bearer" or not same(token.strip(), self.config.token):
            raise RefusedError(
                401, "Send the header Authorization: Bearer TOKEN, with the token of this run of "
                "facelake serve",
            )  # fmt: skip
