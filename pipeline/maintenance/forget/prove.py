"""Looks through every file of a lake for what should be gone.

Every text, picture and vector of every table is hashed with the lake's salt and looked up among
the tombstones. Right after forgetting, while what was removed is still in memory, the bytes of
every file are searched for it as well.
"""

import base64
import binascii
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.lake.columns import matrix
from pipeline.lake.lock import NAME as LOCK
from pipeline.lake.store import LakeStore
from pipeline.lake.tombstones import FOLDER, PENDING, Forgotten
from pipeline.maintenance.forget.derived import UNREADABLE, live_hashes
from pipeline.maintenance.forget.needles import Needles
from pipeline.storage.errors import storage_errors
from pipeline.storage.scratch import leftovers

ROWS = 16_384
# Ids as they stand in texts; and pictures inside pages.
_IDS = re.compile(r"[0-9a-f]{32}-\d+|[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{16}")
_PICTURES = re.compile(rb"data:image/jpeg;base64,([A-Za-z0-9+/=]+)")
PAIRS = "duplicates/_pairs/"


@dataclass
class Proof:
    """What was read, and what was found in it.

    Attributes:
        files, rows: how much was read.
        findings: file and what is in it; empty when nothing is left.
    """

    files: int = 0
    rows: int = 0
    findings: list[tuple[str, str]] = field(default_factory=list)

    def note(self, where: str, what: str) -> None:
        """Add a finding, each once."""
        if (where, what) not in self.findings:
            self.findings.append((where, what))


@dataclass(frozen=True)
class Cleartext:
    """What was just removed, while it is still in memory.

    Attributes:
        texts: ids and places.
        names: of people; looked for as whole values of tables, for they may be words as well.
        blobs: vectors and pictures.
    """

    texts: Sequence[str] = ()
    names: Sequence[str] = ()
    blobs: Sequence[bytes] = ()

    def needles(self) -> Needles:
        """Return what is looked for in the bytes of files."""
        texts = [("a place or id", text.encode(errors="surrogateescape")) for text in self.texts]
        blobs = [("a vector or thumbnail", blob) for blob in self.blobs]
        encoded = [
            ("a vector or thumbnail, as base64", base64.b64encode(blob).rstrip(b"=")[:-1])
            for blob in self.blobs
        ]
        return Needles([*texts, *blobs, *encoded])

    def places(self) -> tuple[str, ...]:
        """Return the texts that are no ids, which are found by their hashes."""
        return tuple(text for text in self.texts if not _IDS.fullmatch(text))


def prove(lake: LakeStore, forgotten: Forgotten, cleartext: Cleartext | None = None) -> Proof:
    """Return what is left of what was forgotten.

    What killed runs left outside the lake, on this machine, counts as a finding.

    Args:
        lake: whose files are read, hidden ones included, each once and whole.
        forgotten: its tombstones.
        cleartext: what was forgotten just now.

    Raises:
        StorageError: a file cannot be read.
    """
    inspection = _Inspection(lake, forgotten, cleartext or Cleartext())
    for path in _files(lake):
        inspection.read(path)
    for folder in leftovers():
        inspection.proof.note(
            folder, "a killed run left it, perhaps with photos or faces; the next run removes it"
        )
    return inspection.proof


def _files(lake: LakeStore) -> list[str]:
    root = lake.folder.path().rstrip("/") + "/"
    with storage_errors("list", lake.folder.url):
        paths = lake.folder.attempt(lambda: lake.folder.fs.find(lake.folder.path()))
    names = sorted(path.removeprefix(root) for path in paths)
    return [name for name in names if name != LOCK]


class _Inspection:
    """Reads files one after the other, and notes in `proof` what should be gone."""

    def __init__(self, lake: LakeStore, forgotten: Forgotten, cleartext: Cleartext) -> None:
        self.lake, self.forgotten, self.names = lake, forgotten, frozenset(cleartext.names)
        self.needles, self.places = cleartext.needles(), cleartext.places()
        self.proof = Proof()

    def read(self, path: str) -> None:
        """Look through a file."""
        data = self.lake.folder.read(path)
        self.proof.files += 1
        if path.startswith(f"{FOLDER}/"):
            if path == PENDING:
                self.proof.note(path, "a forgetting that was stopped; run `facelake forget LAKE`")
            return
        try:
            for what in (*sorted(self.needles.found_in(data)), *self._contents(path, data)):
                self.proof.note(path, what)
        except (pa.ArrowException, *UNREADABLE) as error:
            self.proof.note(path, f"it cannot be read, so nobody can tell ({type(error).__name__})")

    def _contents(self, path: str, data: bytes) -> Iterator[str]:
        if path.endswith(".parquet"):
            return self._table(path, data)
        if path.endswith((".npy", ".npz")):
            return self._arrays(data)
        # What an index holds stands in its rows.
        return iter(()) if path.endswith(".faiss") else self._text(data)

    def _table(self, path: str, data: bytes) -> Iterator[str]:
        with pq.ParquetFile(io.BytesIO(data)) as file:
            for batch in file.iter_batches(ROWS, use_threads=False):
                self.proof.rows += len(batch)
                for name, column in zip(batch.schema.names, batch.columns, strict=True):
                    for what in self._column(column):
                        yield f"{what} in column {name}"
                if path.startswith(PAIRS):
                    hashes = {
                        h for n in ("first", "second") for h in pc.unique(batch[n]).to_pylist()
                    }
                    suspects = {h for h in hashes if self.forgotten.key(h) in self.forgotten.hashes}
                    if suspects - live_hashes(self.lake, suspects):
                        yield "a perceptual hash of a photo"

    def _column(self, column: pa.Array) -> Iterator[str]:
        """Yield what a column holds that should be gone."""
        kind = column.type
        if pa.types.is_fixed_size_list(kind) and pa.types.is_float32(kind.value_type):
            yield from self._vectors(matrix(column.drop_null()))
        elif pa.types.is_list(kind):
            yield from self._column(column.flatten())
        elif pa.types.is_string(kind):
            texts = pc.unique(column).drop_null().to_pylist()
            yield from self._ids(texts)
            if any(place in text for text in texts for place in self.places):
                yield "a place or id"
            if self.names & set(texts):
                yield "a name"
        elif pa.types.is_binary(kind) and self.forgotten.thumbnails & {
            self.forgotten.key(picture) for picture in column.drop_null().to_pylist()
        }:
            yield "a thumbnail"

    def _vectors(self, rows: Any) -> Iterator[str]:
        vectors, key = self.forgotten.vectors, self.forgotten.key
        if vectors and any(key(row.tobytes()) in vectors for row in rows.astype("<f4")):
            yield "a vector"

    def _ids(self, texts: Iterable[str]) -> Iterator[str]:
        """Yield which kinds of forgotten things texts name: they are one, or hold an id of one."""
        forgotten = self.forgotten
        kinds = {
            "the id of a photo": forgotten.images, "the id of a face": forgotten.faces,
            "the id of a person": forgotten.persons, "the place of a photo": forgotten.addresses,
            "the hash of a photo": forgotten.contents | forgotten.pixels,
        }  # fmt: skip
        keys = {forgotten.key(word) for text in texts for word in (text, *_IDS.findall(text))}
        yield from (kind for kind, forgotten_keys in kinds.items() if keys & forgotten_keys)

    def _arrays(self, data: bytes) -> Iterator[str]:
        loaded = np.load(io.BytesIO(data))
        single = isinstance(loaded, np.ndarray)
        for array in [loaded] if single else [loaded[name] for name in loaded.files]:
            for name in array.dtype.names or ("",):
                yield from self._array(array[name] if name else array)

    def _array(self, array: np.ndarray) -> Iterator[str]:
        self.proof.rows += len(array) if array.ndim else 0
        if array.dtype.kind == "S":
            yield from self._ids(v.decode(errors="replace") for v in array.ravel().tolist())
        elif array.dtype == np.float32 and array.ndim == 2:
            yield from self._vectors(array)
        elif array.dtype == np.uint8 and array.ndim == 2 and array.shape[1] == 16:
            yield from self._ids(bytes(row).hex() for row in array)

    def _text(self, data: bytes) -> Iterator[str]:
        yield from self._ids([data.decode(errors="replace")])
        for picture in set(_PICTURES.findall(data)):
            try:
                key = self.forgotten.key(base64.b64decode(picture))
            except binascii.Error:
                continue
            if key in self.forgotten.thumbnails:
                yield "a thumbnail"
