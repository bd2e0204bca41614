"""Tables that a run replaces as a whole: generations of parts behind one pointer.

A run writes parts that carry its run id in their names. The pointer names the parts that count; it
is replaced in one step, so that readers see the old generation or the new one, never half of each.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError, StorageError
from pipeline.lake.scan import scan
from pipeline.lake.store import LakeStore, parquet_bytes

# A reader whose parts were removed by a new generation starts over; if that happens again within
# one read, something else is wrong.
TRIES = 3
PART_ROWS = 500_000
# Pointers of the tables that are made from parts; each notes the sizes of the parts under `parts`.
PEOPLE, DUPLICATES = "clusters/_current.json", "duplicates/_current.json"

# Size of a part's file before and afterwards, None when it is gone, by name.
Resized = Mapping[str, tuple[int, int | None]]


@dataclass(frozen=True)
class Generations:
    """The generations of some tables of a lake.

    Attributes:
        lake: whose tables they are.
        pointer: file that names the current parts.
        tables: folders of the parts.
        missing: what to say where there is no generation; {lake} stands for its address.
        damaged: what to do about a pointer that is damaged.
        added_later: those of `tables` that earlier versions did not write; there they are empty.
    """

    lake: LakeStore
    pointer: str
    tables: tuple[str, ...]
    missing: str
    damaged: str
    added_later: tuple[str, ...] = ()

    def current(self) -> dict[str, Any] | None:
        """Return what the pointer says of the current generation, None when there is none.

        `run_id`, `tables` (table to names of its parts), and what `publish` was given as `about`.

        Raises:
            StorageError: the pointer is damaged.
        """
        try:
            pointer = self.lake.folder.read(self.pointer)
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
        try:
            about: dict[str, Any] = json.loads(pointer)
            about["tables"] = {table: [] for table in self.added_later} | about["tables"]
            if not (
                about["run_id"] and all(about["tables"][table] is not None for table in self.tables)
            ):
                raise ValueError("it names no run")
            return about
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"{self.lake.folder.url}/{self.pointer} is damaged; {self.damaged}"
            ) from error

    def current_or_none(self) -> dict[str, Any] | None:
        """Return what `current` does, and None for a damaged pointer, which a new run replaces."""
        try:
            return self.current()
        except StorageError:
            return None

    def read(
        self,
        table: str,
        schema: Callable[[], pa.Schema],
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
    ) -> pa.Table:
        """Return rows of the current generation; `where` keeps rows while they are read.

        Raises:
            ConfigError: there is none.
            StorageError: a part cannot be read.
        """
        tried: set[str] = set()
        while True:
            current = self.current()
            if current is None:
                raise ConfigError(self.missing.format(lake=self.lake.folder.url))
            try:
                folder = self.lake.folder.child(table)
                return scan(folder, current["tables"][table], schema(), columns, where)
            except StorageError:
                # Did a new generation replace this one in the meantime?
                tried.add(current["run_id"])
                latest = self.current()
                if latest is None or latest["run_id"] in tried or len(tried) >= TRIES:
                    raise

    def part_names(self, table: str) -> list[str]:
        """Return the names of the current parts of a table.

        Raises:
            ConfigError: there is no generation.
        """
        current = self.current()
        if current is None:
            raise ConfigError(self.missing.format(lake=self.lake.folder.url))
        names: list[str] = current["tables"][table]
        return names

    def publish(
        self, run_id: str, pieces: Mapping[str, Iterable[pa.Table]], about: Mapping[str, Any]
    ) -> None:
        """Write a generation, make it the current one in one step, and remove the others.

        Only for who holds the lake's lock: what another run is writing would be removed.

        Args:
            run_id: of the run; a generation is written once.
            pieces: of each of `tables`, any number of pieces, which become the parts.
            about: what else to note beside the pointer; must not hold `run_id` or `tables`.
        """
        current = self.current_or_none()
        if current is not None and current["run_id"] == run_id:
            raise ConfigError(
                f"Run {run_id} has published its tables already; give the new run another id"
            )
        tables = {table: self._write(table, run_id, pieces[table]) for table in self.tables}
        pointer = {**about, "run_id": run_id, "tables": tables}
        self.lake.publish_json(self.pointer, pointer)
        self.tidy()

    def discard(self) -> None:
        """Remove the current generation, whatever it holds; like `tidy`, for who holds the lock."""
        if self.lake.folder.exists(self.pointer):
            self.lake.folder.remove(self.pointer)
        self.tidy()

    def tidy(self) -> None:
        """Remove the parts of other generations, all of them when there is no current one.

        Only for who holds the lake's lock: what another run is writing would be removed.
        """
        current = self.current_or_none()
        for table in self.tables:
            folder = self.lake.folder.child(table)
            kept = set(current["tables"][table]) if current else set()
            others = {name for name in folder.files() if name.startswith("part-")} - kept
            for name in [*sorted(others), *folder.temporary_files()]:
                folder.remove(name)

    def _write(self, table: str, run_id: str, pieces: Iterable[pa.Table]) -> list[str]:
        names: list[str] = []
        for rows in pieces:
            if len(rows):
                name = f"part-{run_id}-{len(names):05}.parquet"
                self.lake.folder.publish(f"{table}/{name}", parquet_bytes(rows))
                names.append(name)
        return names


def note_sizes(lake: LakeStore, pointer: str, sizes: Resized) -> None:
    """Note new sizes of parts from which tables need not be made again."""
    if not sizes or not lake.folder.exists(pointer):
        return
    try:
        about: dict[str, Any] = json.loads(lake.folder.read(pointer))
        sized = {name: size_now(sizes, name, size) for name, size in about["parts"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # damaged, or of nobody: the tables are made again
    now = {name: size for name, size in sized.items() if size is not None}
    if now != about["parts"]:
        lake.publish_json(pointer, about | {"parts": now})


def size_now(sizes: Resized, name: str, size: int) -> int | None:
    """Return the size that a part has now, if it had `size`; None when it is gone."""
    before, now = sizes.get(name, (None, None))
    return now if before == size else size


def pieces(table: pa.Table) -> Iterator[pa.Table]:
    """Yield a table in parts."""
    for start in range(0, len(table), PART_ROWS):
        yield table.slice(start, PART_ROWS)
