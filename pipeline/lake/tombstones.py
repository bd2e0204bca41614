"""Tombstones: which photos, faces and people were forgotten, without saying what they were.

A tombstone holds salted hashes of what was removed. With them a run recognises a photo or a face
that must not come back, every table can be searched for what should be gone, and a restored
backup can be cleaned again. Each lake has its own salt, so that the lists of two lakes cannot be
compared; somebody who can read it can test a guess, no more.
"""

import hashlib
import io
import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.arrays import Floats32
from pipeline.errors import StorageError
from pipeline.imaging.geometry import iou
from pipeline.lake.schema import FORGOTTEN
from pipeline.storage.folder import Folder

FOLDER, SALT = "forgotten", "_salt"
# What is being forgotten; removed when that is finished.
PENDING = f"{FOLDER}/_pending.json"
SALT_BYTES = 32
KEY_BYTES = 16
IMAGE, FACE, PERSON = "image", "face", "person"
# A face that is found again in the same pixels lies where it lay; another face does not.
SAME_FACE = 0.5
# Why a run passed over a photo, in its summary.
REFUSED = "forgotten before"

Keys = frozenset[bytes]


@dataclass(frozen=True)
class Forgotten:
    """The tombstones of a lake; empty for most.

    Attributes:
        salt: of all hashes.
        images, faces, persons: of ids.
        addresses, contents, pixels: of uri, sha256 and pixels_sha256 of forgotten photos.
        unread: of the uri of those whose bytes were never had.
        vectors, thumbnails: of the float32 bytes and the JPEG of forgotten faces.
        hashes: of the perceptual hashes of forgotten photos.
        boxes: of forgotten faces, x1, y1, x2, y2 as shares of the photo's sides, by each key of
            the photo that they were in.
    """

    salt: bytes = b""
    images: Keys = frozenset()
    faces: Keys = frozenset()
    persons: Keys = frozenset()
    addresses: Keys = frozenset()
    unread: Keys = frozenset()
    contents: Keys = frozenset()
    pixels: Keys = frozenset()
    vectors: Keys = frozenset()
    thumbnails: Keys = frozenset()
    hashes: Keys = frozenset()
    boxes: Mapping[bytes, Sequence[Sequence[float]]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.images or self.faces or self.persons)

    def key(self, value: str | bytes | None) -> bytes | None:
        """Return the salted hash of a value, None of None."""
        return None if value is None else salted(self.salt, value)

    def hides(self, uri: str, sha256: str | None = None, pixels_sha256: str | None = None) -> bool:
        """Return whether a photo must not come back: by its bytes or its pixels.

        Its address counts only while there are no bytes to compare: another photo may be there
        now, and must not be lost.
        """
        if not self.images:
            return False
        if sha256 is None:
            return self.key(uri) in self.addresses
        return (
            self.key(sha256) in self.contents
            or self.key(pixels_sha256) in self.pixels
            or self.key(uri) in self.unread
        )

    def boxes_of(self, *photo: str | None) -> Floats32:
        """Return the boxes of forgotten faces of a photo, float32 [N, 4], as shares of its sides.

        `photo` are its uri and hashes, as far as they are known.
        """
        keys = {self.key(text) for text in photo} - {None} if self.boxes else set()
        boxes = {tuple(box) for key in keys if key for box in self.boxes.get(key, ())}
        return np.array(sorted(boxes), np.float32).reshape(-1, 4)

    def hidden_faces(
        self, boxes: Floats32, width: int, height: int, *photo: str | None
    ) -> npt.NDArray[np.bool_]:
        """Return which faces of a photo, boxes [N, 4] in pixels, must not come back, bool [N]."""
        forgotten = self.boxes_of(*photo)
        if not len(forgotten) or not len(boxes):
            return np.zeros(len(boxes), bool)
        scale = np.array([width, height, width, height], np.float32)
        overlaps: Floats32 = iou(boxes, forgotten * scale)
        return np.asarray(overlaps.max(axis=1) > SAME_FACE, bool)


NOTHING = Forgotten()


def salted(salt: bytes, value: str | bytes) -> bytes:
    """Return a keyed hash (BLAKE2b), 16 bytes."""
    data = value.encode(errors="surrogatepass") if isinstance(value, str) else value
    return hashlib.blake2b(data, digest_size=KEY_BYTES, key=salt).digest()


def load_tombstones(lake: Folder) -> Forgotten:
    """Return the tombstones of the lake in a folder.

    Raises:
        StorageError: a file of tombstones is damaged.
    """
    folder = lake.child(FOLDER)
    names = sorted(name for name in folder.files() if name.endswith(".parquet"))
    if not names:
        return NOTHING
    rows = [row for name in names for row in _rows(folder, name)]
    if not folder.exists(SALT):
        raise _no_salt(folder)
    return from_rows(folder.read(SALT), rows)


def _no_salt(folder: Folder) -> StorageError:
    return StorageError(
        f"{folder.url}/{SALT} is missing; restore it from a backup: without it nobody can tell "
        "what was forgotten, and it may come back"
    )


def from_rows(salt: bytes, rows: Iterable[Mapping[str, Any]]) -> Forgotten:
    """Return the tombstones of rows of schema `FORGOTTEN`."""
    sets: dict[str, set[bytes | None]] = defaultdict(set)
    boxes: dict[bytes, list[Sequence[float]]] = defaultdict(list)
    for row in rows:
        sets[row["kind"]].add(row["key"])
        sets["vectors"].add(row["vector"])
        sets["thumbnails"].add(row["thumbnail"])
        unread = row["content"] is None
        if row["kind"] == IMAGE:
            for name in ("address", "content", "pixels"):
                sets[name].add(row[name])
            sets["unread"].update([row["address"]] if unread else [])
            sets["hashes"].update(row["hashes"] or ())
        elif row["box"] is not None:
            for name in ("address",) if unread else ("content", "pixels"):
                if row[name] is not None:
                    boxes[row[name]].append(row["box"])

    def kept(name: str) -> Keys:
        return frozenset(key for key in sets[name] if key is not None)

    return Forgotten(
        salt=salt, images=kept(IMAGE), faces=kept(FACE), persons=kept(PERSON),
        addresses=kept("address"), unread=kept("unread"), contents=kept("content"),
        pixels=kept("pixels"), vectors=kept("vectors"), thumbnails=kept("thumbnails"),
        hashes=kept("hashes"), boxes=dict(boxes),
    )  # fmt: skip


def _rows(folder: Folder, name: str) -> list[dict[str, Any]]:
    data = folder.read(name)
    try:
        rows: list[dict[str, Any]] = (
            pq.read_table(io.BytesIO(data)).select(FORGOTTEN.names).to_pylist()
        )
        return rows
    except (pa.ArrowException, KeyError, OSError) as error:
        raise StorageError(
            f"{folder.url}/{name} is damaged ({error}); restore it from a backup: without it what "
            "was forgotten may come back"
        ) from error


def lake_salt(lake: Folder) -> bytes:
    """Return the lake's salt; it is made when nothing was forgotten yet.

    Raises:
        StorageError: it is missing, without which the tombstones mean nothing.
    """
    folder = lake.child(FOLDER)
    if not folder.exists(SALT) and any(name.endswith(".parquet") for name in folder.files()):
        raise _no_salt(folder)
    folder.create(SALT, secrets.token_bytes(SALT_BYTES))
    return folder.read(SALT)
