"""Serves the API on a socket until it is told to end."""

import signal
import socket
import threading

from pipeline.web.http.connections import Connection
from pipeline.web.http.server import server_of
from pipeline.web.serve.app import application
from pipeline.web.serve.service import Service


def serve(service: Service, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM, then finish what runs; for the main thread.

    Networks are loaded meanwhile: requests are refused until they are there.

    Raises:
        FacelakeError: the networks cannot be loaded, or are not the model's.
    """

    class Bounded(Connection):
        most = service.config.connections

    grace_s = int(service.config.timeout_s) + 5
    running = server_of(application(service), Bounded, grace_s)
    failed: list[Exception] = []

    def load() -> None:
        try:
            service.replicas.start()
        except Exception as error:  # raised below, where somebody sees it
            failed.append(error)
            running.should_exit = True

    def stop(*_: object) -> None:
        running.should_exit = True

    # uvicorn has its own handlers while it runs, and repeats the signal for these afterwards
    before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
    loader = threading.Thread(target=load)
    loader.start()
    try:
        running.run(sockets=[listener])
    finally:
        loader.join()
        service.replicas.close()
        for one, handler in before.items():
            signal.signal(one, handler)
    if failed:
        raise failed[0]
