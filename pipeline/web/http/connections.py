"""The connections of the server: bounded in number and in time.

uvicorn waits for ever for the rest of a request's head, and for a reader that does not read (the
attack "Slowloris", CWE-400); its `limit_concurrency` would answer 503 to everybody meanwhile.
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """One connection; it ends when no request is complete in time, or others need its place.

    Attributes:
        most: connections that are open at once; for the next one the longest idle one is ended.
        wait_s: time for the head of a request, and for taking the last of an answer. A photo of
            1 MB takes that long at 17 kB/s.
    """

    most = 256
    wait_s = 60.0

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait, and make room."""
        super().connection_made(transport)
        self._begin_to_wait()
        if len(self.connections) > self.most:
            idle = [one for one in self.connections if isinstance(one, Connection) and one.idle]
            oldest = min(idle, key=lambda one: one.idle_until)
            self.connections.discard(oldest)
            oldest.transport.abort()

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def idle_until(self) -> float:
        """When it ends if it is idle until then."""
        return self._timer.when() if self._timer else 0.0

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self._begin_to_wait()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        if self._timer:
            self._timer.cancel()
        super().connection_lost(exc)

    def _begin_to_wait(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self.loop.call_later(self.wait_s, self._end)

    def _end(self) -> None:
        if self.idle:
            self.transport.abort()
