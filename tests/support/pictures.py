"""Small lakes of pictures for the search for duplicates: decoded files, or rows made up."""

import hashlib
import io
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.errors import ImageError
from pipeline.imaging.fingerprint import fingerprint
from pipeline.lake import schema
from pipeline.lake.store import LakeStore, Models
from tests.support.builders import PHOTOS
from tests.support.decoding import decode

DIMENSION = 8


def photo(name="obama-blue-room.jpg", side=480):
    """Return an example photo, no larger than `side`."""
    image = Image.open(PHOTOS / name).convert("RGB")
    image.thumbnail((side, side))
    return image


def encoded(image, kind="JPEG", quality=90, **options):
    out = io.BytesIO()
    image.save(out, kind, quality=quality, **options)
    return out.getvalue()


def exif(camera="Canon EOS R5", taken="2024:05:01 10:00:00", sub=None):
    block = Image.Exif()
    make, _, model = camera.partition(" ")
    block[0x010F], block[0x0110] = make, model
    block.get_ifd(0x8769)[0x9003] = taken
    if sub is not None:
        block.get_ifd(0x8769)[0x9291] = sub
    return block.tobytes()


def row(uri, **columns):
    """Return a row of `images`; what is not given is as unlike others as can be."""
    image_id = hashlib.blake2b(uri.encode(), digest_size=16).hexdigest()
    base = {
        "image_id": image_id,
        "uri": uri,
        "shard": uri.rsplit("#", 1)[0] if "#" in uri else uri.rsplit("/", 1)[0],
        "sha256": hashlib.sha256(uri.encode()).hexdigest(),
        "pixels_sha256": hashlib.sha256(b"pixels" + uri.encode()).hexdigest(),
        "bytes": 1000,
        "width": 100,
        "height": 80,
        "format": "JPEG",
        "orientation": 1,
        "phash": random_hash(uri),
        "phash_quality": 100,
        "phash_turnable": random_hash(f"turned {uri}"),
        "sharpness": 10.0,
        "faces": 0,
        "run_id": "test",
    }
    return base | columns


def random_hash(seed):
    return hashlib.sha256(str(seed).encode()).digest()


def flipped(phash, bits, seed=0):
    """Return a hash that differs by so many bits."""
    values = np.unpackbits(np.frombuffer(phash, np.uint8))
    values[np.random.default_rng(seed).permutation(256)[:bits]] ^= 1
    return np.packbits(values).tobytes()


def read_row(path, root):
    """Return the row of a file, as `index` would write it."""
    data = Path(path).read_bytes()
    columns = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    try:
        image = decode(data)
    except ImageError as error:
        nothing = dict.fromkeys(
            ["pixels_sha256", "width", "height", "format", "orientation", "phash", "phash_quality",
             "phash_turnable", "sharpness", "faces"]
        )  # fmt: skip
        columns |= nothing | {"error": error.code.value, "error_detail": error.detail}
        return row(str(path), **columns)
    marks = fingerprint(image.pixels)
    height, width = image.pixels.shape[:2]
    return row(
        str(path),
        **columns,
        width=width,
        height=height,
        format=image.format,
        orientation=image.orientation,
        taken_at=image.taken_at,
        camera=image.camera,
        damaged_rows=image.damaged_rows,
        holds_more=image.holds_more,
        phash=marks.phash,
        phash_quality=marks.phash_quality,
        phash_inner=marks.phash_inner,
        phash_turnable=marks.phash_turnable,
        pixels_sha256=marks.pixels_sha256,
        sharpness=marks.sharpness,
    )


def lake_of(folder, rows, part=None, options=None):
    """Add rows of `images` to a lake, in parts of `part` rows."""
    lake = LakeStore(str(folder), options)
    lake.claim(Models("mtcnn@test", "sface@test", DIMENSION))
    faces = schema.faces_schema(DIMENSION).empty_table()
    size = part or max(1, len(rows))
    for start in range(0, len(rows), size):
        table = pa.Table.from_pylist(rows[start : start + size], schema.IMAGES)
        lake.publish_part(table, faces)
    return lake


def indexed(folder, files, root):
    """Write files below `root` and return the lake that has them."""
    rows = []
    for name, data in files.items():
        path = Path(root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        rows.append(read_row(path, root))
    return lake_of(folder, rows)


def noon(second=0, milli=0):
    return datetime(2024, 5, 1, 12, 0, second, milli * 1000)
