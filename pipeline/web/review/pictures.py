"""Pictures for the pages: small ones of faces, larger ones of photos."""

import io
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from PIL import Image

from pipeline.errors import StorageError
from pipeline.imaging.memory import give_back
from pipeline.sources.originals import Originals
from pipeline.web.review.lookup import ID_DIGITS, Lookup
from pipeline.web.review.parts import Part, Sizes

PHOTO_SIDE, SMALL_SIDE = 1600, 480
# Thumbnails are read a part at a time; this much of them stays in memory.
KEPT_BYTES = 192 << 20
# Pictures of faces that were shown, some 20,000: those of one person may be in more parts.
KEPT_FACES_BYTES = 64 << 20
# Small photos that are kept: lists let go what is far away, and ask for it again.
KEPT_PHOTOS_BYTES = 64 << 20
CROP_SIDE, CROP_MARGIN = 160, 0.25


class Pictures:
    """Reads and keeps pictures; threads may share it.

    Args:
        lookup: finds the rows.
        originals: reads the photos.
    """

    def __init__(self, lookup: Lookup, originals: Originals) -> None:
        self.lookup = lookup
        self.originals = originals
        self._lock = threading.Lock()
        self._parts: OrderedDict[Part, dict[str, bytes]] = OrderedDict()
        self._sizes: dict[Part, int] = {}
        self._seen: Mapping[str, Sizes] | None = None
        self._reading: dict[Part, threading.Lock] = {}
        self._faces = _Kept(KEPT_FACES_BYTES)
        self._photos = _Kept(KEPT_PHOTOS_BYTES)

    def photo(self, image_id: str, side: int) -> bytes | None:
        """Return a photo as a JPEG without metadata, None if there is no such image.

        Raises:
            StorageError, ImageError: it is not there any more, has changed, or cannot be decoded.
        """
        row = self.lookup.photo(image_id)
        part = self._part_of(image_id)
        if row is None or part is None:
            return None
        if side != SMALL_SIDE:
            return self.originals.jpeg(row, side)
        kept = self._photos.get(part, image_id)
        if kept is None:
            kept = self.originals.jpeg(row, side)
            self._photos.put(part, image_id, kept)
        return kept

    def _part_of(self, image_id: str) -> Part | None:
        name = self.lookup.parts_of([image_id]).get(image_id)
        sizes = self.lookup.sizes()
        if name is None or name not in sizes:
            return None
        with self._lock:
            self._drop_others(sizes)
        return name, sizes[name]

    def face(self, face_id: str) -> bytes | None:
        """Return the small picture of a face, from its photo if the lake keeps none.

        Raises:
            StorageError, ImageError: as `photo`.
        """
        part = self._part_of(face_id[:ID_DIGITS])
        if part is None:
            return None
        kept = self._faces.get(part, face_id)
        if kept is None:
            kept = self._thumbnails(part).get(face_id) or self._crop(face_id)
            if kept is not None:
                self._faces.put(part, face_id, kept)
        return kept

    def _drop_others(self, sizes: Mapping[str, Sizes]) -> None:
        """Drop the pictures of parts that are gone or were rewritten."""
        if self._seen is sizes:
            return
        self._seen = sizes
        for part in [part for part in self._parts if sizes.get(part[0]) != part[1]]:
            del self._parts[part], self._sizes[part]
        self._faces.drop_others(sizes)
        self._photos.drop_others(sizes)

    def _thumbnails(self, part: Part) -> dict[str, bytes]:
        """Return the thumbnails of a part; several parts are read at the same time."""
        with self._lock:
            reading = self._reading.setdefault(part, threading.Lock())
        with reading:
            with self._lock:
                kept = self._parts.get(part)
            found = self.lookup.thumbnails(part[0]) if kept is None else kept
        with self._lock:
            self._reading.pop(part, None)
            if self._seen is None or self._seen.get(part[0]) != part[1]:
                return found  # it was rewritten meanwhile
            if part not in self._parts:
                self._parts[part] = found
                self._sizes[part] = sum(map(len, found.values()))
            self._parts.move_to_end(part)
            while len(self._parts) > 1 and sum(self._sizes.values()) > KEPT_BYTES:
                oldest, _ = self._parts.popitem(last=False)
                del self._sizes[oldest]
        give_back()
        return found

    def _crop(self, face_id: str) -> bytes | None:
        row = self.lookup.photo(face_id[:ID_DIGITS])
        faces = [f for f in self.lookup.boxes(face_id[:ID_DIGITS]) if f["face_id"] == face_id]
        if row is None or not faces:
            return None
        with Image.open(io.BytesIO(self.originals.jpeg(row, self.originals.side))) as picture:
            box = _around(faces[0]["box"], picture.size, row)
            crop = picture.crop(box).resize((CROP_SIDE, CROP_SIDE), Image.Resampling.LANCZOS)
        crop = crop.rotate(-(row["turn"] or 0))  # upright, as the lake's own small pictures are
        out = io.BytesIO()
        crop.save(out, "JPEG", quality=85)
        return out.getvalue()


class _Kept:
    """The pictures that were asked for last; threads may share it.

    Args:
        most: bytes of all.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._bytes = 0
        self._sizes: Mapping[str, Sizes] = {}
        self._pictures: OrderedDict[tuple[Part, str], bytes] = OrderedDict()

    def get(self, part: Part, name: str) -> bytes | None:
        """Return a picture, None if it is not here."""
        with self._lock:
            if (part, name) not in self._pictures:
                return None
            self._pictures.move_to_end((part, name))
            return self._pictures[part, name]

    def put(self, part: Part, name: str, picture: bytes) -> None:
        """Keep a picture, unless its part was rewritten meanwhile."""
        with self._lock:
            if self._sizes.get(part[0]) != part[1]:
                return
            self._bytes += len(picture) - len(self._pictures.get((part, name), b""))
            self._pictures[part, name] = picture
            while self._bytes > self.most:
                self._bytes -= len(self._pictures.popitem(last=False)[1])

    def drop_others(self, sizes: Mapping[str, Sizes]) -> None:
        """Drop the pictures of parts that are gone or were rewritten."""
        with self._lock:
            self._sizes = sizes
            for key in [key for key in self._pictures if sizes.get(key[0][0]) != key[0][1]]:
                self._bytes -= len(self._pictures.pop(key))


def _around(
    box: list[float], size: tuple[int, int], row: dict[str, Any]
) -> tuple[int, int, int, int]:
    """Return a square around a box of the photo, in pixels of the reduced picture."""
    if not row["width"]:
        raise StorageError("the size of the photo is not known")
    scale = size[0] / row["width"]
    x1, y1, x2, y2 = (value * scale for value in box)
    half = max(x2 - x1, y2 - y1) * (0.5 + CROP_MARGIN)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return round(x - half), round(y - half), round(x + half), round(y + half)
