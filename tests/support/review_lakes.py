"""Lakes for the review page: real small photos, thumbnails, and people made by clustering."""

import hashlib
import io

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.commands.main import main
from pipeline.lake import schema
from pipeline.lake.store import LakeStore, Models
from pipeline.people.store import People
from tests.support.lakes import archive

HOSTILE = [
    "<script>document.title='ran'</script>",
    '"><img src=x onerror="document.title=\'ran\'">',
    "'; alert(1) //",
    "../../etc/passwd",
    "{{ 7777 * 7777 }} {% raw %} ${7777*7777}",
    "javascript:alert(1)",
    "שלום עולם",
    "👩‍👧‍👦 Zoë",
    "n" * 200,
]


def jpeg(seed, size=(120, 100)):
    random = np.random.default_rng(seed)
    small = random.integers(40, 220, (10, 12, 3), dtype=np.uint8)
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x010F] = "Secret camera"
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(out, "JPEG", exif=exif)
    return out.getvalue()


def review_lake(
    folder, people=6, each=6, names=None, thumbnails=True, cluster=True, vectors=None, options=(),
    address=None,
):  # fmt: skip
    """Write photos and a lake of them, one face each, and cluster it.

    `names` are the names of files, used in turn with a number in front; `vectors` are those of the
    faces, instead of `people`; `options` are for `facelake cluster`; `address` is where the photos
    will be, instead of where they are written.
    """
    photos = folder / "photos"
    photos.mkdir(parents=True)
    if vectors is None:
        vectors, _ = archive(people, each)
    lake = LakeStore(str(folder / "lake"))
    dimension = vectors.shape[1]
    lake.claim(Models("mtcnn@1", "sface@fb143eea0783", dimension))
    images, faces = [], []
    for at, vector in enumerate(vectors):
        name = names[at % len(names)] if names else "photo"
        path = photos / f"{at:03}-{name.replace('/', '_')[:120]}.jpg"
        data = jpeg(at)
        path.write_bytes(data)
        uri = str(path) if len(name) < 1000 else f"{photos}/{at}-{name}"
        uri = f"{address}/{path.name}" if address else uri
        image = hashlib.blake2b(uri.encode(), digest_size=16).hexdigest()
        common = {"image_id": image, "uri": uri, "run_id": "r"}
        images.append({**common, "shard": name, "sha256": hashlib.sha256(data).hexdigest(),
                       "bytes": len(data), "width": 120, "height": 100, "format": "JPEG",
                       "orientation": 1, "faces": 1, "camera": name})  # fmt: skip
        faces.append({
            **common, "face_id": f"{image}-0", "box": [30.0, 20.0, 80.0, 80.0],
            "landmarks": [45.0, 40, 65, 40, 55, 55, 48, 65, 62, 65], "score": 0.99,
            "size_px": 50.0, "sharpness": 100.0, "yaw": 0.0, "quality": 0.9,
            "embedding": vector.tolist(), "embedding_norm": 10.0, "detector": "mtcnn@1",
            "embedder": "sface@fb143eea0783",
            "thumbnail": jpeg(1000 + at, (112, 112)) if thumbnails else None,
        })  # fmt: skip
    lake.publish_part(pa.Table.from_pylist(images, schema.IMAGES),
                      pa.Table.from_pylist(faces, schema.faces_schema(dimension)))  # fmt: skip
    if cluster:
        again(folder, *options)
    return People(lake)


def again(folder, *options):
    """Cluster the lake."""
    assert main(["cluster", str(folder / "lake"), "--ray", "never", *options]) == 0
