"""The people of a lake for a process that lives long: what was read once stays in memory.

Tables of a generation never change, and files of corrections are written once. What has to be asked
again is which generation is current and which files there are; remote storage is asked that only
now and then, see `PAUSE_S`.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import StorageError
from pipeline.lake.store import LakeStore
from pipeline.people.corrections import Constraint, Corrections, Resolver
from pipeline.people.store import People
from pipeline.people.view import MEMBERS, SHOWN
from pipeline.storage.folder import is_local

T = TypeVar("T")

# What others did in remote storage shows after so long at most. This machine's own file system is
# asked each time: that takes less than a millisecond.
PAUSE_S = 2.0
# Columns that pages ask for again and again. Tables of more rows are read each time.
KEPT_COLUMNS = {
    "clusters": MEMBERS,
    "people": SHOWN,
}
MOST_ROWS = 4_000_000


class _Made:
    """What was made of one state, by name; that of another state is forgotten."""

    def __init__(self) -> None:
        self._state: Any = None
        self._made: dict[str, Any] = {}

    def get(self, state: Any, name: str, make: Callable[[], T]) -> T:
        """Return what `make` makes of a state, made once."""
        if self._state != state:
            self._state, self._made = state, {}
        if name not in self._made:
            self._made[name] = make()
        made: T = self._made[name]
        return made


class KeptPeople(People):
    """The people of a lake; threads may share it.

    Args:
        lake: whose faces they are.
    """

    def __init__(self, lake: LakeStore) -> None:
        super().__init__(lake)
        self._lock = threading.RLock()
        self._pause_s = 0.0 if is_local(lake.folder.fs) else PAUSE_S
        self._asked: dict[str, tuple[float, Any]] = {}
        self._schemas: dict[str, pa.Schema] = {}
        self._resolver = Resolver()
        self._of_run = _Made()
        self._of_state = _Made()

    def fresh(self) -> None:
        """Ask the storage again at the next call, however short the time since the last."""
        with self._lock:
            self._asked.clear()

    def append(self, rows: Sequence[Constraint]) -> None:
        """Write corrections; see `People.append`."""
        super().append(rows)
        with self._lock:
            self._asked.pop("constraints", None)

    def current(self) -> dict[str, Any] | None:
        """Return what is known of the current generation; see `Generations.current`."""
        return self._now_and_then("current", super().current)

    def current_or_none(self) -> dict[str, Any] | None:
        """Return what `current` does, and None for a damaged pointer."""
        try:
            return self.current()
        except StorageError:
            return None

    def constraint_sizes(self) -> Mapping[str, int]:
        """Return the files of corrections and their sizes."""
        return self._now_and_then("constraints", super().constraint_sizes)

    def constraint_files(self) -> dict[str, list[Constraint]]:
        """Return the corrections of each file; see `People.constraint_files`."""
        with self._lock:
            return super().constraint_files()

    def constraints(self) -> list[Constraint]:
        """Return all corrections in the order in which they were made."""
        return self.once("constraints", super().constraints)

    def corrections(self) -> Corrections:
        """Return what all corrections amount to."""
        return self.once("corrections", lambda: self._resolver.resolve(self.constraints()))

    def once_a_run(self, name: str, make: Callable[[], T]) -> T:
        """Return what `make` makes of the current generation, made once."""
        with self._lock:
            return self._of_run.get(self._run_id(), name, make)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return what `make` makes of the generation and the corrections, made once."""
        with self._lock:
            state = self._run_id(), frozenset(self.constraint_sizes().items())
            return self._of_state.get(state, name, make)

    def _run_id(self) -> str:
        return str((self.current() or {}).get("run_id"))

    def _now_and_then(self, what: str, ask: Callable[[], T]) -> T:
        if not self._pause_s:
            return ask()
        with self._lock:
            until, known = self._asked.get(what, (0.0, None))
            if time.monotonic() >= until:
                known = ask()
                self._asked[what] = time.monotonic() + self._pause_s, known
            answer: T = known
            return answer

    def _read(
        self, table: str, columns: Sequence[str] | None, where: pc.Expression | None
    ) -> pa.Table:
        kept = KEPT_COLUMNS.get(table)
        if kept is None or columns is None or not set(columns) <= set(kept):
            return super()._read(table, columns, where)
        whole = self.once_a_run(table, lambda: self._whole(table, kept))
        if whole is None:
            return super()._read(table, columns, where)
        return (whole if where is None else whole.filter(where)).select(list(columns))

    def _whole(self, table: str, columns: Sequence[str]) -> pa.Table | None:
        found = super()._read(table, columns, None)
        return found.combine_chunks() if len(found) <= MOST_ROWS else None

    def _schema(self, table: str) -> pa.Schema:
        if table not in self._schemas:
            self._schemas[table] = super()._schema(table)
        return self._schemas[table]
