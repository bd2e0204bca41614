"""What people said about pictures: these are no copies of each other, and this one is kept.

The sentences lie among the corrections of people, so that one log keeps and undoes them all.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Ints
from pipeline.dedupe.algorithms.pictures import Pictures, places_of
from pipeline.dedupe.duplicates import Duplicates
from pipeline.dedupe.gather import hexes
from pipeline.dedupe.tables import BURST
from pipeline.errors import ConfigError
from pipeline.lake.lookup import find_images, one_image
from pipeline.people.constraints import KEEPER, NOT_A_COPY, Constraint, undone
from pipeline.people.log import Statement, append
from pipeline.people.store import People
from pipeline.people.table import note
from pipeline.storage.folder import visible


def not_a_copy(
    duplicates: Duplicates, people: People, photos: Sequence[str], why: str = ""
) -> Constraint:
    """Say that pictures are no copies of the others of their groups, nor of each other.

    It counts from the next search on, and is kept until it is taken back like any correction.

    Args:
        duplicates: of the lake, as the last search found them.
        people: with the corrections of the lake.
        photos: names of pictures, see `find_images`.
        why: what the note says beside the ids.

    Raises:
        ConfigError: no such picture, or it is alone.
    """
    lake = duplicates.lake
    find = find_images(lake)
    said = {one_image(lake, photo, find(photo)): photo for photo in photos}
    rows = duplicates.table(["image_id", "group_id"], pc.field("kind") != BURST)
    own = pc.is_in(rows["image_id"], pa.array(list(said), pa.string()))
    groups = rows.filter(pc.is_in(rows["group_id"], rows.filter(own)["group_id"])).to_pylist()
    group_of = {row["image_id"]: row["group_id"] for row in groups}
    statements = []
    for image, photo in said.items():
        others = [r["image_id"] for r in groups if r["group_id"] == group_of.get(image)]
        others = [other for other in dict.fromkeys([*others, *said]) if other != image]
        if not others:
            raise ConfigError(
                f"{visible(photo)} is a copy of nothing, as far as the last search of "
                f"{lake.folder.url} knows; nothing was changed"
            )
        statements.append(Statement(NOT_A_COPY, (image,), others))
    return append(people, statements, note(why or NOT_A_COPY, *said))


def keep(duplicates: Duplicates, people: People, photo: str, why: str = "") -> Constraint:
    """Say that of its copies this picture is kept, whatever the rules say.

    It counts from the next search on. A picture that has more than twice as many pixels, or lost
    fewer of them, is then no copy of it, and stays as well.

    Args:
        duplicates: of the lake, as the last search found them.
        people: with the corrections of the lake.
        photo: name of the picture, see `find_images`.
        why: what the note says beside the id.

    Raises:
        ConfigError: no such picture, it is alone, or it is kept already.
    """
    lake = duplicates.lake
    image = one_image(lake, photo, find_images(lake)(photo))
    rows = duplicates.table(["image_id", "keep"], pc.field("kind") != BURST).to_pylist()
    found = [row for row in rows if row["image_id"] == image]
    if not found or found[0]["keep"]:
        what = "is kept already" if found else "has no copies, as far as the last search knows"
        raise ConfigError(f"{visible(photo)} {what}; nothing was changed")
    return append(people, [Statement(KEEPER, (image,))], note(why or KEEPER, image))


def said_of_pictures(people: People) -> list[Constraint]:
    """Return what stands of what was said, in its order."""
    return standing(people.constraints())


def standing(rows: list[Constraint]) -> list[Constraint]:
    """Return those of all corrections that are about pictures and stand."""
    gone = undone(rows)
    kinds = (NOT_A_COPY, KEEPER)
    return [row for row in rows if row.kind in kinds and row.constraint_id not in gone]


def chosen(statements: Sequence[Constraint], pictures: Pictures) -> Ints:
    """Return when each picture was chosen to be kept, 0 for never, the latest highest, [N]."""
    order = np.zeros(len(pictures), np.int64)
    images = [row.faces[0] for row in statements if row.kind == KEEPER]
    if images:
        at = places_of(hexes(pa.chunked_array([images], pa.string())), pictures.image_id)
        order[at[at >= 0]] = np.arange(1, len(images) + 1)[at >= 0]
    return order


def pairs_apart(statements: Sequence[Constraint], pictures: Pictures) -> Ints:
    """Return which pictures were told apart, int64 [P, 2]; those that are gone are left out."""
    apart = [row for row in statements if row.kind == NOT_A_COPY]
    pairs = [(face, other) for row in apart for face in row.faces for other in row.others]
    if not pairs:
        return np.zeros((0, 2), np.int64)
    ends = [
        places_of(hexes(pa.chunked_array([list(side)], pa.string())), pictures.image_id)
        for side in zip(*pairs, strict=True)
    ]
    both: Ints = np.stack(ends, axis=1)
    return both[(both >= 0).all(axis=1)]


def parted(classes: Ints, apart: Ints) -> Ints:
    """Return classes of equal pictures, those told apart from one of their class in their own."""
    classes, count = classes.copy(), int(classes.max(initial=-1)) + 1
    for first, second in apart:
        if classes[first] == classes[second]:
            classes[first], count = count, count + 1
    return classes
