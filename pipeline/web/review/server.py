"""Serves the application on a socket."""

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from pipeline.errors import ConfigError
from pipeline.web.review.app import application
from pipeline.web.review.connections import Connection
from pipeline.web.review.state import Review

logger = logging.getLogger(__name__)


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Give a socket that listens, on a free port if `port` is 0.

    Raises:
        ConfigError: the port is taken, or the host is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio switches off Nagle's delays of 40 ms a picture.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"Cannot listen on {host} port {port}: {error.strerror}; give another --port, or "
                "leave it out for a free one"
            ) from error
        opened.listen(128)
        yield opened


def server(review: Review) -> uvicorn.Server:
    """Return a server; addresses hold tokens and names, so requests are not logged."""
    config = uvicorn.Config(
        application(review), log_level="warning", access_log=False, server_header=False,
        date_header=False, proxy_headers=False, ws="none", lifespan="off",
        timeout_graceful_shutdown=5, http=Connection,
        log_config=None,  # errors go the way of all others, which shows control characters
    )  # fmt: skip
    return uvicorn.Server(config)


def serve(review: Review, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until somebody interrupts."""
    ready()
    try:
        server(review).run(sockets=[listener])
    finally:
        review.close()
