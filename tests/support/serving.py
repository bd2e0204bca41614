"""The API over networks that know colours instead of faces, for tests that must be fast.

A photo that is mostly red shows Ann, a green one Bob, a blue one a stranger, a grey one nobody; a
photo of two halves shows two faces.
"""

import io
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
from PIL import Image

from pipeline.config import DetectConfig
from pipeline.imaging.geometry import ARCFACE_112
from pipeline.models.cards.card import known_cards
from pipeline.models.detections import Detections
from pipeline.training.classify import Classifier, Told
from pipeline.web.http.server import listening, server_of
from pipeline.web.serve.app import application
from pipeline.web.serve.service import Service
from pipeline.web.serve.settings import ServeConfig
from tests.support.web import Client

TOKEN = "token-of-a-test-of-serve"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
JPEG = BEARER | {"Content-Type": "image/jpeg"}
RED, GREEN, BLUE, GREY = (200, 20, 20), (20, 200, 20), (20, 20, 200), (128, 128, 128)
PEOPLE = ("Ann", "Bob", None)
DIGEST = "0" * 64


def photo(*colours, size=(120, 80), kind="PNG"):
    """Return a picture of vertical stripes, the first of twice the width."""
    image = Image.new("RGB", size, colours[0])
    for k, colour in enumerate(colours[1:], start=1):
        left = size[0] * (k + 1) // (len(colours) + 1)
        image.paste(colour, (left, 0, size[0] * (k + 2) // (len(colours) + 1), size[1]))
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


class Detector:
    """Finds stripes of a colour that is not grey.

    Attributes:
        calls: how many photos each call got.
        gate: calls wait until it is open.
        broken: colours that break it.
    """

    config = DetectConfig()

    def __init__(self):
        self.calls, self.gate, self.broken = [], threading.Event(), ()
        self.gate.set()

    def detect(self, images):
        self.calls.append(len(images))
        assert self.gate.wait(20)
        return [self._one(pixels) for pixels in images]

    def _one(self, pixels):
        row = pixels[0].astype(int)
        edges = [0, *(np.flatnonzero(np.abs(np.diff(row, axis=0)).sum(axis=1) > 90) + 1), len(row)]
        boxes = []
        for left, right in pairwise(edges):
            colour = row[(left + right) // 2]
            if any(np.abs(colour - one).sum() < 30 for one in self.broken):
                raise RuntimeError("a network broke")
            if np.ptp(colour) > 100:
                boxes.append([left, 0, right, len(pixels)])
        n = len(boxes)
        sides = [min(x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes]
        points = [
            ARCFACE_112 * (side / 112) + box[:2] for side, box in zip(sides, boxes, strict=True)
        ]
        return Detections(
            np.array(boxes, np.float32).reshape(n, 4), np.ones(n, np.float32),
            np.array(points, np.float32).reshape(n, 5, 2),
        )  # fmt: skip


class Embedder:
    """A vector is the mean colour of a crop."""

    card = known_cards()["sface"]
    revision = "colours@1"

    def embed(self, crops):
        vectors = np.zeros((len(crops), self.card.dimension), np.float32)
        vectors[:, :3] = crops.mean(axis=(1, 2))
        norms = np.linalg.norm(vectors, axis=1)
        return vectors / norms[:, None], norms


@dataclass
class Colours:
    """A classifier of colours."""

    detector: Detector
    embedder: Embedder

    def tell(self, vectors, boxes):
        told = [
            Told(PEOPLE[k], None, 0.9, tuple(map(float, box)))
            for k, box in zip(vectors[:, :3].argmax(axis=1), boxes, strict=True)
        ]
        return tuple(sorted(told, key=lambda one: one.box[0] - one.box[2]))


def colours(detector=None):
    """Return a classifier that `Service` takes for one of faces."""
    made: Classifier = Colours(detector or Detector(), Embedder())
    return made


@contextmanager
def started(detector=None, load=None, **options):
    """Give a service that is ready; `load` instead of one of colours."""
    options = {"workers": 1, "timeout_s": 20.0} | options
    model = SimpleNamespace(
        digest=DIGEST, labels=["Ann", "Bob"],
        models=SimpleNamespace(detector="stripes@1", embedder="colours@1"),
    )  # fmt: skip
    config = ServeConfig(TOKEN, port=4444, **options)
    service = Service("family", model, config, load or (lambda: colours(detector)))
    service.replicas.start()
    try:
        yield service
    finally:
        service.replicas.close()


@contextmanager
def client(**options):
    """Give a client of a service without a socket."""
    with started(**options) as service:
        made = Client(application(service))
        made.service = service
        yield made


@contextmanager
def on_loopback(service, connection):
    """Give the address of a service on a socket."""
    with listening("127.0.0.1", 0) as made:
        running = server_of(application(service), connection)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [made]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 20
        while not running.started and time.monotonic() < deadline:
            time.sleep(0.02)
        try:
            yield made.getsockname()
        finally:
            running.should_exit = True
            thread.join(20)
