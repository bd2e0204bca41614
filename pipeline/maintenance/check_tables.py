"""Verifies tables that are made from others: people, duplicates, predictions; and corrections.

Nothing here is repaired: `facelake cluster`, `dedupe` and `classify` make their tables anew, and a
correction that cannot be read can only come from a backup.
"""

import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.dedupe.duplicates import CROPS, FAMILIES, LOOKS, PAIRS, Duplicates
from pipeline.errors import StorageError
from pipeline.lake import schema
from pipeline.lake.columns import digest
from pipeline.lake.generations import Generations
from pipeline.lake.store import DIGEST, LakeStore, Models
from pipeline.maintenance.finding import Finding
from pipeline.people.store import People
from pipeline.storage.folder import Folder
from pipeline.training.predictions import predictions_of


def findings_in_derived(lake: LakeStore, models: Models) -> Iterator[Finding]:
    """Yield what is wrong with tables that were made from others."""
    schemas = schema.tables(models.dimension)
    yield from of_generations(People(lake).generations, schemas)
    extra = {
        PAIRS: schema.HASH_PAIRS, CROPS: schema.CROP_PAIRS, LOOKS: schema.LOOKS,
        FAMILIES: schema.FAMILIES,
    }  # fmt: skip
    yield from of_generations(Duplicates(lake).generations, schemas | extra)
    yield from of_generations(predictions_of(lake), schemas)
    folder = lake.folder.child("constraints")
    for name in sorted(folder.files()):
        if text := wrong(folder, name, schema.CONSTRAINTS):
            yield Finding("corrections", f"constraints/{name}", text)


def of_generations(generations: Generations, schemas: dict[str, pa.Schema]) -> Iterator[Finding]:
    """Yield what is wrong with the current generation of some tables."""
    try:
        current = generations.current()
    except StorageError as error:
        yield Finding("derived", generations.pointer, str(error))
        return
    named = current["tables"] if current else {table: [] for table in generations.tables}
    for table in generations.tables:
        folder = generations.lake.folder.child(table)
        files = folder.files()
        for name in named[table]:
            text = (
                wrong(folder, name, schemas[table])
                if name in files
                else f"it is missing; {generations.damaged}"
            )
            if text:
                yield Finding("derived", f"{table}/{name}", text)
        for name in sorted(set(files) - set(named[table])):
            if name.startswith("part-"):
                yield Finding("left behind", f"{table}/{name}", "of an earlier run")


def wrong(folder: Folder, name: str, schema: pa.Schema) -> str | None:
    """Return what is wrong with a file, None if it holds what was written."""
    try:
        table = pq.read_table(io.BytesIO(folder.read(name)))
    except (StorageError, pa.ArrowException, OSError) as error:
        return f"{type(error).__name__}: {error}"
    if not table.schema.equals(schema):
        return "its columns are not those of this version"
    return None if is_as_written(table) else "its checksum differs"


def is_as_written(table: pa.Table) -> bool:
    """Return whether a table has the checksum that was written with it."""
    written: str = (table.schema.metadata or {}).get(DIGEST, b"").decode()
    return digest(table) == written
