"""Serves the application on a socket."""

import gc
import socket
from collections.abc import Callable

from pipeline.web.http.server import server_of
from pipeline.web.review.app import application
from pipeline.web.review.state import Review

# Objects made before the garbage collector looks at the youngest, and how often at the others: by
# default it stops everything for a tenth of a second whenever some thousand rows were read.
COLLECT_AFTER = (20_000, 10, 10)


def serve(review: Review, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until somebody interrupts."""
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    ready()
    try:
        server_of(application(review)).run(sockets=[listener])
    finally:
        review.close()
