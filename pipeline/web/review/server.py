"""Serves the application on a socket."""

import socket
from collections.abc import Callable

from pipeline.web.http.server import server_of
from pipeline.web.review.app import application
from pipeline.web.review.state import Review


def serve(review: Review, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until somebody interrupts."""
    ready()
    try:
        server_of(application(review)).run(sockets=[listener])
    finally:
        review.close()
