"""Finds rows of a lake by id: of each photo the id, date and camera are in memory, some 100 bytes.

The rest is read on request, and kept for a while.

The faces of an image are in the part of the same name, so one sorted list of image ids finds both.
"""

import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Floats32
from pipeline.lake import schema
from pipeline.lake.columns import matrix
from pipeline.lake.store import LakeStore
from pipeline.people.photos import NEEDED
from pipeline.storage.folder import is_local
from pipeline.web.review.parts import KeptParts, Part, Sizes, each_part

ID_DIGITS = 32
BATCH = 4096
BOXES = ["face_id", "image_id", "box", "score", "size_px", "sharpness", "yaw", "quality"]
PHOTO = ["image_id", "uri", "shard", "sha256", "bytes", "width", "height", "format",
         "orientation", "taken_at", "camera", "turn", "faces", "error", "error_detail"]  # fmt: skip

# The parts are not listed again for this many times as long as the last listing took: pictures of a
# page should not wait for the listing of a large or remote lake.
REFRESH_PAUSE = 10
# Remote storage is asked no more often than that: what others did shows within seconds.
REMOTE_PAUSE_S = 2.0

Keys = npt.NDArray[np.bytes_]


class Lookup:
    """Finds the rows of images and faces by their ids; threads may share it.

    Args:
        lake: to look in.
    """

    def __init__(self, lake: LakeStore) -> None:
        self.lake = lake
        self._lock = threading.Lock()
        self._parts: list[str] = []
        self._sizes: dict[str, Sizes] = {}
        self._next_refresh = 0.0
        self._keys: Keys = _keys([])
        self._at: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        models = lake.models()
        self._faces = schema.faces_schema(models.dimension if models else 1)
        self._pieces: dict[str, pa.Table] = {}
        self._album: tuple[Mapping[str, Sizes], pa.Table] | None = None
        folder = lake.folder
        self._photos = KeptParts(folder.child("images"), schema.IMAGES, PHOTO)
        self._boxes = KeptParts(folder.child("faces"), self._faces, BOXES)
        self.refresh()

    def refresh(self) -> bool:
        """Read the image ids of new and rewritten parts, drop those of parts that are gone.

        Return whether anything changed.
        """
        with self._lock:
            began = time.monotonic()
            try:
                return self._reread()
            finally:
                ended = time.monotonic()
                least = 0.0 if is_local(self.lake.folder.fs) else REMOTE_PAUSE_S
                self._next_refresh = ended + max(least, REFRESH_PAUSE * (ended - began))

    def _reread(self) -> bool:
        images, faces = (self.lake.folder.child(table).files() for table in ("images", "faces"))
        sizes = {name: (images[name], faces[name]) for name in sorted(images) if name in faces}
        if sizes == self._sizes:
            return False
        parts = list(sizes)
        place_of = {name: place for place, name in enumerate(parts)}
        # the new place of each part that did not change; -1: it is read again, or gone
        to = [
            place_of[name] if sizes.get(name) == self._sizes[name] else -1 for name in self._parts
        ]
        moved = np.array(to, np.int32)[self._at] if to else self._at
        keys, at = [self._keys[moved >= 0]], [moved[moved >= 0]]
        columns = [*NEEDED, "error"]
        new = [name for name in parts if sizes[name] != self._sizes.get(name)]
        read = each_part(self.lake.folder.child("images"), new, schema.IMAGES, columns)
        pieces = {name: table for name, table in self._pieces.items() if name in sizes}
        for name, table in zip(new, read, strict=True):
            keys.append(_keys(table["image_id"].to_pylist()))
            at.append(np.full(len(table), place_of[name], np.int32))
            pieces[name] = table.filter(pc.is_null(table["error"])).select(NEEDED)
        every, places = np.concatenate(keys), np.concatenate(at)
        order = np.argsort(every, kind="stable")
        self._keys, self._at = every[order], places[order]
        self._parts, self._sizes, self._pieces = parts, sizes, pieces
        for kept in (self._photos, self._boxes):
            kept.drop_others(sizes)
        return True

    def sizes(self) -> Mapping[str, Sizes]:
        """Return the parts of the lake and their sizes."""
        with self._lock:
            return self._sizes

    def __len__(self) -> int:
        return len(self._keys)

    def parts_of(self, image_ids: Iterable[str]) -> dict[str, str]:
        """Return the part of each image; unknown ones are left out."""
        wanted = list(dict.fromkeys(image_ids))
        if time.monotonic() >= self._next_refresh:  # photos may have been forgotten meanwhile
            self.refresh()
        parts = self._parts_in_memory(wanted)
        if len(parts) < len(wanted) and self.refresh():  # photos were added meanwhile
            parts = self._parts_in_memory(wanted)
        return parts

    def _parts_in_memory(self, wanted: Sequence[str]) -> dict[str, str]:
        with self._lock:
            keys, at, parts = self._keys, self._at, self._parts
        if not len(keys) or not wanted:
            return {}
        wanted_keys = _keys(wanted)
        places = np.minimum(np.searchsorted(keys, wanted_keys), len(keys) - 1)
        matches = keys[places] == wanted_keys
        return {
            image: parts[at[place]]
            for image, place, match in zip(wanted, places, matches, strict=True)
            if match
        }

    def photos(self, image_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return rows of `images`, columns `PHOTO`, by id; unknown ones are left out."""
        where = self.parts_of(image_ids)
        rows = self._photos.rows(self._sized(where), "image_id", list(where))
        return {row["image_id"]: row for row in rows.to_pylist()}

    def album(self) -> pa.Table:
        """Return all photos that could be read, columns `NEEDED`, the latest first; kept."""
        if time.monotonic() >= self._next_refresh:
            self.refresh()
        with self._lock:
            sizes, pieces, kept = self._sizes, list(self._pieces.values()), self._album
        if kept is None or kept[0] is not sizes:
            empty = pa.schema([schema.IMAGES.field(name) for name in NEEDED]).empty_table()
            order = [("taken_at", "descending"), ("image_id", "ascending")]
            kept = sizes, pa.concat_tables([empty, *pieces]).sort_by(order).combine_chunks()
            self._album = kept
        return kept[1]

    def faces_on(self, image_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Return the faces on some photos, columns `BOXES`, by photo."""
        where = self.parts_of(image_ids)
        faces: dict[str, list[dict[str, Any]]] = {image: [] for image in where}
        for row in self._boxes.rows(self._sized(where), "image_id", list(where)).to_pylist():
            faces[row["image_id"]].append(row)
        return faces

    def _sized(self, where: Mapping[str, str]) -> list[Part]:
        """Return the parts of some photos, with their sizes."""
        sizes = self.sizes()
        return [(name, sizes[name]) for name in sorted(set(where.values())) if name in sizes]

    def photo(self, image_id: str) -> dict[str, Any] | None:
        """Return the row of one image, None if there is none."""
        return self.photos([image_id]).get(image_id)

    def boxes(self, image_id: str) -> list[dict[str, Any]]:
        """Return the faces of an image, columns `BOXES`, in order of their ids."""
        rows = self.faces_on([image_id]).get(image_id, [])
        return sorted(rows, key=lambda row: str(row["face_id"]))

    def faces(self, face_ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """Return columns of faces, `face_id` first; unknown ones are left out."""
        parts = sorted(set(self.face_parts(face_ids).values()))
        where = pc.field("face_id").isin(pa.array(list(face_ids), pa.string()))
        columns = ["face_id", *columns]
        read = each_part(self.lake.folder.child("faces"), parts, self._faces, columns, where)
        empty = pa.schema([self._faces.field(name) for name in columns]).empty_table()
        return pa.concat_tables([empty, *read])

    def face_parts(self, face_ids: Iterable[str]) -> dict[str, str]:
        """Return the part of each face; unknown ones are left out."""
        of_image = {face: face[:ID_DIGITS] for face in face_ids}
        where = self.parts_of(of_image.values())
        return {face: where[image] for face, image in of_image.items() if image in where}

    def thumbnails(self, part: str) -> dict[str, bytes]:
        """Return the thumbnails of a part by face id."""
        found: dict[str, bytes] = {}
        for batch in self.lake.face_batches(part, ["face_id", "thumbnail"], BATCH):
            batch = batch.filter(pc.is_valid(batch["thumbnail"]))
            found.update(zip(*batch.to_pydict().values(), strict=True))
        return found


def vectors_of(lookup: Lookup, faces: Collection[str]) -> dict[str, Floats32]:
    """Return the vectors of the faces that the lake still has, in their order."""
    table = lookup.faces(list(faces), ["embedding"])
    found = dict(zip(table["face_id"].to_pylist(), matrix(table["embedding"]), strict=True))
    return {face: found[face] for face in faces if face in found}


def _keys(image_ids: Sequence[str]) -> Keys:
    """Return ids as NumPy can sort and search them, bytes [N] of `ID_DIGITS`."""
    return np.array(image_ids, f"S{ID_DIGITS}")
