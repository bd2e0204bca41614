"""Verifies the tables that are made from images and faces: people, duplicates, and corrections.

Nothing here is repaired: `facelake cluster` and `facelake dedupe` make their tables anew, and a
correction that cannot be read is somebody's word, to be restored from a backup.
"""

import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.dedupe.duplicates import CROPS, PAIRS, Duplicates
from pipeline.errors import StorageError
from pipeline.lake import schema
from pipeline.lake.columns import digest
from pipeline.lake.generations import Generations
from pipeline.lake.store import DIGEST, LakeStore, Models
from pipeline.people.store import People
from pipeline.storage.folder import Folder

# Kind, file, what is wrong.
Problem = tuple[str, str, str]


def problems(lake: LakeStore, models: Models) -> Iterator[Problem]:
    """Yield what is wrong with tables that were made from others."""
    schemas = schema.tables(models.dimension)
    yield from of_generations(People(lake).generations, schemas)
    extra = {PAIRS: schema.HASH_PAIRS, CROPS: schema.CROP_PAIRS}
    yield from of_generations(Duplicates(lake).generations, schemas | extra)
    folder = lake.folder.child("constraints")
    for name in sorted(folder.files()):
        if text := wrong(folder, name, schema.CONSTRAINTS):
            yield "corrections", f"constraints/{name}", text


def of_generations(made: Generations, schemas: dict[str, pa.Schema]) -> Iterator[Problem]:
    """Yield what is wrong with the current generation of some tables."""
    try:
        current = made.current()
    except StorageError as error:
        yield "derived", made.pointer, str(error)
        return
    named = current["tables"] if current else {table: [] for table in made.tables}
    for table in made.tables:
        folder = made.lake.folder.child(table)
        there = folder.files()
        for name in named[table]:
            text = (
                wrong(folder, name, schemas[table])
                if name in there
                else f"it is missing; {made.damaged}"
            )
            if text:
                yield "derived", f"{table}/{name}", text
        for name in sorted(set(there) - set(named[table])):
            if name.startswith("part-"):
                yield "left behind", f"{table}/{name}", "of an earlier run"


def wrong(folder: Folder, name: str, wanted: pa.Schema) -> str | None:
    """Return what is wrong with a file, None if it holds what was written."""
    try:
        table = pq.read_table(io.BytesIO(folder.read(name)))
    except (StorageError, pa.ArrowException, OSError) as error:
        return f"{type(error).__name__}: {error}"
    if not table.schema.equals(wanted):
        return "its columns are not those of this version"
    promised = (table.schema.metadata or {}).get(DIGEST, b"").decode()
    return None if digest(table) == promised else "its checksum differs"
