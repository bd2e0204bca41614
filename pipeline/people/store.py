"""The store of people: generations of tables behind one pointer, and the log of corrections.

A run of clustering writes a generation of `clusters`, `people` and `suggestions`. Corrections are
files of their own, written once and never again: clustering does not touch them.
"""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import StorageError
from pipeline.lake import schema
from pipeline.lake.generations import PEOPLE as CURRENT
from pipeline.lake.generations import Generations
from pipeline.lake.store import LakeStore, parquet_bytes
from pipeline.people.corrections import Constraint, Corrections, ordered, resolve
from pipeline.storage.folder import Folder, is_local

T = TypeVar("T")

TABLES = ("clusters", "people", "suggestions")
# Small files are waited for, not worked on: this many at once from remote storage.
READERS = 16


def corrected_faces(lake: LakeStore) -> set[str]:
    """Return the ids of all faces that corrections speak of."""
    rows = People(lake).constraints()
    return {face for row in rows for face in (*row.faces, *row.others)}


class People:
    """The people of a lake, and what was said about them.

    Args:
        lake: whose faces they are.
    """

    def __init__(self, lake: LakeStore) -> None:
        self.lake = lake
        self.generations = Generations(
            lake,
            CURRENT,
            TABLES,
            "There are no people yet in {lake}; run facelake cluster {lake}",
            "run `facelake cluster` again: corrections are kept apart from it",
        )
        # A file of corrections is written once: a store that lives long reads each one once.
        self._files: dict[tuple[str, int], list[Constraint]] = {}
        # What `on_photos_here` was asked last, of which parts, and its answer.
        self._here: tuple[Any, frozenset[str]] = (None, frozenset())

    def append(self, rows: Sequence[Constraint]) -> None:
        """Write corrections made together, in order, as one new file.

        Raises:
            LakeBusyError: something is being forgotten, and these could speak of it.
        """
        if not rows:
            return
        self.lake.check_nothing_is_being_forgotten()
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
        return ordered(row for rows in self.constraint_files().values() for row in rows)

    def corrections(self) -> Corrections:
        """Return what all corrections amount to."""
        return self.once("corrections", lambda: resolve(self.constraints()))

    def constraint_sizes(self) -> Mapping[str, int]:
        """Return the files of corrections and their sizes."""
        return self.lake.folder.child("constraints").files()

    def once_a_run(self, name: str, make: Callable[[], T]) -> T:
        """Return what `make` makes of the current generation; who keeps things makes it once."""
        return make()

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return what `make` makes of the generation and the corrections; likewise."""
        return make()

    def constraint_files(self) -> dict[str, list[Constraint]]:
        """Return the corrections of each file, by its name.

        Raises:
            StorageError: a file is damaged.
        """
        folder, sizes = self.lake.folder.child("constraints"), self.constraint_sizes()
        files = sorted(file for file in sizes.items() if file[0].endswith(".parquet"))
        new = [file for file in files if file not in self._files]
        with ThreadPoolExecutor(1 if is_local(folder.fs) else READERS) as pool:
            read = dict(zip(new, pool.map(lambda file: _corrections(folder, file[0]), new),
                            strict=True))  # fmt: skip
        self._files = {file: read[file] if file in read else self._files[file] for file in files}
        return {name: rows for (name, _), rows in self._files.items()}

    def on_photos_here(self, faces: AbstractSet[str]) -> frozenset[str]:
        """Return those of some faces whose photos are in the lake, rather than gone."""
        if not faces:
            return frozenset()
        asked = frozenset(faces), self.lake.folder.child("images").files()
        if self._here[0] != asked:
            images = {schema.image_of(face) for face in faces}
            where = pc.field("image_id").isin(pa.array(sorted(images), pa.string()))
            here = set(self.lake.read("images", ["image_id"], where)["image_id"].to_pylist())
            self._here = asked, frozenset(f for f in faces if schema.image_of(f) in here)
        return self._here[1]

    def current(self) -> dict[str, Any] | None:
        """Return what is known of the current generation; see `Generations.current`."""
        return self.generations.current()

    def current_or_none(self) -> dict[str, Any] | None:
        """Return what `current` does, and None for a damaged pointer, which a new run replaces."""
        return self.generations.current_or_none()

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
        return self.generations.read(table, lambda: self._schema(table), columns, where)

    def _schema(self, table: str) -> pa.Schema:
        if table == "people":
            return schema.people_schema(self.lake.existing_models().dimension)
        return schema.CLUSTERS if table == "clusters" else schema.SUGGESTIONS

    def publish(
        self,
        run_id: str,
        clusters: Iterable[pa.Table],
        people: Iterable[pa.Table],
        suggestions: pa.Table,
        about: Mapping[str, Any],
    ) -> None:
        """Write a generation; see `Generations.publish`.

        Args:
            run_id: of the run; a generation is written once.
            clusters: the person of each face, in any number of pieces, which become the parts.
            people: the persons, likewise.
            suggestions: which persons might be one, or two.
            about: what else to note beside the pointer.
        """
        pieces = {"clusters": clusters, "people": people, "suggestions": [suggestions]}
        self.generations.publish(run_id, pieces, about)


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
