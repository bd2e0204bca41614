"""Takes what is forgotten out of everything that was made from images and faces, but people."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.clustering.run import WORKSPACE as CLUSTER_WORKSPACE
from pipeline.dedupe.duplicates import CROPS, FAMILIES, LOOKS, PAIRS, TABLE, Duplicates
from pipeline.dedupe.gather import FOLDER as GATHERED
from pipeline.dedupe.run import WORKSPACE as DEDUPE_WORKSPACE
from pipeline.errors import StorageError
from pipeline.lake import schema
from pipeline.lake.checkpoints import Workspace
from pipeline.lake.generations import pieces
from pipeline.lake.store import LakeStore
from pipeline.lake.tombstones import Forgotten
from pipeline.maintenance.forget.parts import is_gone
from pipeline.search.reader import prune_cache
from pipeline.search.settings import FLAT
from pipeline.search.store import POINTER, ROWS, IndexStore, Manifest
from pipeline.storage.errors import storage_errors
from pipeline.storage.folder import TEMPORARY, Folder
from pipeline.training.predictions import TABLE as PREDICTIONS
from pipeline.training.predictions import predictions_of

VECTORS = "duplicates/_vectors"
PHASHES = ("phash", "phash_inner", "phash_turnable")
REDACTED = "(forgotten)"
# What NumPy and the storage raise for a damaged file of arrays.
UNREADABLE = (StorageError, OSError, ValueError, KeyError, IndexError, EOFError, BadZipFile)
# Somebody may be writing a correction just now, without the lake's lock.
CORRECTIONS, JUST_NOW_S = "/constraints/", 60


def clean_duplicates(lake: LakeStore, forgotten: Forgotten, run_id: str) -> int:
    """Publish duplicates without forgotten photos, and return how many rows went.

    A group that lost one goes whole: the next `facelake dedupe`, to which the rewritten parts are
    new, finds what is left of it, and chooses whom to keep.
    """
    duplicates = Duplicates(lake)
    current = duplicates.current()
    try:
        if current is None:
            raise StorageError("there is no generation, or its pointer is damaged")
        rows, pairs = duplicates.table(), duplicates.pairs()
        crops, looks = duplicates.crops(), duplicates.looks()
        families = duplicates.families()
    except StorageError:  # nobody can tell what it holds; `dedupe` makes it again
        duplicates.generations.discard()
        return 0
    gone = is_gone(forgotten, forgotten.images, rows["image_id"])
    groups = pc.unique(rows["group_id"].filter(pa.array(gone)))
    broken = np.asarray(pc.is_in(rows["group_id"], groups))
    dead = _dead_pairs(lake, forgotten, pairs)
    crops_gone, looks_gone = (
        is_gone(forgotten, forgotten.images, table["first"])
        | is_gone(forgotten, forgotten.images, table["second"])
        for table in (crops, looks)
    )
    if not (broken.any() or dead.any() or crops_gone.any() or looks_gone.any()):
        duplicates.generations.tidy()
        return 0
    about = {k: v for k, v in current.items() if k not in ("run_id", "tables")}
    # What is gone may come back as it was: then all is grouped again, and where pairs of hashes
    # went, looked for again.
    about["gathered"] = (about.get("gathered") or {}) | {"version": None}
    if dead.any():
        about["settings"] = None
    tables = {
        TABLE: rows.filter(pa.array(~broken)),
        PAIRS: pairs.filter(pa.array(~dead)),
        CROPS: crops.filter(pa.array(~crops_gone)),
        LOOKS: looks.filter(pa.array(~looks_gone)),
        FAMILIES: families,
    }
    duplicates.publish(run_id, tables, about)
    return int(broken.sum())


def clean_predictions(lake: LakeStore, forgotten: Forgotten, run_id: str) -> int:
    """Publish predictions without forgotten faces and persons, and return how many rows went.

    Where somebody was forgotten and the model knows people by the labels of a file, nobody can
    tell from a tombstone which label it was: then the table goes whole.
    """
    generations = predictions_of(lake)
    current = generations.current_or_none()
    try:
        if current is None:
            raise StorageError("there is no generation, or its pointer is damaged")
        rows = generations.read(PREDICTIONS, lambda: schema.PREDICTIONS)
    except StorageError:  # nobody can tell what it holds; `classify` makes it again
        generations.discard()
        return 0
    by_label = pc.and_(pc.is_valid(rows["person"]), pc.is_null(rows["person_id"]))
    if forgotten.persons and pc.any(by_label).as_py():
        generations.discard()
        return len(rows)
    gone = is_gone(forgotten, forgotten.faces, rows["face_id"])
    gone |= is_gone(forgotten, forgotten.images, rows["image_id"])
    gone |= is_gone(forgotten, forgotten.persons, rows["person_id"])
    if not gone.any():
        generations.tidy()
        return 0
    about = {k: v for k, v in current.items() if k not in ("run_id", "tables")}
    generations.publish(run_id, {PREDICTIONS: pieces(rows.filter(pa.array(~gone)))}, about)
    return int(gone.sum())


def _dead_pairs(lake: LakeStore, forgotten: Forgotten, pairs: pa.Table) -> np.ndarray:
    """Return which pairs have a hash that forgotten photos had, and no other photo has."""
    hashes = {one for name in ("first", "second") for one in pc.unique(pairs[name]).to_pylist()}
    suspects = {one for one in hashes if forgotten.key(one) in forgotten.hashes}
    suspects -= live_hashes(lake, suspects)
    values = pa.array(sorted(suspects), pairs.schema.field("first").type)
    dead = pc.or_(pc.is_in(pairs["first"], values), pc.is_in(pairs["second"], values))
    return np.asarray(dead, bool)


def live_hashes(lake: LakeStore, hashes: set[bytes]) -> set[bytes]:
    """Return which perceptual hashes a photo of the lake has."""
    if not hashes:
        return set()
    rows = lake.read("images", PHASHES)
    return hashes & {one for name in PHASHES for one in pc.unique(rows[name]).to_pylist()}


def clean_picture_vectors(lake: LakeStore, forgotten: Forgotten) -> int:
    """Take forgotten photos out of the vectors that `dedupe --model` keeps."""
    removed = 0
    for folder in _folders(lake.folder.child(VECTORS)):
        workspace = Workspace(folder)
        for name in sorted(folder.files()):
            try:
                arrays = workspace.load(name.removesuffix(".npz"))
                ids = [bytes(row).hex() for row in arrays["image_id"]]
                vectors = arrays["vectors"]
            except UNREADABLE:
                folder.remove(name)  # the next `dedupe --model` makes it again
                continue
            gone = is_gone(forgotten, forgotten.images, pa.array(ids, pa.string()))
            if gone.any():
                left = {"image_id": arrays["image_id"][~gone], "vectors": vectors[~gone]}
                workspace.save(name.removesuffix(".npz"), left)
                removed += int(gone.sum())
    return removed


def _folders(parent: Folder) -> list[Folder]:
    with storage_errors("list", parent.url):
        try:
            entries = parent.fs.ls(parent.path(), detail=True)
        except FileNotFoundError:
            return []
    names = [e["name"].rstrip("/").rsplit("/", 1)[-1] for e in entries if e["type"] == "directory"]
    return [parent.child(name) for name in sorted(names)]


def clean_index(lake: LakeStore, forgotten: Forgotten) -> str | None:
    """Take forgotten faces out of the vector index; return what became of it, None for nothing.

    Shards that hold one go: searches compare their faces one by one until `search-index` runs
    again. With trained cells all of it goes, for a cell's centre may be one face's vector.
    """
    store = IndexStore(lake)
    if not (store.folder.files() or store.folder.exists(POINTER)):
        return None
    try:
        manifest = store.manifest()
    except StorageError:
        manifest = None
    tainted = _tainted_shards(store, manifest, forgotten) if manifest else set()
    if manifest is not None and not tainted:
        store.publish(manifest)  # files that it does not name go
        return None
    if manifest is not None and manifest.kind == FLAT and len(tainted) < len(manifest.shards):
        shards = tuple(one for one in manifest.shards if one.name not in tainted)
        left = replace(manifest, shards=shards, rows=sum(one.rows for one in shards))
        store.publish(left)
        prune_cache(store.folder, left.files())
        return f"{len(tainted)} shards removed"
    store.folder.remove(POINTER)
    for name in [*store.folder.files(), *store.folder.temporary_files()]:
        store.folder.remove(name)
    prune_cache(store.folder, set())
    return "removed"


def _tainted_shards(store: IndexStore, manifest: Manifest, forgotten: Forgotten) -> set[str]:
    """Return the shards that hold a forgotten face, or cannot be read to tell."""
    tainted = set()
    for shard in manifest.shards:
        try:
            rows = np.load(io.BytesIO(store.folder.read(shard.name + ROWS)))
            faces = pa.array([face.decode() for face in rows["face_id"].tolist()], pa.string())
        except UNREADABLE:
            tainted.add(shard.name)
            continue
        if is_gone(forgotten, forgotten.faces, faces).any():
            tainted.add(shard.name)
    return tainted


def remove_checkpoints(lake: LakeStore) -> None:
    """Remove what stopped runs left to go on from, and what `dedupe` gathered: it costs time alone.

    Both hold what photos are recognised by.
    """
    for name in (CLUSTER_WORKSPACE, DEDUPE_WORKSPACE, GATHERED):
        Workspace(lake.folder.child(name)).remove()
        lake.folder.child(name).remove_if_empty()


def remove_report(lake: LakeStore) -> bool:
    """Remove the pages of `facelake report`, and return whether there were any."""
    folder = lake.folder.child("report")
    exists = folder.exists()
    if exists:
        Workspace(folder).remove()
    return exists


def remove_half_written(lake: LakeStore) -> int:
    """Remove half-written files of killed processes, wherever they lie.

    Object stores have none, unless somebody copied a local lake there.
    """
    with storage_errors("clean", lake.folder.url):
        names = [
            name for name in lake.folder.fs.find(lake.folder.path())
            if name.rsplit("/", 1)[-1].startswith(".") and name.endswith(TEMPORARY)
            and not (CORRECTIONS in name and _is_young(lake.folder, name))
        ]  # fmt: skip
        for name in names:
            lake.folder.fs.rm_file(name)
    return len(names)


def _is_young(folder: Folder, path: str) -> bool:
    """Return whether a file was written to a moment ago; False where nobody can tell."""
    try:
        written: datetime = folder.fs.modified(path)
        return (datetime.now(UTC) - written.astimezone(UTC)).total_seconds() < JUST_NOW_S
    except (NotImplementedError, OSError, KeyError, AttributeError, TypeError):
        return False


def clean_runs(lake: LakeStore, mentions: Callable[[str], bool]) -> int:
    """Take texts that mention something forgotten out of manifests of runs and of evaluations."""
    changed = 0
    for where in ("runs", "evaluation"):
        folder = lake.folder.child(where)
        for name in sorted(n for n in folder.files() if n.endswith(".json")):
            try:
                about = json.loads(folder.read(name))
            except ValueError:
                folder.remove(name)  # damaged: nobody can tell what it says
                continue
            cleaned = redacted(about, mentions)
            if cleaned != about:
                lake.publish_json(f"{where}/{name}", cleaned)
                changed += 1
    return changed


def redacted(value: Any, mentions: Callable[[str], bool]) -> Any:
    """Return a JSON value in which texts that mention something forgotten are replaced."""
    if isinstance(value, str):
        return REDACTED if mentions(value) else value
    if isinstance(value, list):
        return [redacted(item, mentions) for item in value]
    if isinstance(value, dict):
        return {redacted(key, mentions): redacted(item, mentions) for key, item in value.items()}
    return value
