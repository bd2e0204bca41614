"""The review page of a lake, served on loopback in a thread."""

import threading
import time
from contextlib import contextmanager

from pipeline.lake.store import LakeStore
from pipeline.web.http.server import listening, server_of
from pipeline.web.review.app import application
from pipeline.web.review.settings import ReviewConfig
from pipeline.web.review.state import Review

TOKEN = "token-of-a-test"


@contextmanager
def served(folder, read_only=False, options=None):
    """Give the address of the pages, without the token; `options` are those of the storage."""
    with listening("127.0.0.1", 0) as made:
        port = made.getsockname()[1]
        config = ReviewConfig(TOKEN, port=port, read_only=read_only)
        review = Review(LakeStore(str(folder), options), config, options)
        running = server_of(application(review))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [made]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 20
        while not running.started and time.monotonic() < deadline:
            time.sleep(0.02)
        assert running.started, "the server did not start"
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            running.should_exit = True
            thread.join(20)
            review.close()
