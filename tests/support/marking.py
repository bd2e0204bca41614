"""Marked faces: models that see nothing, a command that dies, photos that hold names."""

import hashlib
from pathlib import Path

import numpy as np

from pipeline.commands.main import main
from pipeline.lake.moves import replaced
from pipeline.lake.store import parquet_bytes
from pipeline.models.cards.card import find_card
from pipeline.models.detections import Detections
from pipeline.people.xmp.packet import packet
from pipeline.people.xmp.regions import Frame
from tests.support import packets as files

FRAME = Frame(120, 100)
DETECTED, ELSEWHERE = (30.0, 20.0, 80.0, 80.0), (85.0, 50.0, 115.0, 95.0)


class Detector:
    """Sees no face anywhere, or the one in a box."""

    def lenient(self, _):
        return self

    def detect(self, _):
        return Detections.none()


class Embedder:
    """Makes vectors that depend on the crop alone."""

    card = find_card("sface")

    def embed(self, crops):
        seeds = [int(hashlib.sha256(crop.tobytes()).hexdigest()[:8], 16) for crop in crops]
        vectors = np.stack([np.random.default_rng(s).standard_normal(128) for s in seeds])
        norms = np.linalg.norm(vectors, axis=1)
        return (vectors / norms[:, None]).astype(np.float32), norms.astype(np.float32)


class FakeModels:
    detector, embedder = Detector(), Embedder()


class Killed(BaseException):
    pass


def dying(write, writes, before):
    def wrapped(*arguments, **options):
        writes["left"] -= 1
        if before and writes["left"] == 0:
            raise Killed
        done = write(*arguments, **options)
        if writes["left"] == 0:
            raise Killed
        return done

    return wrapped


def forget(people, *options):
    assert main(["forget", people.lake.folder.url, *options, "--yes"]) == 0


def region(name, box, frame=FRAME):
    return frame.region(name, box)


def xmp(*regions, frame=FRAME):
    return packet(list(regions), frame)


def embed(people, photo, *regions, data=None):
    """Write a packet into a photo as if it had been there when it was indexed."""
    before = Path(photo["uri"]).read_bytes()
    data = data or before[:2] + files.segment(0xE1, files.XMP_NAME + xmp(*regions)) + before[2:]
    Path(photo["uri"]).write_bytes(data)
    lake = people.lake
    for name in lake.parts():
        images = lake.read_part("images", name)
        hashes = [hashlib.sha256(data).hexdigest() if row["image_id"] == photo["image_id"]
                  else row["sha256"] for row in images.to_pylist()]  # fmt: skip
        lake.folder.publish(f"images/{name}", parquet_bytes(replaced(images, "sha256", hashes)))
