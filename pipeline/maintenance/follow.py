"""Lets people, duplicates and the vector index follow photos that moved, or are gone.

What was made from a part notes the size of its file, to see when it changes. A part in which only
places changed has the same faces and pictures: the new size is noted, and nothing is made again.
"""

import json
import secrets

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError, StorageError
from pipeline.lake.generations import DUPLICATES, PEOPLE, Resized, note_sizes, size_now
from pipeline.lake.moves import note_people_of_gone, people_of_gone
from pipeline.lake.store import LakeStore
from pipeline.lake.tombstones import Forgotten, salted
from pipeline.people.store import People
from pipeline.search.store import POINTER, IndexStore


def moved(lake: LakeStore, images: Resized, faces: Resized) -> None:
    """Note the new sizes of parts in which places alone have changed."""
    note_sizes(lake, PEOPLE, faces)
    note_sizes(lake, DUPLICATES, images)
    folder = IndexStore(lake).folder
    if not faces or not folder.exists(POINTER):
        return
    try:
        about = json.loads(folder.read(POINTER))
        for shard in about["shards"]:
            shard["parts"] = [
                [name, [size_now(faces, name, size), rows]] for name, (size, rows) in shard["parts"]
            ]
    except (ValueError, KeyError, TypeError):
        return  # damaged: the index is made again
    folder.publish(POINTER, json.dumps(about).encode())


def leaving(lake: LakeStore, gone: set[str], run_id: str) -> None:
    """Take images that are gone out of people, duplicates and predictions, as forgetting does.

    Their rows leave afterwards: should this be cut, the next run finds them gone again.
    """
    if not gone:
        return
    # They know clustering, and so torch: not for every start.
    from pipeline.maintenance.forget.derived import clean_duplicates, clean_predictions
    from pipeline.maintenance.forget.people import clean_people

    salt = secrets.token_bytes(16)
    keys = Forgotten(salt, images=frozenset(salted(salt, image) for image in gone))
    people = People(lake)
    try:
        _note_who_is_gone(people, gone)
        clean_people(people, keys, {}, run_id)
        clean_duplicates(lake, keys, run_id)
        clean_predictions(lake, keys, run_id)
    except (StorageError, ConfigError):  # damaged tables are made again by `cluster` and `dedupe`
        return


def left(lake: LakeStore, faces: Resized) -> None:
    """Note the new sizes of parts that images left: people do without them already."""
    note_sizes(lake, PEOPLE, faces)


def _note_who_is_gone(people: People, gone: set[str]) -> None:
    from pipeline.people.view import view

    if people.current_or_none() is None:
        return
    where = pc.field("image_id").isin(pa.array(sorted(gone), pa.string()))
    faces = people.clusters(["face_id"], where)["face_id"].to_pylist()
    persons = {face: person for face, person in view(people).persons_of(faces).items() if person}
    if persons:
        note_people_of_gone(people.lake, people_of_gone(people.lake) | persons)
