"""Forgets people, photos and faces: the order of the steps, and how a stopped one goes on.

What is to go is noted first, together with its tombstones. Every step then removes what has a
tombstone, so that it can be repeated. The note is removed last.
"""

import base64
import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import StorageError
from pipeline.lake.moves import note_people_of_gone, people_of_gone
from pipeline.lake.schema import FORGOTTEN
from pipeline.lake.store import LakeStore, parquet_bytes
from pipeline.lake.tombstones import FOLDER, PENDING, Forgotten, lake_salt
from pipeline.maintenance.forget import derived
from pipeline.maintenance.forget.corrections import clean_corrections
from pipeline.maintenance.forget.parts import clean_parts, clean_quarantine, strings
from pipeline.maintenance.forget.people import clean_people
from pipeline.maintenance.forget.target import Target, tombstone_rows
from pipeline.people.store import People


@dataclass(frozen=True)
class Removed:
    """What became of the tables.

    Attributes:
        parts: of images and faces that were rewritten or removed.
        clustered: rows of `clusters` that went.
        corrections: that went.
        duplicates: rows that went.
        predictions: rows that went.
        vectors: of pictures that went.
        index: what became of the vector index, None for nothing.
        report: whether its pages were removed.
        runs: manifests that were changed.
        leftovers: files of quarantine and half-written ones that were removed.
    """

    parts: int
    clustered: int
    corrections: int
    duplicates: int
    predictions: int
    vectors: int
    index: str | None
    report: bool
    runs: int
    leftovers: int


def forget(lake: LakeStore, target: Target, run_id: str) -> Removed:
    """Forget a target; the caller holds the lake's lock.

    Should this be stopped, `finish` goes on with it.

    Raises:
        StorageError: corrections or earlier tombstones are damaged; nothing was begun.
    """
    People(lake).constraint_files()  # a damaged one is an error before anything is begun
    rows = tombstone_rows(target, lake_salt(lake.folder))
    table = parquet_bytes(pa.Table.from_pylist(rows, FORGOTTEN))
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(8)}.parquet"
    note = {
        "name": name,
        "tombstones": base64.b64encode(table).decode(),
        "texts": sorted(target.texts()),
        "parts": _parts_with(lake, {row["image_id"] for row in target.faces.values()}
                             | target.images),
    }  # fmt: skip
    lake.publish_json(PENDING, note)
    removed = finish(lake, run_id)
    assert removed is not None  # it was noted just now
    return removed


def _parts_with(lake: LakeStore, images: set[str]) -> list[str]:
    """Return the parts that hold these images."""
    image_ids = strings(images)

    def holds(name: str) -> bool:
        ids = lake.read_part("images", name, ["image_id"])["image_id"]
        return bool(pc.any(pc.is_in(ids, image_ids)).as_py())

    return [name for name in lake.parts() if holds(name)]


def pending(lake: LakeStore) -> dict[str, Any] | None:
    """Return the note of a forgetting that was stopped, None when there is none.

    Raises:
        StorageError: it is damaged.
    """
    if not lake.folder.exists(PENDING):
        return None
    try:
        note: dict[str, Any] = json.loads(lake.folder.read(PENDING))
        base64.b64decode(note["tombstones"], validate=True)
        return {"texts": note["texts"], "parts": note["parts"], **note}
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{lake.folder.url}/{PENDING} is damaged; remove it, and give the last `facelake "
            "forget` command again"
        ) from error


def finish(lake: LakeStore, run_id: str) -> Removed | None:
    """Go on with a forgetting that was stopped; None when there is none. Needs the lake's lock."""
    note = pending(lake)
    if note is None:
        return None
    lake.folder.publish(f"{FOLDER}/{note['name']}", base64.b64decode(note["tombstones"]))
    removed = sweep(lake, run_id, note["parts"], note["texts"])
    lake.folder.remove(PENDING)
    return removed


def sweep(
    lake: LakeStore, run_id: str, parts: Iterable[str] | None = None, texts: Iterable[str] = ()
) -> Removed:
    """Remove whatever has a tombstone from everywhere; the caller holds the lake's lock.

    Args:
        lake: to clean.
        run_id: of the generations that are published.
        parts: that may hold something; None: look at all, for instance after a backup was put back.
        texts: ids and places, in the clear, that must not stand in manifests of runs.
    """
    forgotten = lake.forgotten()
    every = lake.parts()
    names = every if parts is None else [name for name in parts if name in set(every)]
    changed = clean_parts(lake, forgotten, names)
    faces = lake.folder.child("faces").files()
    # Of those that are noted, some were rewritten before a stop.
    sizes = {name: faces.get(name) for name in (changed if parts is None else parts)}
    leftovers = clean_quarantine(lake, forgotten) + lake.sweep()
    for gone in lake.with_gone()[1:]:
        changed += clean_parts(gone, forgotten, gone.parts())
        left = {face: person for face, person in people_of_gone(lake).items()
                if forgotten.key(face) not in forgotten.faces}  # fmt: skip
        note_people_of_gone(lake, left)
    index = derived.clean_index(lake, forgotten)
    people = People(lake)
    corrections = clean_corrections(people, forgotten)
    clustered = clean_people(people, forgotten, sizes, run_id)
    duplicates = derived.clean_duplicates(lake, forgotten, run_id)
    predictions = derived.clean_predictions(lake, forgotten, run_id)
    vectors = derived.clean_picture_vectors(lake, forgotten)
    derived.remove_checkpoints(lake)
    report = derived.remove_report(lake)
    leftovers += derived.remove_half_written(lake)
    runs = derived.clean_runs(lake, mentions_forgotten(forgotten, texts))
    corrections += clean_corrections(people, forgotten)  # those that were made meanwhile
    return Removed(
        len(changed), clustered, corrections, duplicates, predictions, vectors, index, report,
        runs, leftovers,
    )  # fmt: skip


def mentions_forgotten(forgotten: Forgotten, texts: Iterable[str] = ()) -> Callable[[str], bool]:
    """Return a test whether a text names something forgotten, or holds one of `texts`."""
    keys = forgotten.addresses | forgotten.images | forgotten.faces | forgotten.contents
    cleartexts = tuple(texts)

    def mentions(text: str) -> bool:
        return forgotten.key(text) in keys or any(one in text for one in cleartexts)

    return mentions
