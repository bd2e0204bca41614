"""Photos by who is on them: together with some, without others, of a year, with so many faces."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

# Columns of `images` that tell which photos are asked for.
NEEDED = ["image_id", "taken_at", "camera", "faces"]


class FacesOf(Protocol):
    """What tells the faces of a person, such as a `View`."""

    def faces(self, person_id: str) -> list[dict[str, Any]]:
        """Return rows with `image_id`."""


@dataclass(frozen=True)
class Chosen:
    """Which photos are asked for.

    Attributes:
        together: ids of persons who are all on a photo.
        without: ids of persons who are not.
        year: in which it was taken; None: any, photos without a date included.
        camera: with which; empty: any.
        least_faces: on it.
    """

    together: Sequence[str] = ()
    without: Sequence[str] = ()
    year: int | None = None
    camera: str = ""
    least_faces: int = 0


def photos_with(now: FacesOf, together: Sequence[str], without: Sequence[str] = ()) -> set[str]:
    """Return the ids of the photos on which all of some persons are, and none of others.

    Args:
        now: who is who.
        together: ids of persons, at least one.
        without: ids of persons who must not be on the photo.
    """
    found = set.intersection(*(photos_of(now, person) for person in together))
    return found.difference(*(photos_of(now, person) for person in without))


def photos_of(now: FacesOf, person_id: str) -> set[str]:
    """Return the ids of the photos of a person."""
    return {face["image_id"] for face in now.faces(person_id)}


def chosen_photos(now: FacesOf, photos: pa.Table, chosen: Chosen) -> pa.Table:
    """Return those rows of `images` that are asked for; the columns `NEEDED` must be there.

    Photos that could not be read have no faces, and are left out where somebody is asked for.
    """
    if chosen.together:
        found = photos_with(now, chosen.together, chosen.without)
        photos = photos.filter(pc.is_in(photos["image_id"], pa.array(sorted(found), pa.string())))
    elif chosen.without:
        out = set().union(*(photos_of(now, person) for person in chosen.without))
        wrong = pc.is_in(photos["image_id"], pa.array(sorted(out), pa.string()))
        photos = photos.filter(pc.invert(wrong))
    if chosen.least_faces:
        photos = photos.filter(pc.greater_equal(photos["faces"], chosen.least_faces))
    if chosen.camera:
        photos = photos.filter(pc.equal(photos["camera"], chosen.camera).fill_null(False))
    if chosen.year is not None:
        photos = photos.filter(pc.equal(pc.year(photos["taken_at"]), chosen.year).fill_null(False))
    return photos
