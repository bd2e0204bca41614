"""Reads and writes the tables `images` and `faces` of a lake, a folder of Parquet files.

A part is two files of one name: `faces/part-H.parquet` is published first, its twin
`images/part-H.parquet` second, where H is a hash of the image ids inside. Only images count as
done: a faces file without its twin is left over from a crash; readers ignore it and the next run
removes it.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, LakeBusyError, LakeMismatchError, StorageError
from pipeline.lake import lock, schema
from pipeline.lake.columns import digest
from pipeline.lake.ledger import COLUMNS, Ledger
from pipeline.lake.scan import read_batches, scan
from pipeline.lake.tombstones import PENDING, Forgotten, load_tombstones
from pipeline.storage.errors import storage_errors, within
from pipeline.storage.folder import Folder, is_local

FORMAT = 1
# Parts read at once for the ledger: enough for storage to answer in parallel, few enough to hold.
LEDGER_PARTS = 64
ABOUT = "lake.json"
GONE, SHARDS = "gone", "shards.json"
# Archives that were read to their ends: version of the file, and how many of its images are here.
Shards = Mapping[str, tuple[str, int]]
# Key in a part's Parquet metadata: `columns.digest` of its rows, for `facelake check`.
DIGEST = b"facelake.digest"


@dataclass(frozen=True, slots=True)
class Models:
    """The pair of models whose rows a lake holds.

    Attributes:
        detector, embedder: name and weights revision.
        dimension: of the vectors.
    """

    detector: str
    embedder: str
    dimension: int

    @property
    def names(self) -> tuple[str, str]:
        """The names of detector and embedder, without their revisions."""
        return self.detector.split("@")[0], self.embedder.split("@")[0]


class LakeStore:
    """The tables of a lake at a path or URL, and what is written about them.

    Args:
        url: local folder or any fsspec URL; it need not exist yet.
        options: storage options, see `storage.folder.filesystem`.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        self.folder = Folder(url, options or {})

    @classmethod
    def open(cls, url: str, options: Mapping[str, Any] | None = None) -> Self:
        """Return the lake that is at `url`.

        Raises:
            ConfigError: there is none.
            StorageError: the storage cannot be reached.
        """
        lake = cls(url, options)
        lake.folder.reach()
        lake.existing_models()
        return lake

    def existing_models(self) -> Models:
        """Return which models made this lake.

        Raises:
            ConfigError: there is no lake.
        """
        models = self.models()
        if models is None:
            raise ConfigError(
                f"There is no lake at {self.folder.url}; check the path, or make one with "
                f"facelake index PHOTOS --output {self.folder.url}"
            )
        return models

    def models(self) -> Models | None:
        """Return which models made this lake, None when it is new."""
        exists = partial(self.folder.exists, ABOUT)
        if not is_local(self.folder.fs):
            exists = partial(within, exists, "reach", self.folder.url)
        if not exists():
            return None
        about = self._about()
        return Models(about["detector"], about["embedder"], int(about["dimension"]))

    def _about(self) -> dict[str, Any]:
        try:
            about: dict[str, Any] = json.loads(self.folder.read(ABOUT))
        except ValueError as error:
            raise StorageError(
                f"{self.folder.url}/{ABOUT} is not JSON; restore it from a backup: without it "
                "nobody knows which models made the vectors"
            ) from error
        if about.get("format") != FORMAT:
            raise ConfigError(
                f"The lake {self.folder.url} has format {about.get('format')}, this version "
                f"of Facelake writes {FORMAT}; use the version that made it, or a new lake"
            )
        return about

    def claim(self, models: Models) -> None:
        """Make this a lake of `models`, or check that it is one.

        Raises:
            LakeMismatchError: it holds rows of other models.
            ConfigError: the folder holds something that is no lake.
        """
        current = self.models()
        if current == models:
            return
        # A run that was refused, or stopped before it wrote anything, does not fix the models.
        if current is not None and self.parts():
            raise self.mismatch(current, models.detector, models.embedder, models.dimension)
        if current is None and any(self.folder.child(t).files() for t in ("images", "faces")):
            raise ConfigError(
                f"{self.folder.url} has tables but no {ABOUT}; it is no lake, or lost it: "
                "choose an empty output, or restore the file"
            )
        about = {
            "format": FORMAT,
            "detector": models.detector,
            "embedder": models.embedder,
            "dimension": models.dimension,
        }
        self.folder.publish(ABOUT, json.dumps(about, indent=2).encode())

    def mismatch(
        self, current: Models, detector: str, embedder: str, dimension: int | None = None
    ) -> LakeMismatchError:
        """Return the error for a run of other models than the `current` ones."""
        lengths = ""
        if dimension not in (None, current.dimension):
            lengths = f" (vectors of {dimension} numbers, not {current.dimension})"
        return LakeMismatchError(
            f"The lake {self.folder.url} was made by {current.detector} and {current.embedder}; "
            f"this run would use {detector} and {embedder}{lengths}, whose rows cannot be compared "
            "with those. Index into a new lake (another --output)"
        )

    def parts(self) -> list[str]:
        """Return the names of the complete parts, in order."""
        faces = self.folder.child("faces").files()
        return sorted(name for name in self.folder.child("images").files() if name in faces)

    def orphans(self) -> dict[str, list[str]]:
        """Return by table the names of files without a twin: garbage of a crash."""
        names = {table: set(self.folder.child(table).files()) for table in ("images", "faces")}
        return {
            "faces": sorted(names["faces"] - names["images"]),
            "images": sorted(names["images"] - names["faces"]),
        }

    def sweep(self) -> int:
        """Remove orphans and half-written files, and return how many there were.

        Only for the run that holds the lake's lock: what another run is writing looks the same.
        """
        count = 0
        for table, orphans in self.orphans().items():
            folder = self.folder.child(table)
            for name in [*orphans, *folder.temporary_files()]:
                folder.remove(name)
                count += 1
        return count

    def read(
        self, table: str, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """Return "images" or "faces" from all complete parts; `where` keeps rows while reading.

        Raises:
            StorageError: a part cannot be read.
        """
        whole = (
            schema.IMAGES
            if table == "images"
            else schema.faces_schema(self.existing_models().dimension)
        )
        return scan(self.folder.child(table), self.parts(), whole, columns, where)

    def ledger(self, retry: frozenset[str] = frozenset()) -> Ledger:
        """Return which images are here, or were; those with an error in `retry` are to be read."""
        gone = self.gone()._pieces()
        return Ledger.from_tables(self._pieces(), retry, self.forgotten(), gone)

    def _pieces(self) -> Iterator[pa.Table]:
        names, folder = self.parts(), self.folder.child("images")
        for start in range(0, len(names), LEDGER_PARTS):
            yield scan(folder, names[start : start + LEDGER_PARTS], schema.IMAGES, COLUMNS)

    def gone(self) -> "LakeStore":
        """Return the lake inside this one that holds the rows of images that are not there."""
        return LakeStore(f"{self.folder.url}/{GONE}", self.folder.options)

    def with_gone(self) -> "list[LakeStore]":
        """Return this lake, and that of images that are not there, if it holds some."""
        gone = self.gone()
        return [self, gone] if gone.parts() else [self]

    def shards(self) -> Shards:
        """Return the archives that were read to their ends; none where nobody can tell."""
        if not self.folder.exists(SHARDS):
            return {}
        try:
            found: dict[str, list[Any]] = json.loads(self.folder.read(SHARDS))
            return {name: (str(version), int(n)) for name, (version, n) in found.items()}
        except (ValueError, TypeError, AttributeError):
            return {}

    def note_shards(self, shards: Shards) -> None:
        """Note archives that were read to their ends."""
        if shards:
            self.publish_json(SHARDS, {**self.shards(), **shards})

    def forgotten(self) -> Forgotten:
        """Return the tombstones of this lake."""
        return load_tombstones(self.folder)

    def check_nothing_is_being_forgotten(self) -> None:
        """Refuse what must not come between the steps of `facelake forget`.

        Raises:
            LakeBusyError: it is at work, or was stopped and not finished yet.
        """
        if self.folder.exists(PENDING):
            raise LakeBusyError(
                f"Something is being forgotten in {self.folder.url}; try again when `facelake "
                f"forget` has ended. If it was stopped, `facelake forget {self.folder.url}` "
                "finishes it"
            )

    def written_by(self, run_id: str) -> pa.Table:
        """Return columns `faces` and `error` of the images that a run wrote."""
        images = self.read("images", ["run_id", "faces", "error"])
        return images.filter(pc.equal(images["run_id"], run_id)).drop_columns(["run_id"])

    def read_part(self, table: str, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return "images" or "faces" of one part."""
        data = io.BytesIO(self.folder.read(f"{table}/{name}"))
        with storage_errors("read", f"{self.folder.url}/{table}/{name}"):
            return pq.read_table(data, columns=list(columns) if columns else None)

    def face_batches(
        self, name: str, columns: Sequence[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Return an iterator over columns of the faces of one part, at most `rows` at once."""
        return read_batches(self.folder.child("faces"), name, columns, rows)

    def publish_part(self, images: pa.Table, faces: pa.Table, run_id: str | None = None) -> str:
        """Write a part, faces first, and return its file name.

        The same images give the same name, so a task that is repeated replaces its own work.

        Raises:
            LakeBusyError: run `run_id` was taken for dead and another one holds the lake; a task
                that outlived its driver must not write what the other run writes too.
        """
        name = part_name(images["image_id"].to_pylist())
        for table, rows in (("faces", faces), ("images", images)):
            data = parquet_bytes(rows)
            self._check_still_held(run_id)
            self.folder.publish(f"{table}/{name}", data)
        return name

    def _check_still_held(self, run_id: str | None) -> None:
        holder = lock.holder(self.folder) if run_id else None
        if holder not in (None, run_id):
            raise LakeBusyError(
                f"Run {holder} has taken over the lake {self.folder.url} from {run_id}, which "
                "seemed dead; this one stops, nothing is lost"
            )

    def publish_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON file, for example a run's manifest."""
        self.folder.publish(name, json.dumps(value, indent=2, default=str).encode())


def part_name(image_ids: Sequence[str]) -> str:
    """Return the file name of the part that holds these images, in any order."""
    digest = hashlib.blake2b("".join(sorted(image_ids)).encode(), digest_size=16)
    return f"part-{digest.hexdigest()}.parquet"


def parquet_bytes(table: pa.Table) -> bytes:
    """Return the table as a Parquet file; the same table gives the same bytes."""
    buffer = io.BytesIO()
    metadata = {**(table.schema.metadata or {}), DIGEST: digest(table).encode()}
    table = table.replace_schema_metadata(metadata)
    # Vectors and pictures do not repeat; text columns do.
    texts = [f.name for f in table.schema if pa.types.is_string(f.type)]
    pq.write_table(table, buffer, compression="zstd", use_dictionary=texts)
    return buffer.getvalue()
