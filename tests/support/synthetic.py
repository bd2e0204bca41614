"""Lakes of synthetic faces whose similarities are distributed like SFace's on LFW.

A person is a random centre, a face the centre and noise, all in 110 dimensions turned into the
lake's: cosines of strangers then have mean 0.10 and deviation 0.088, those of one person 0.69 and
0.09. People are seen as in an archive: three quarters once or twice, a few thousands of times.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.lake import schema
from pipeline.lake.store import LakeStore, Models

EFFECTIVE, COMMON, GENUINE, SPREAD = 110, 0.145, 0.83, 0.06
PART = 20_000


class Archive:
    """Draws people and faces.

    Args:
        dimension: of the vectors.
        seed: of everything.
    """

    def __init__(self, dimension: int = 512, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        turn, _ = np.linalg.qr(self.random.standard_normal((dimension, EFFECTIVE + 1)))
        self.turn = turn.T.astype(np.float32)

    def faces(self, person: np.ndarray) -> np.ndarray:
        """Return a unit vector [N, D] for each face of persons 0 to P-1."""
        people = int(person.max()) + 1
        centres = self.random.standard_normal((people, EFFECTIVE), dtype=np.float32)
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        out = np.empty((len(person), self.turn.shape[1]), np.float32)
        for start in range(0, len(person), 50_000):
            owners = person[start : start + 50_000]
            noise = self.random.standard_normal((len(owners), EFFECTIVE), dtype=np.float32)
            noise /= np.linalg.norm(noise, axis=1, keepdims=True)
            share = np.clip(self.random.normal(GENUINE, SPREAD, (len(owners), 1)), 0.3, 0.97)
            own = np.concatenate(
                [np.full((len(owners), 1), COMMON**0.5), (1 - COMMON) ** 0.5 * centres[owners]],
                axis=1,
            )
            side = np.concatenate([np.zeros((len(owners), 1)), noise], axis=1)
            low = share * own + (1 - share**2) ** 0.5 * side
            low /= np.linalg.norm(low, axis=1, keepdims=True)
            out[start : start + 50_000] = low.astype(np.float32) @ self.turn
        return out / np.linalg.norm(out, axis=1, keepdims=True)

    def long_tail(self, faces: int) -> np.ndarray:
        """Return the person of each face: 55 % of people once, 20 % twice, the rest by a power."""
        sizes: list[np.ndarray] = []
        total = 0
        while total < faces:
            kind = self.random.random(10_000)
            many = np.minimum(3 + self.random.pareto(1.15, 10_000) * 2, 4000).astype(int)
            drawn = np.where(kind < 0.55, 1, np.where(kind < 0.75, 2, many))
            sizes.append(drawn)
            total += int(drawn.sum())
        person = np.repeat(np.arange(len(np.concatenate(sizes))), np.concatenate(sizes))[:faces]
        return self.random.permutation(person)


def write_lake(
    folder: Path,
    vectors: np.ndarray,
    names: list[str],
    scores: np.ndarray | None = None,
    part: int | None = None,
    thumbnail: Callable[[int], bytes] | None = None,
    taken_at: np.ndarray | None = None,
) -> None:
    """Add a face and a photo for each vector; `names` are the last parts of the uris.

    A part holds `part` photos, else `PART`; `thumbnail` makes the picture of a face by number;
    `taken_at` is one a photo.
    """
    lake, part = LakeStore(str(folder)), part or PART
    lake.claim(Models("synthetic@1", "synthetic@1", vectors.shape[1]))
    for first in range(0, len(vectors), part):
        rows = range(first, min(first + part, len(vectors)))
        ids = [hashlib.blake2b(names[i].encode(), digest_size=16).hexdigest() for i in rows]
        uris = [f"synthetic/{names[i]}" for i in rows]
        count = len(ids)
        images = {f.name: pa.nulls(count, f.type) for f in schema.IMAGES}
        images |= {
            "image_id": pa.array(ids), "uri": pa.array(uris),
            "faces": pa.array([1] * count, pa.int32()), "run_id": pa.array(["synthetic"] * count),
        }  # fmt: skip
        kind = schema.faces_schema(vectors.shape[1])
        faces = {f.name: pa.nulls(count, f.type) for f in kind}
        block = np.ascontiguousarray(vectors[first : first + count])
        if thumbnail is not None:
            faces["thumbnail"] = pa.array([thumbnail(i) for i in rows], pa.binary())
        flat = pa.array(block.reshape(-1))
        box = np.tile(np.array([0, 0, 100, 100], np.float32), count)
        points = np.zeros(10 * count, np.float32)
        faces |= {
            "face_id": pa.array([f"{i}-0" for i in ids]), "image_id": pa.array(ids),
            "uri": pa.array(uris),
            "box": pa.FixedSizeListArray.from_arrays(pa.array(box), type=schema.BOX),
            "landmarks": pa.FixedSizeListArray.from_arrays(pa.array(points), type=schema.LANDMARKS),
            "embedding": pa.FixedSizeListArray.from_arrays(flat, type=kind.field("embedding").type),
            **{c: pa.array(np.full(count, v, np.float32)) for c, v in
               (("score", 1), ("size_px", 100), ("sharpness", 100), ("yaw", 0), ("quality", 1),
                ("embedding_norm", 10))},
            **{c: pa.array(["synthetic@1"] * count) for c in ("detector", "embedder")},
            "run_id": pa.array(["synthetic"] * count),
        }  # fmt: skip
        if scores is not None:
            faces["score"] = pa.array(scores[first : first + count], pa.float32())
        if taken_at is not None:
            images["taken_at"] = pa.array(taken_at[first : first + count], pa.timestamp("ms"))
        lake.publish_part(
            pa.table({f.name: images[f.name] for f in schema.IMAGES}, schema=schema.IMAGES),
            pa.table({f.name: faces[f.name] for f in kind}, schema=kind),
        )
