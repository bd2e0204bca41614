"""What is to be forgotten: found in the lake, with what is the same, and made into tombstones."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.imaging.geometry import iou
from pipeline.lake.columns import matrix
from pipeline.lake.lookup import find_images, one_image
from pipeline.lake.moves import people_of_gone
from pipeline.lake.schema import image_of, rank_of
from pipeline.lake.store import LakeStore
from pipeline.lake.tombstones import FACE, IMAGE, PERSON, SAME_FACE, salted
from pipeline.maintenance.forget.parts import strings
from pipeline.people.constraints import name_key
from pipeline.people.corrections import resolve
from pipeline.people.store import People
from pipeline.people.view import View, view
from pipeline.storage.folder import visible

PHOTO = (
    "image_id", "uri", "sha256", "pixels_sha256", "width", "height", "phash", "phash_inner",
    "phash_turnable",
)  # fmt: skip
FACES = ("face_id", "image_id", "box", "embedding", "thumbnail")
CONTENT = ("sha256", "pixels_sha256")
SHOWN = 5


@dataclass
class Target:
    """What is to be forgotten, in the clear; it lives in memory while it is done.

    Attributes:
        photos: rows of `images`, columns `PHOTO`: those that go, and those of faces that go.
        faces: rows of `faces`, columns `FACES`, that go; those of photos that go included.
        images: ids of the photos that go.
        persons: ids of the persons that go, those merged into them included.
        names: what they, and nobody else, are called.
        copies: photos that go, or lose a face, because they are the same as one that was named.
        marks: faces that people marked and that have no row, because the photo cannot be read.
    """

    photos: dict[str, dict[str, Any]] = field(default_factory=dict)
    faces: dict[str, dict[str, Any]] = field(default_factory=dict)
    images: set[str] = field(default_factory=set)
    persons: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    copies: set[str] = field(default_factory=set)
    marks: set[str] = field(default_factory=set)

    def texts(self) -> set[str]:
        """Return ids and places that must stand nowhere afterwards."""
        gone = [self.photos[one] for one in self.images]
        return {
            *self.images,
            *self.faces,
            *self.marks,
            *self.persons,
            *(row["uri"] for row in gone),
        }

    def blobs(self) -> list[bytes]:
        """Return vectors and pictures of faces that must be in no file afterwards."""
        rows = self.faces.values()
        return [row["vector"] for row in rows] + [r["thumbnail"] for r in rows if r["thumbnail"]]


def find(
    lake: LakeStore, persons: Sequence[str], images: Sequence[str], faces: Sequence[str]
) -> Target:
    """Return what belongs to these persons, photos and faces.

    Photos with the same bytes or the same pixels go together: one would bring the other back.

    Args:
        lake: to look in.
        persons: ids, starts of ids, or names.
        images: ids, uris, or names of files.
        faces: ids.

    Raises:
        ConfigError: there is no such person, photo or face, or several.
    """
    target = Target()
    face_ids = set(faces)
    if persons:
        face_ids |= _of_persons(target, view(People(lake)), persons)
    if images:
        find_image = find_images(lake, gone=True)
        for text in images:
            target.images.add(one_image(lake, text, find_image(text)))
    owners = {image_of(face) for face in face_ids}
    target.photos = _photos(lake, pc.field("image_id").isin(strings(target.images | owners)))
    _add_copies(lake, target)
    _take_faces(lake, target, face_ids)
    missing_ids = face_ids - target.faces.keys()
    target.marks = missing_ids & resolve(People(lake).constraints()).marked
    if missing := sorted(missing_ids - target.marks):
        shown = ", ".join(visible(face) for face in missing[:SHOWN])
        raise ConfigError(
            f"{lake.folder.url} has no face {shown}; face ids are in its table faces, and in what "
            "`facelake people` and `facelake search` list"
        )
    return target


def _of_persons(target: Target, now: View, persons: Sequence[str]) -> set[str]:
    """Note the persons, and return the ids of their faces."""
    face_ids: set[str] = set()
    for text in persons:
        person_id = now.lookup(text)
        row = now.person(person_id)
        target.persons |= {person_id, *(old for old, new in now.merged.items() if new == person_id)}
        if row and row["name"]:
            target.names.add(row["name"])
        face_ids |= {one["face_id"] for one in now.faces(person_id)}
    were = people_of_gone(now.store.lake)
    face_ids |= {face for face, person in were.items() if person in target.persons}
    others = pc.invert(pc.is_in(now.people["person_id"], strings(target.persons)))
    rest = now.people.filter(others)
    others_keys = {name_key(name) for name in rest["name"].drop_null().to_pylist()}
    target.names = {name for name in target.names if name_key(name) not in others_keys}
    keys = {name_key(name) for name in target.names}
    statements = [row for row in now.store.constraints() if row.kind == "name" and row.value]
    target.names |= {row.value for row in statements if row.value and name_key(row.value) in keys}
    # Who was merged into the person before the last clustering had an id that no table knows.
    alive = set(rest["person_id"].to_pylist())
    target.persons |= {
        row.person_id for row in statements
        if row.value in target.names and face_ids.intersection(row.faces)
        and row.person_id is not None and row.person_id not in alive
    }  # fmt: skip
    return face_ids


def _photos(lake: LakeStore, where: pc.Expression) -> dict[str, dict[str, Any]]:
    tables = [one.read("images", PHOTO, where) for one in lake.with_gone()]
    return {row["image_id"]: row for table in tables for row in table.to_pylist()}


def _add_copies(lake: LakeStore, target: Target) -> None:
    """Add the photos with the same bytes or pixels as those that are there."""
    keys = {name: {row[name] for row in target.photos.values() if row[name]} for name in CONTENT}
    if not any(keys.values()):
        return
    where = pc.field("sha256").isin(strings(keys["sha256"])) | pc.field("pixels_sha256").isin(
        strings(keys["pixels_sha256"])
    )
    going = _by_content(target.photos[one] for one in target.images)
    for image_id, row in _photos(lake, where).items():
        if image_id in target.photos:
            continue
        if _same_photos(going, row):
            target.images.add(image_id)
        target.copies.add(image_id)
        target.photos[image_id] = row


def _by_content(photos: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], set[str]]:
    """Return the ids of photos by the hashes of their bytes and pixels."""
    ids_of: dict[tuple[str, str], set[str]] = {}
    for photo in photos:
        for name in CONTENT:
            if photo[name]:
                ids_of.setdefault((name, photo[name]), set()).add(photo["image_id"])
    return ids_of


def _same_photos(ids_of: Mapping[tuple[str, str], set[str]], photo: Mapping[str, Any]) -> set[str]:
    """Return the ids of photos with the same bytes or pixels."""
    return set().union(*(ids_of.get((name, photo[name] or ""), ()) for name in CONTENT))


def _take_faces(lake: LakeStore, target: Target, face_ids: set[str]) -> None:
    """Take the rows of all faces that go: of photos that go, those named, and those in copies."""
    where = pc.field("image_id").isin(strings(target.photos))
    rows = {row["face_id"]: row for row in face_rows(lake, where)}
    by_photo: dict[str, list[dict[str, Any]]] = {}
    for row in rows.values():
        by_photo.setdefault(row["image_id"], []).append(row)
    going = face_ids | {face for face, row in rows.items() if row["image_id"] in target.images}
    ids_of = _by_content(target.photos.values())
    for face in face_ids & rows.keys():
        own_photo = rows[face]["image_id"]
        for photo in _same_photos(ids_of, target.photos[own_photo]) - {own_photo}:
            going |= _same_face(rows[face], by_photo.get(photo, []))
    target.faces = {face: row for face, row in rows.items() if face in going}


def _same_face(face: Mapping[str, Any], faces: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return which face of a copy of its photo a face is: the one that overlaps it most."""
    overlaps = [
        (float(iou(_box(other), _box(face))[0, 0]), _rank(other) == _rank(face), other["face_id"])
        for other in faces
    ]
    best = max(overlaps, default=(0.0, False, ""))
    return {best[2]} if best[0] > SAME_FACE else set()


def _rank(face: Mapping[str, Any]) -> str:
    return str(rank_of(face["face_id"]))


def face_rows(lake: LakeStore, where: pc.Expression) -> list[dict[str, Any]]:
    """Return faces with `vector`, the bytes of the embedding, in its place."""
    table = pa.concat_tables([one.read("faces", FACES, where) for one in lake.with_gone()])
    vectors = matrix(table["embedding"]).astype("<f4") if len(table) else np.zeros((0, 1))
    return [
        row | {"vector": vector.tobytes()}
        for row, vector in zip(table.drop_columns(["embedding"]).to_pylist(), vectors, strict=True)
    ]


def _box(row: Mapping[str, Any]) -> Any:
    return np.array([row["box"]], np.float32)


def tombstone_rows(target: Target, salt: bytes) -> list[dict[str, Any]]:
    """Return the rows of `forgotten` for a target."""
    now = datetime.now(UTC)

    def key(value: str | bytes | None) -> bytes | None:
        return salted(salt, value) if value is not None else None

    rows: list[dict[str, Any]] = []
    for image_id in sorted(target.images):
        photo = target.photos[image_id]
        hashes = {photo[name] for name in ("phash", "phash_inner", "phash_turnable")} - {None}
        rows.append({"kind": IMAGE, "key": key(image_id), **_keys(photo, key),
                     "hashes": sorted(salted(salt, one) for one in hashes)})  # fmt: skip
    for face_id, face in sorted(target.faces.items()):
        photo = target.photos[face["image_id"]]
        row = {"kind": FACE, "key": key(face_id), "vector": key(face["vector"]),
               "thumbnail": key(face["thumbnail"])}  # fmt: skip
        if face["image_id"] not in target.images:  # else no face of the photo comes back
            sides = np.array([photo["width"], photo["height"]] * 2, np.float64)
            row |= _keys(photo, key) | {"box": (np.array(face["box"]) / sides).tolist()}
        rows.append(row)
    rows += [{"kind": FACE, "key": key(face_id)} for face_id in sorted(target.marks)]
    rows += [{"kind": PERSON, "key": key(person)} for person in sorted(target.persons)]
    return [row | {"forgotten_at": now} for row in rows]


def _keys(photo: Mapping[str, Any], key: Any) -> dict[str, bytes | None]:
    return {"address": key(photo["uri"]), "content": key(photo["sha256"]),
            "pixels": key(photo["pixels_sha256"])}  # fmt: skip
