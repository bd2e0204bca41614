"""What the API answers: requests become jobs, and faces become answers."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from pipeline.errors import NoFaceError
from pipeline.search.verify import Scale, Side
from pipeline.training.classify import Classifier
from pipeline.training.model import HeadModel
from pipeline.web.http.access import RefusedError
from pipeline.web.serve.batching import Answer, Faces, Job, Replicas
from pipeline.web.serve.metrics import Metrics
from pipeline.web.serve.settings import ServeConfig


class Service:
    """A model at work.

    Args:
        name: of the model, which everybody may know.
        model: that tells people.
        config: what requests may cost.
        load: gives a classifier of the model with networks of its own.
    """

    def __init__(
        self, name: str, model: HeadModel, config: ServeConfig, load: Callable[[], Classifier]
    ) -> None:
        self.name, self.model, self.config = name, model, config
        self.metrics = Metrics()
        self.replicas = Replicas(config, load, self.metrics)
        self._inside = 0

    def health(self) -> dict[str, Any]:
        """Return whether it is ready, and what it runs; nothing about people."""
        return {
            "ready": self.replicas.ready,
            "model": {"name": self.name, "digest": self.model.digest},
            "detector": self.model.models.detector,
            "embedder": self.model.models.embedder,
        }

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Let a request in, from its body to its answer; for use in the event loop.

        Raises:
            RefusedError: there is no room for it now.
        """
        if not self.replicas.ready:
            raise RefusedError(503, "The networks are being loaded; ask again soon", "starting")
        if self._inside >= self.config.queue:
            raise _busy()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def recognise(self, photo: bytes) -> dict[str, Any]:
        """Return who is on a photo.

        Raises:
            ImageError: it cannot be decoded.
            RefusedError: it took too long.
        """

        def answer(classifier: Classifier, found: Sequence[Faces]) -> dict[str, Any]:
            (faces,) = found
            told = classifier.tell(faces.vectors, faces.boxes) if faces.found else ()
            return {"faces": [asdict(one) for one in told], "model": self.model.digest}

        return await self._done({"the photo": photo}, False, answer)

    async def verify(self, first: bytes, second: bytes) -> dict[str, Any]:
        """Return whether the chosen faces of two photos are one person.

        Raises:
            ImageError: a photo cannot be decoded.
            NoFaceError: a photo has no face.
            RefusedError: it took too long.
        """

        def answer(classifier: Classifier, found: Sequence[Faces]) -> dict[str, Any]:
            for name, faces in zip("ab", found, strict=True):
                if not faces.found:
                    least = classifier.detector.config.min_face_px
                    raise NoFaceError(
                        f"{name}: no face was found; send a photo in which one can be seen, at "
                        f"least {least:g} pixels wide"
                    )
            embedder = classifier.embedder
            scale = Scale.of(embedder.card, embedder.revision, self.config.verify, None)
            sides = [
                Side(name, None, tuple(faces.boxes[0].tolist()), faces.found)
                for name, faces in zip("ab", found, strict=True)
            ]
            verdict = scale.verdict([faces.vectors[0] for faces in found], sides)
            names = ("same", "similarity", "probability", "threshold")
            return {
                **{name: getattr(verdict, name) for name in names},
                "boxes": {side.name: side.box for side in sides},
                "faces": {side.name: side.faces for side in sides},
                "embedder": verdict.revision,
            }

        return await self._done({"a": first, "b": second}, True, answer)

    async def _done(
        self, photos: dict[str, bytes], one_face: bool, answer: Answer
    ) -> dict[str, Any]:
        limit = self.config.timeout_s
        job = Job(photos, one_face, answer, time.monotonic() + limit)
        if not self.replicas.submit(job):  # of those that were given up some may still be there
            raise _busy()
        try:
            async with asyncio.timeout(limit):
                return await asyncio.wrap_future(job.done)
        except TimeoutError:
            raise RefusedError(
                504, f"It took more than {limit:g} seconds; ask again, or send a smaller photo"
            ) from None


def _busy() -> RefusedError:
    return RefusedError(503, "Too many requests are waiting; ask again soon", "busy")
