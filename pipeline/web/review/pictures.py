"""Pictures for the pages: small ones of faces, larger ones of photos."""

import io
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from PIL import Image

from pipeline.errors import StorageError
from pipeline.sources.originals import Originals
from pipeline.web.review.lookup import ID_DIGITS, Lookup, Sizes

PHOTO_SIDE, SMALL_SIDE = 1600, 480
# Thumbnails are read a part at a time; this much of them stays in memory.
KEPT_BYTES = 256 << 20
KEPT_CROPS = 512
CROP_SIDE, CROP_MARGIN = 160, 0.25


# A part by its name and sizes, so that pictures of a part that was rewritten are not shown.
Part = tuple[str, Sizes]


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
        self._crops: OrderedDict[tuple[Part, str], bytes] = OrderedDict()

    def photo(self, image_id: str, side: int) -> bytes | None:
        """Return a photo as a JPEG without metadata, None if there is no such image.

        Raises:
            StorageError, ImageError: it is not there any more, has changed, or cannot be decoded.
        """
        row = self.lookup.photo(image_id)
        return None if row is None else self.originals.jpeg(row, side)

    def face(self, face_id: str) -> bytes | None:
        """Return the small picture of a face, from its photo if the lake keeps none.

        Raises:
            StorageError, ImageError: as `photo`.
        """
        name = self.lookup.face_parts([face_id]).get(face_id)
        sizes = self.lookup.sizes()
        if name is None or name not in sizes:
            return None
        part = name, sizes[name]
        with self._lock:
            self._drop_others(sizes)
            kept = self._part(part).get(face_id) or self._crops.get((part, face_id))
        if kept is not None:
            return kept
        crop = self._crop(face_id)
        if crop is not None:
            with self._lock:
                self._crops[part, face_id] = crop
                while len(self._crops) > KEPT_CROPS:
                    self._crops.popitem(last=False)
        return crop

    def _drop_others(self, sizes: Mapping[str, Sizes]) -> None:
        """Drop the pictures of parts that are gone or were rewritten."""
        for part in [part for part in self._parts if sizes.get(part[0]) != part[1]]:
            del self._parts[part], self._sizes[part]
        for key in [key for key in self._crops if sizes.get(key[0][0]) != key[0][1]]:
            del self._crops[key]

    def _part(self, part: Part) -> dict[str, bytes]:
        if part not in self._parts:
            self._parts[part] = self.lookup.thumbnails(part[0])
            self._sizes[part] = sum(map(len, self._parts[part].values()))
        self._parts.move_to_end(part)
        while len(self._parts) > 1 and sum(self._sizes.values()) > KEPT_BYTES:
            oldest, _ = self._parts.popitem(last=False)
            del self._sizes[oldest]
        return self._parts[part]

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
