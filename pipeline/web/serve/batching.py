"""Photos of requests that wait at the same time go through the networks together.

A request waits in a line to be decoded, in a process that may die (see `imaging.sandbox`), and
then in a second one for the networks. Whatever waits there when a set of networks is free becomes
one batch; nothing waits for a batch to fill. Networks run in threads: they hold Python's lock for
about a twentieth of the time, and a set takes 300 MB, a process 800 MB (docs/serve.md).
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from pipeline.arrays import Floats32
from pipeline.errors import ImageError
from pipeline.imaging.record import Decoded
from pipeline.imaging.sandbox import Sandbox
from pipeline.models.detector import select
from pipeline.models.faces import face_crops
from pipeline.training.classify import Classifier
from pipeline.web.serve.line import Line
from pipeline.web.serve.metrics import Metrics
from pipeline.web.serve.settings import ServeConfig

# Decoded photos that wait, 3 bytes a pixel: a batch of 16 photos of 4 megapixels.
READY_PIXELS = 64_000_000
END_S = 10


@dataclass(frozen=True)
class Faces:
    """The faces of a photo that are asked for.

    Attributes:
        boxes: float32 [N, 4], x1, y1, x2, y2 in pixels of the upright photo.
        vectors: float32 [N, D].
        found: how many faces the photo has.
    """

    boxes: Floats32
    vectors: Floats32
    found: int


Answer = Callable[[Classifier, Sequence[Faces]], dict[str, Any]]


@dataclass(eq=False)
class Job:
    """A request.

    Attributes:
        photos: encoded, by the name that errors have; emptied once they are decoded.
        one_face: the config's choice among the faces of each photo is enough.
        answer: makes the result of the faces.
        deadline: of the monotonic clock; later nobody waits for the result.
        done: gets the result, or the exception.
    """

    photos: dict[str, bytes]
    one_face: bool
    answer: Answer
    deadline: float
    done: "Future[dict[str, Any]]" = field(default_factory=Future)
    decoded: list[Decoded] = field(default_factory=list)


class Replicas:
    """Sets of a decoder, a detector and an embedder that work off one line of requests.

    Args:
        config: how many, and their limits.
        load: gives a classifier with networks of its own.
        metrics: counts faces and batches.
    """

    def __init__(
        self, config: ServeConfig, load: Callable[[], Classifier], metrics: Metrics
    ) -> None:
        self.config, self._load, self._metrics = config, load, metrics
        self._waiting = Line[Job](config.queue)
        self._ready = Line[Job](READY_PIXELS, config.replicas)
        self._decoders: list[threading.Thread] = []
        self._networks: list[threading.Thread] = []
        metrics.watch(lambda: len(self._waiting) + len(self._ready))

    @property
    def ready(self) -> bool:
        """Whether a set of networks is loaded; others may follow."""
        return bool(self._networks)

    def start(self) -> None:
        """Load the networks and begin to work; this takes seconds.

        Raises:
            FacelakeError: a network cannot be loaded, or is not the model's.
        """
        for _ in range(self.config.replicas):
            classifier = self._load()
            _ = classifier.detector, classifier.embedder
            self._decoders.append(_started(self._decode))
            self._networks.append(_started(partial(self._recognise, classifier)))

    def submit(self, job: Job) -> bool:
        """Let a request wait, if there is room for it."""
        return self._waiting.offer(job)

    def close(self) -> None:
        """Finish what waits, and end."""
        for line, threads in ((self._waiting, self._decoders), (self._ready, self._networks)):
            line.close()
            for thread in threads:
                thread.join(END_S)

    def _decode(self) -> None:
        with Sandbox(self.config.limits) as sandbox:
            while jobs := self._waiting.take():
                for job in jobs:
                    if not job.done.set_running_or_notify_cancel():
                        continue
                    try:
                        job.decoded = [_decoded(sandbox, *one) for one in job.photos.items()]
                    except Exception as error:  # of this request alone
                        job.done.set_exception(error)
                        continue
                    job.photos = {}
                    self._ready.put(job, sum(one.pixels.size // 3 for one in job.decoded))

    def _recognise(self, classifier: Classifier) -> None:
        while jobs := self._ready.take(self.config.batch):
            now = time.monotonic()
            late = [job for job in jobs if job.deadline < now]
            for job in late:
                job.done.set_exception(TimeoutError())
            if len(late) < len(jobs):
                self._answer(classifier, [job for job in jobs if job not in late])

    def _answer(self, classifier: Classifier, jobs: Sequence[Job]) -> None:
        """Give each request its result; what breaks breaks one request alone."""
        try:
            found = faces_of(classifier, jobs, self.config)
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].done.set_exception(error)
            for job in jobs if len(jobs) > 1 else ():
                self._answer(classifier, [job])
            return
        self._metrics.batch.observe(sum(map(len, found)))
        self._metrics.faces.inc(sum(one.found for faces in found for one in faces))
        for job, faces in zip(jobs, found, strict=True):
            job.decoded = []
            try:
                job.done.set_result(job.answer(classifier, faces))
            except Exception as error:
                job.done.set_exception(error)


def faces_of(classifier: Classifier, jobs: Sequence[Job], config: ServeConfig) -> list[list[Faces]]:
    """Return the faces of each photo of each request, from one call of each network."""
    photos = [(job, photo) for job in jobs for photo in job.decoded]
    detected = classifier.detector.detect([photo.pixels for _, photo in photos])
    card = classifier.embedder.card
    chosen = [
        select(faces, config.verify.choice, photo.pixels) if job.one_face else faces
        for (job, photo), faces in zip(photos, detected, strict=True)
    ]
    crops = [
        face_crops(photo.pixels, faces, card)
        for (_, photo), faces in zip(photos, chosen, strict=True)
    ]
    every = np.concatenate(crops)
    vectors = (
        np.asarray(classifier.embedder.embed(every)[0], np.float32)
        if len(every) else np.zeros((0, card.dimension), np.float32)
    )  # fmt: skip
    own = iter(np.split(vectors, np.cumsum([len(one) for one in crops])[:-1]))
    boxes = (
        faces.enlarged(photo.reduced).boxes
        for (_, photo), faces in zip(photos, chosen, strict=True)
    )
    counts = map(len, detected)
    return [[Faces(next(boxes), next(own), next(counts)) for _ in job.decoded] for job in jobs]


def _decoded(sandbox: Sandbox, name: str, data: bytes) -> Decoded:
    try:
        return sandbox.decode(data)[0]
    except ImageError as error:
        raise ImageError(error.code, f"{name}: {error.detail}") from error


def _started(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
