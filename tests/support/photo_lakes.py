"""Lakes of a few photos, each with the faces that a test says."""

import hashlib
import io

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.lake import schema
from pipeline.lake.store import LakeStore, Models

REVISION = "sface@fb143eea0783"


def image_id(name):
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


def face(vector=(1, 0, 0, 0), box=(30, 30, 70, 70), score=0.99, thumbnail=None):
    return {"embedding": [float(v) for v in vector], "box": list(box), "score": score,
            "thumbnail": thumbnail}  # fmt: skip


def thumbnail(seed=0, size=112):
    pixels = np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=85)
    return out.getvalue()


def photo_lake(folder, photos, embedder=REVISION):
    """Write a lake: faces by name of photo, which is 100 x 100; None: it could not be read."""
    lake = LakeStore(str(folder))
    width = next((len(f["embedding"]) for faces in photos.values() for f in faces or []), 4)
    lake.claim(Models("mtcnn@1", embedder, width))
    images = [
        {"image_id": image_id(name), "uri": f"/archive/{name}", "shard": "/archive", "bytes": 5,
         "width": 100, "height": 100, "faces": len(faces or []), "run_id": "r",
         "error": "corrupt" if faces is None else None}
        for name, faces in photos.items()
    ]  # fmt: skip
    rows = [
        {"face_id": f"{image_id(name)}-{k}", "image_id": image_id(name),
         "uri": f"/archive/{name}", "landmarks": [0.0] * 10,
         "size_px": float(min(f["box"][2] - f["box"][0], f["box"][3] - f["box"][1])),
         "detector": "mtcnn@1", "embedder": embedder, "run_id": "r", **f}
        for name, faces in photos.items() for k, f in enumerate(faces or [])
    ]  # fmt: skip
    lake.publish_part(
        pa.Table.from_pylist(images, schema.IMAGES),
        pa.Table.from_pylist(rows, schema.faces_schema(width)),
    )
    return lake
