"""Brings rows in step with an archive whose photos moved, changed, or are there no more.

Rows of photos that are gone leave the tables for the lake `gone/` inside the lake, and come back
from there when the photo does: nothing that reads `images` and `faces` sees them. Every step may be
cut: a row is in both for a moment, never in none, and `mend` finishes what was begun.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Floats32
from pipeline.lake import schema
from pipeline.lake.columns import matrix
from pipeline.lake.generations import Resized
from pipeline.lake.ledger import Ledger
from pipeline.lake.store import GONE, LakeStore, parquet_bytes

# Who the faces are that are gone.
PEOPLE = f"{GONE}/people.json"
# Parts worked on at once: storage answers in parallel, and a part is some megabytes.
THREADS = 8
# Cosine from which a face of an edited photo is the one that was there. Edits of a picture keep it
# above .9; two people in one photo stay below .7.
SAME_FACE = 0.8


def resized(before: Mapping[str, int], now: Mapping[str, int]) -> Resized:
    """Return the files whose size has changed."""
    return {n: (size, now.get(n)) for n, size in before.items() if now.get(n) != size}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a photo is now, as the columns of `images` have it."""

    uri: str
    shard: str | None
    file_version: str | None


PLACE = tuple(field.name for field in fields(Place))


def relocate(lake: LakeStore, places: Mapping[str, Place]) -> None:
    """Note where images are now, by id; their faces, vectors and corrections stay theirs."""

    def move(name: str, _: Sequence[str]) -> None:
        images, faces = _moved(lake, name, places)
        if faces is not None:
            lake.folder.publish(f"faces/{name}", parquet_bytes(faces))
        lake.folder.publish(f"images/{name}", parquet_bytes(images))

    in_parts(lake, places.keys(), move)


def _moved(
    lake: LakeStore, name: str, places: Mapping[str, Place]
) -> tuple[pa.Table, pa.Table | None]:
    """Return images and faces of a part at their new places; None for faces that stay the same."""
    former = schema.completed(lake.read_part("images", name))
    images = _placed(former, places, PLACE)
    if images["uri"].equals(former["uri"]):
        return images, None
    return images, _placed(lake.read_part("faces", name), places, ("uri",))


def _placed(table: pa.Table, places: Mapping[str, Place], columns: Sequence[str]) -> pa.Table:
    """Return a table with the places of images in some of its columns."""
    ids = table["image_id"].to_pylist()
    for column in columns:
        rows = zip(ids, table[column].to_pylist(), strict=True)
        new = [getattr(places[i], column) if i in places else former for i, former in rows]
        table = replaced(table, column, new)
    return table


def replaced(table: pa.Table, column: str, values: Sequence[object]) -> pa.Table:
    """Return a table with other values in one of its columns."""
    at = table.schema.get_field_index(column)
    field = table.schema.field(at)
    return table.set_column(at, field, pa.array(values, field.type))


def park(lake: LakeStore, image_ids: AbstractSet[str], since: datetime) -> None:
    """Take images that are not there any more out of the tables, and keep their rows in `gone/`."""
    gone = lake.gone()
    models = lake.models()
    if image_ids and models:
        gone.claim(models)

    def leave(name: str, ids: Sequence[str]) -> None:
        images, faces = rows_of(lake, name, ids)
        images = replaced(images, "gone_since", [since] * len(images))
        gone.publish_part(images, faces)
        drop(lake, name, ids)

    in_parts(lake, image_ids, leave)


def bring_back(lake: LakeStore, places: Mapping[str, Place]) -> None:
    """Put images that are there again back into the tables, at their places of now."""
    gone = lake.gone()

    def come_back(name: str, ids: Sequence[str]) -> None:
        images, faces = rows_of(gone, name, ids)
        back = _placed(images, places, PLACE)
        back = replaced(back, "gone_since", [None] * len(back))
        lake.publish_part(back, _placed(faces, places, ("uri",)))
        drop(gone, name, ids, images_first=True)

    in_parts(gone, places.keys(), come_back)
    persons = people_of_gone(lake)
    left = {f: p for f, p in persons.items() if schema.image_of(f) not in places}
    if left != persons:
        note_people_of_gone(lake, left)


def rows_of(lake: LakeStore, name: str, image_ids: Sequence[str]) -> tuple[pa.Table, pa.Table]:
    """Return some images of a part, and their faces."""
    wanted = pa.array(image_ids, pa.string())
    tables = (lake.read_part(table, name) for table in ("images", "faces"))
    images, faces = (table.filter(pc.is_in(table["image_id"], wanted)) for table in tables)
    return schema.completed(images), faces


def drop(lake: LakeStore, name: str, image_ids: Iterable[str], images_first: bool = False) -> None:
    """Remove images and their faces from a part.

    Faces go first: should this be cut, the images are still known, and it can be done again. Where
    others have the images already, these go first.
    """
    wanted = pa.array(sorted(image_ids), pa.string())
    tables = {table: lake.read_part(table, name) for table in ("faces", "images")}
    kept = {
        table: rows.filter(pc.invert(pc.is_in(rows["image_id"], wanted)))
        for table, rows in tables.items()
    }
    order = ["images", "faces"] if images_first or not len(kept["images"]) else ["faces", "images"]
    for table in order:
        if not len(kept["images"]):  # without its images, faces are no part, and swept
            lake.folder.remove(f"{table}/{name}")
        elif len(kept[table]) < len(tables[table]):
            lake.folder.publish(f"{table}/{name}", parquet_bytes(kept[table]))


def in_parts(
    lake: LakeStore, image_ids: Iterable[str], work: Callable[[str, Sequence[str]], object]
) -> None:
    """Call `work` with the name of each part that holds some of the images, and their ids."""
    wanted = pa.array(sorted(image_ids), pa.string())
    if not len(wanted):
        return

    def one(name: str) -> None:
        ids = lake.read_part("images", name, ["image_id"])["image_id"]
        found = ids.filter(pc.is_in(ids, wanted)).to_pylist()
        if found:
            work(name, found)

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(one, lake.parts()):
            pass


def mend(lake: LakeStore, ledger: Ledger, corrected: Callable[[], AbstractSet[str]]) -> int:
    """Leave one row of images that have several, and return how many had.

    One that is gone as well was on its way there, or back: it is gone, until it is found. Of one
    that was read again the newer row counts; its faces get the ids of those that they were, and
    `corrected` returns the ids that no other face may get, because corrections speak of them.
    """
    rows = ledger.doubled()
    gone = set(ledger.ids(rows[ledger.is_gone(rows)]))
    in_parts(lake, gone, lambda name, ids: drop(lake, name, ids))
    again = set(ledger.ids(rows)) - gone
    if again:
        _supersede(lake, again, corrected())
    return len(gone | again)


def _supersede(lake: LakeStore, image_ids: set[str], corrected: AbstractSet[str]) -> None:
    wanted = pa.array(sorted(image_ids), pa.string())
    versions: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name in lake.parts():
        table = lake.read_part("images", name, ["image_id", "run_id"])
        for row in table.filter(pc.is_in(table["image_id"], wanted)).to_pylist():
            versions[row["image_id"]].append((row["run_id"], name))
    newest: dict[str, list[str]] = defaultdict(list)
    older: dict[str, list[str]] = defaultdict(list)
    for image, found in versions.items():
        *before, (_, last) = sorted(found)
        newest[last].append(image)
        for name in {name for _, name in before} - {last}:
            older[name].append(image)
    was = _faces_of(lake, older)
    for name, images in newest.items():
        table = lake.read_part("faces", name)
        ids = _same_ids(table, {i: was[i] for i in images if i in was}, corrected)
        if ids != table["face_id"].to_pylist():
            lake.folder.publish(f"faces/{name}", parquet_bytes(replaced(table, "face_id", ids)))
    for name, images in older.items():
        drop(lake, name, images)


def _faces_of(
    lake: LakeStore, parts: Mapping[str, Sequence[str]]
) -> dict[str, tuple[list[str], Floats32]]:
    """Return the ids and vectors of the faces that some images of some parts have."""
    found: dict[str, tuple[list[str], Floats32]] = {}
    for name, images in parts.items():
        faces = rows_of(lake, name, images)[1]
        owners = np.array(faces["image_id"].to_pylist(), object)
        for image in set(owners):
            rows = faces.filter(pa.array(owners == image))
            found[image] = (rows["face_id"].to_pylist(), matrix(rows["embedding"]))
    return found


def _same_ids(
    faces: pa.Table, was: Mapping[str, tuple[list[str], Floats32]], corrected: AbstractSet[str]
) -> list[str]:
    """Return ids for faces: those that the images' faces had, and new ones for new faces."""
    ids: list[str] = faces["face_id"].to_pylist()
    owners = np.array(faces["image_id"].to_pylist(), object)
    for image, (former, vectors) in was.items():
        rows = np.flatnonzero(owners == image)
        if not len(rows):
            continue
        new = matrix(faces["embedding"].take(pa.array(rows)))
        taken = {face for face in corrected if face.startswith(f"{image}-")} | set(former)
        ranks = [schema.rank_of(face) for face in taken if not schema.is_marked(face)]
        number = max(ranks, default=-1) + 1
        matched = _matched(new @ vectors.T)
        for k, row in enumerate(rows.tolist()):
            if k in matched:
                ids[row] = former[matched[k]]
            else:
                ids[row] = f"{image}-{number}"
                number += 1
    return ids


def _matched(cosines: Floats32) -> dict[int, int]:
    """Return which row is which column, [N, M]: the closest pairs first, each once."""
    pairs: dict[int, int] = {}
    for flat in np.argsort(-cosines, axis=None, kind="stable"):
        row, column = divmod(int(flat), cosines.shape[1])
        if cosines[row, column] < SAME_FACE:
            break
        if row not in pairs and column not in pairs.values():
            pairs[row] = column
    return pairs


def people_of_gone(lake: LakeStore) -> dict[str, str]:
    """Return the person of each face that was gone with its image, as far as there was one."""
    if not lake.folder.exists(PEOPLE):
        return {}
    found: dict[str, str] = json.loads(lake.folder.read(PEOPLE))
    return found


def note_people_of_gone(lake: LakeStore, persons: Mapping[str, str]) -> None:
    """Note who the faces are that are gone, so that whoever is forgotten is forgotten there too."""
    if persons or lake.folder.exists(PEOPLE):
        lake.publish_json(PEOPLE, persons)


def prune(lake: LakeStore) -> None:
    """Remove the rows of images that are gone for good."""
    gone = lake.gone()
    for table in ("images", "faces"):  # without their images, faces are no part, and swept
        for name in gone.folder.child(table).files():
            gone.folder.remove(f"{table}/{name}")
    gone.sweep()
    lake.folder.remove(PEOPLE)
