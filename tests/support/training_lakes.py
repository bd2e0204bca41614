"""Lakes of small photos that are there as files, with faces that a network can learn to tell."""

import hashlib
import io

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.imaging.geometry import ARCFACE_112
from pipeline.lake import schema
from pipeline.lake.store import LakeStore, Models
from tests.support.photo_lakes import REVISION, image_id

SIDE, DIMENSION = 128, 16
SHIFT = 8
# A network that is trained on such a lake in seconds.
QUICK = {
    "network": "mobileface", "epochs": 1, "batch": 8, "chunk": 8, "held_out": 0.34, "warmup": 0.5,
    "min_images": 3, "bootstrap": 0, "false_alarms": 0.2,
}  # fmt: skip


def picture(person, k):
    """Return the JPEG of a person's k-th photo: a pattern of its own, and noise."""
    own = np.random.default_rng(person).integers(30, 226, (6, 6, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(own).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    noise = np.random.default_rng((person, k)).normal(0, 12, pixels.shape)
    out = io.BytesIO()
    Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=92)
    return out.getvalue()


def vector(person, k):
    """Return what the lake's embedder makes of it, a unit vector."""
    own = np.random.default_rng((7, person)).normal(size=DIMENSION)
    made = own + np.random.default_rng((8, person, k)).normal(0, 0.3, DIMENSION)
    return (made / np.linalg.norm(made)).astype(np.float32)


def training_lake(folder, people, each, parts=2):
    """Write photos, `photos/PERSON/K.jpg`, and their lake; return it, and the labels by photo."""
    lake = LakeStore(str(folder / "lake"))
    lake.claim(Models("mtcnn@1", REVISION, DIMENSION))
    rows = []
    for person in range(people):
        for k in range(each):
            path = folder / "photos" / f"p{person:02}" / f"{k}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(person, k))
            rows.append((path, person, k))
    for part in range(parts):
        publish(lake, rows[part::parts])
    return lake, {image_id(str(path)): f"p{person:02}" for path, person, _ in rows}


def publish(lake, rows):
    """Add a part of photos: path, person, and number of the person's photo."""
    write(lake, [
        (str(path), str(path.parent), hashlib.sha256(path.read_bytes()).hexdigest(),
         vector(person, k)) for path, person, k in rows
    ])  # fmt: skip


def lake_of_places(folder, places):
    """Write a lake of photos that need not be there, by uri and shard."""
    lake = LakeStore(str(folder))
    lake.claim(Models("mtcnn@1", REVISION, DIMENSION))
    write(lake, [(uri, shard, None, vector(k, 0)) for k, (uri, shard) in enumerate(places)])
    return lake


def write(lake, rows):
    images, faces = [], []
    for uri, shard, sha256, embedding in rows:
        one = image_id(uri)
        images.append(
            {"image_id": one, "uri": uri, "shard": shard, "bytes": 1, "sha256": sha256,
             "width": SIDE, "height": SIDE, "faces": 1, "run_id": "r"}
        )  # fmt: skip
        faces.append(
            {"face_id": f"{one}-0", "image_id": one, "uri": uri,
             "box": [20.0, 20.0, 108.0, 108.0], "score": 0.99, "size_px": 88.0,
             "landmarks": (ARCFACE_112 + SHIFT).ravel().tolist(),
             "embedding": embedding.tolist(), "detector": "mtcnn@1", "embedder": REVISION,
             "run_id": "r"}
        )  # fmt: skip
    lake.publish_part(
        pa.Table.from_pylist(images, schema.IMAGES),
        pa.Table.from_pylist(faces, schema.faces_schema(DIMENSION)),
    )
