"""A server on a socket of this machine."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from pipeline.errors import ConfigError
from pipeline.web.http.access import App
from pipeline.web.http.connections import Connection


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


def server_of(
    app: App, connection: type[Connection] = Connection, grace_s: int = 5
) -> uvicorn.Server:
    """Return a server; addresses hold tokens and names, so requests are not logged.

    Args:
        app: what is served.
        connection: kind of its connections.
        grace_s: time for requests that run when the server is told to end.
    """
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False,
        date_header=False, proxy_headers=False, ws="none", lifespan="off",
        timeout_graceful_shutdown=grace_s, http=connection,
        log_config=None,  # errors go the way of all others, which shows control characters
    )  # fmt: skip
    return uvicorn.Server(config)
