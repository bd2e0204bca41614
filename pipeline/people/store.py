"""The store of people: generations of tables behind one pointer, and the log of corrections.

A run of clustering writes a generation: parts of `clusters`, `people` and `suggestions` that carry
its run id in their names. `clusters/_current.json` names the parts that count; it is replaced in
one step, so that readers see the old generation or the new one, never half of each. Corrections
are files of their own, written once and never again: clustering does not touch them.
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline import schema
from pipeline.clustering.corrections import Constraint, ordered
from pipeline.errors import ConfigError, StorageError
from pipeline.lake import Lake, parquet_bytes
from pipeline.storage import Folder, is_local
from pipeline.troubles import storage_errors

CURRENT = "clusters/_current.json"
TABLES = ("clusters", "people", "suggestions")
# Small files are waited for, not worked on: this many at once from remote storage.
READERS = 16
# A reader whose parts were removed by a new generation starts over; that it happens again within
# one read means that something else is wrong.
TRIES = 3


class People:
    """The people of a lake, and what was said about them.

    Args:
        lake: whose faces they are.
    """

    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def append(self, rows: Sequence[Constraint]) -> None:
        """Write corrections made together, in order, as one new file."""
        if not rows:
            return
        first = rows[0]
        name = f"{first.created_at:%Y%m%dT%H%M%S%f}-{first.constraint_id}.parquet"
        table = pa.Table.from_pylist([asdict(row) for row in rows], schema.CONSTRAINTS)
        # The id in the name is random: a file that is there already is this one, sent twice.
        self.lake.folder.create(f"constraints/{name}", parquet_bytes(table))

    def constraints(self) -> list[Constraint]:
        """Return all corrections in the order in which they were made.

        Raises:
            StorageError: a file is damaged.
        """
        folder = self.lake.folder.child("constraints")
        names = sorted(name for name in folder.files() if name.endswith(".parquet"))
        with ThreadPoolExecutor(1 if is_local(folder.fs) else READERS) as pool:
            files = pool.map(lambda name: _corrections(folder, name), names)
            return ordered(row for rows in files for row in rows)

    def current(self) -> dict[str, Any] | None:
        """Return what is known of the current generation, None when there is none.

        `run_id`, `tables` (table to names of its parts), and what `publish` was told `about` it.

        Raises:
            StorageError: the pointer is damaged.
        """
        if not self.lake.folder.exists(CURRENT):
            return None
        try:
            about: dict[str, Any] = json.loads(self.lake.folder.read(CURRENT))
            if not (
                about["run_id"] and all(about["tables"][table] is not None for table in TABLES)
            ):
                raise ValueError("it names no run")
            return about
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"{self.lake.folder.url}/{CURRENT} is damaged; run `facelake cluster` again: "
                "corrections are kept apart from it"
            ) from error

    def clusters(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """Return the person of each face; `where` keeps rows while they are read.

        Raises:
            ConfigError: nobody has clustered this lake yet.
        """
        return self._read("clusters", columns, where)

    def people(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """Return the persons; like `clusters`."""
        return self._read("people", columns, where)

    def suggestions(self) -> pa.Table:
        """Return which persons might be one, or two; like `clusters`."""
        return self._read("suggestions", None, None)

    def _read(
        self, table: str, columns: Sequence[str] | None, where: pc.Expression | None
    ) -> pa.Table:
        tried: set[str] = set()
        while True:
            current = self.current()
            if current is None:
                raise ConfigError(
                    f"There are no people yet in {self.lake.folder.url}; run facelake cluster "
                    f"{self.lake.folder.url}"
                )
            try:
                names = current["tables"][table]
                return scan(
                    self.lake.folder.child(table), names, self._schema(table), columns, where
                )
            except StorageError:
                # Did a new generation replace this one in the meantime?
                tried.add(current["run_id"])
                latest = self.current()
                if latest is None or latest["run_id"] in tried or len(tried) >= TRIES:
                    raise

    def _schema(self, table: str) -> pa.Schema:
        if table == "people":
            models = self.lake.models()
            if models is None:
                raise ConfigError(f"There is no lake at {self.lake.folder.url}; check the path")
            return schema.people_schema(models.dimension)
        return schema.CLUSTERS if table == "clusters" else schema.SUGGESTIONS

    def publish(
        self,
        run_id: str,
        clusters: Iterable[pa.Table],
        people: Iterable[pa.Table],
        suggestions: pa.Table,
        about: Mapping[str, Any],
    ) -> None:
        """Write a generation, make it the current one in one step, and remove the others.

        Only for who holds the lake's lock: what another run is writing would be removed.

        Args:
            run_id: of the run; a generation is written once.
            clusters: the person of each face, in any number of pieces, which become the parts.
            people: the persons, likewise.
            suggestions: which persons might be one, or two.
            about: what else to note beside the pointer; must not hold `run_id` or `tables`.
        """
        current = self.current_or_none()
        if current is not None and current["run_id"] == run_id:
            raise ConfigError(
                f"Run {run_id} has published its people already; give the new run another id"
            )
        pieces = {"clusters": clusters, "people": people, "suggestions": [suggestions]}
        tables = {table: self._write(table, run_id, rows) for table, rows in pieces.items()}
        pointer = {**about, "run_id": run_id, "tables": tables}
        self.lake.publish_json(CURRENT, pointer)
        for table, names in tables.items():
            folder = self.lake.folder.child(table)
            others = {name for name in folder.files() if name.startswith("part-")} - set(names)
            for name in [*sorted(others), *folder.temporary_files()]:
                folder.remove(name)

    def current_or_none(self) -> dict[str, Any] | None:
        """Return what `current` does, and None for a damaged pointer, which a new run replaces."""
        try:
            return self.current()
        except StorageError:
            return None

    def _write(self, table: str, run_id: str, pieces: Iterable[pa.Table]) -> list[str]:
        names: list[str] = []
        for rows in pieces:
            if len(rows):
                name = f"part-{run_id}-{len(names):05}.parquet"
                self.lake.folder.publish(f"{table}/{name}", parquet_bytes(rows))
                names.append(name)
        return names


def scan(
    folder: Folder,
    names: Sequence[str],
    whole: pa.Schema,
    columns: Sequence[str] | None = None,
    where: pc.Expression | None = None,
) -> pa.Table:
    """Return rows of the named Parquet files that `where` keeps, or all.

    Raises:
        StorageError: a file cannot be read.
    """
    if not names:
        return pa.schema([whole.field(name) for name in columns or whole.names]).empty_table()
    paths = [folder.path(name) for name in names]

    def load() -> pa.Table:
        data = ds.dataset(paths, filesystem=folder.fs, format="parquet", schema=whole)
        return data.to_table(
            columns=list(columns) if columns else None,
            filter=where,
            # Arrow's threads may outlive the read, and abort the process if it ends while they
            # hold a remote file system, which is Python's.
            use_threads=is_local(folder.fs),
        )

    with storage_errors("read", folder.url):
        return folder.attempt(load)


def _corrections(folder: Folder, name: str) -> list[Constraint]:
    """Return the corrections of one file."""
    data = folder.read(name)
    try:
        rows = pq.read_table(io.BytesIO(data)).select(schema.CONSTRAINTS.names).to_pylist()
        return [
            Constraint(**row | {"faces": tuple(row["faces"]), "others": tuple(row["others"])})
            for row in rows
        ]
    except (pa.ArrowException, KeyError, TypeError, OSError) as error:
        raise StorageError(
            f"{folder.url}/{name} is damaged ({error}); restore it from a backup, or move it out "
            "of constraints/ to go on without this correction"
        ) from error
