"""Finds faces and images of a lake by the names that files, or people, give them."""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Floats32
from pipeline.errors import ConfigError
from pipeline.lake.columns import matrix
from pipeline.lake.store import LakeStore
from pipeline.storage.folder import visible

SHOWN = 5

Which = Literal["largest", "central"]
# Returns the ids of what a name means.
Find = Callable[[str], AbstractSet[str]]


def find_images(lake: LakeStore, gone: bool = False) -> Find:
    """Return a function that finds images by any of their names: several where it is ambiguous.

    Those that are not there any more are found with `gone`.

    A name is the image_id, the uri, the name in its archive, or the last parts of these, with or
    without extension: `2004/may/a.jpg`, `a.jpg` or `a`.
    """
    levels: list[dict[str, set[str]]] = [defaultdict(set) for _ in range(5)]
    places: dict[str, str] = {}
    columns = ["image_id", "uri"]
    stores = lake.with_gone() if gone else [lake]
    for image in (row for one in stores for row in one.read("images", columns).to_pylist()):
        places[image["image_id"]] = image["uri"].replace("#", "/")
        for level, key in zip(levels, _keys(image["image_id"], image["uri"]), strict=True):
            level[_spelling(key)].add(image["image_id"])

    def find(text: str) -> AbstractSet[str]:
        key = _spelling(text)
        if exact := next((level[key] for level in levels if key in level), None):
            return exact
        end = key.replace("\\", "/").removeprefix("./").lstrip("/")
        last = end.rpartition("/")[2]
        if last == end:
            return frozenset()
        named = next((level[last] for level in levels[3:] if last in level), set())
        return {image for image in named if _ends_with(_spelling(places[image]), end)}

    return find


def one_image(lake: LakeStore, text: str, matches: AbstractSet[str]) -> str:
    """Return the one image that a name means.

    Raises:
        ConfigError: there is none, or there are several.
    """
    if len(matches) == 1:
        return next(iter(matches))
    if not matches:
        raise ConfigError(
            f"{lake.folder.url} has no photo {visible(text)}; give its uri or image_id, as the "
            "table images has them"
        )
    shown = ", ".join(sorted(matches)[:SHOWN]) + (" ..." if len(matches) > SHOWN else "")
    raise ConfigError(f"{len(matches)} photos go by {visible(text)}: {shown}; give the id of one")


def _spelling(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _ends_with(place: str, end: str) -> bool:
    """Return whether the last parts of a place are these, with or without extension."""
    _, dot, extension = place.rpartition("/")[2].rpartition(".")
    return f"/{place}".endswith((f"/{end}", f"/{end}{dot}{extension}"))


def _keys(image_id: str, uri: str) -> tuple[str, str, str, str, str]:
    """Return what an image may be called, the most certain first."""
    member = uri.rpartition("#")[2]
    last = member.rpartition("/")[2]
    stem, dot, _ = last.rpartition(".")
    return image_id, uri, member, last, stem if dot and stem else last


def chosen_faces(
    lake: LakeStore, which: Which, where: pc.Expression | None = None
) -> dict[str, str]:
    """Return the largest or most central face of each image that has one: face id by image id.

    `where` keeps rows by their image_id, so as not to read all.
    """
    faces = lake.read("faces", ["face_id", "image_id", "size_px", "box"], where)
    ids = faces["image_id"].to_pylist()
    if which == "largest":
        rank = -np.asarray(faces["size_px"], dtype=np.float64)
    else:
        images = lake.read("images", ["image_id", "width", "height"], where).to_pylist()
        middle = {
            row["image_id"]: ((row["width"] or 0) / 2, (row["height"] or 0) / 2) for row in images
        }
        box = matrix(faces["box"])
        centres = (box[:, :2] + box[:, 2:]) / 2
        rank = np.linalg.norm(centres - np.array([middle[i] for i in ids]).reshape(-1, 2), axis=1)
    names: list[Any] = faces["face_id"].to_pylist()
    order = sorted(range(len(ids)), key=lambda at: (rank[at], names[at]))
    chosen: dict[str, str] = {}
    for at in order:
        chosen.setdefault(ids[at], names[at])
    return chosen


def face_ids(lake: LakeStore) -> AbstractSet[str]:
    """Return the ids of all faces."""
    return set(lake.read("faces", ["face_id"])["face_id"].to_pylist())


def vectors_by_face(lake: LakeStore, faces: Collection[str]) -> dict[str, Floats32]:
    """Return the vector [D] of each of some faces that the lake has."""
    wanted = pc.field("face_id").isin(pa.array(list(faces), pa.string()))
    table = lake.read("faces", ["face_id", "embedding"], wanted)
    return dict(zip(table["face_id"].to_pylist(), matrix(table["embedding"]), strict=True))


def vectors_of(lake: LakeStore, faces: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the vectors of faces of the lake, float64 [N, D], in their order."""
    wanted = pc.is_in(pc.field("face_id"), pa.array(faces, pa.string()))
    table = lake.read("faces", ["face_id", "embedding"], wanted)
    row = {face: k for k, face in enumerate(table["face_id"].to_pylist())}
    at = np.array([row[face] for face in faces], dtype=np.int64)
    return matrix(table["embedding"])[at].astype(np.float64)
