"""What the API counts, as Prometheus reads it."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
PHOTOS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self._all = CollectorRegistry()
        self.requests = Counter(
            "facelake_requests", "Requests that were answered.", ("endpoint", "status"),
            registry=self._all,
        )  # fmt: skip
        self.seconds = Histogram(
            "facelake_request_seconds", "From the head of a request to its answer.", ("endpoint",),
            registry=self._all, buckets=SECONDS,
        )  # fmt: skip
        self.faces = Counter("facelake_faces", "Faces that were found.", registry=self._all)
        self.batch = Histogram(
            "facelake_batch_photos", "Photos in one call of the networks.",
            registry=self._all, buckets=PHOTOS,
        )  # fmt: skip
        self._queue = Gauge(
            "facelake_queue", "Requests that wait to be decoded or for the networks.",
            registry=self._all,
        )  # fmt: skip

    def watch(self, length: Callable[[], int]) -> None:
        """Ask for the length of the queue whenever the metrics are read."""
        self._queue.set_function(length)

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self.requests.labels(endpoint, str(status)).inc()
        self.seconds.labels(endpoint).observe(seconds)

    def text(self) -> bytes:
        """Return all of them in Prometheus' format."""
        return generate_latest(self._all)
