"""Looks through every file of a lake for what should be gone.

Every text, picture and vector of every table is hashed with the lake's salt and looked up among
the tombstones. Right after forgetting, while it is still known in the clear, the bytes of every
file are searched for it as well.
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

ROWS = 16_384
# Ids as they stand in texts; and pictures inside pages.
_IDS = re.compile(r"[0-9a-f]{32}-\d+|[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{16}")
_PICTURES = re.compile(rb"data:image/jpeg;base64,([A-Za-z0-9+/=]+)")
PAIRS = "duplicates/_pairs/"


@dataclass
class Proof:
    """What was looked at, and what was found.

    Attributes:
        files, rows: how much was read.
        found: file and what is in it; empty when nothing is left.
    """

    files: int = 0
    rows: int = 0
    found: list[tuple[str, str]] = field(default_factory=list)

    def note(self, where: str, what: str) -> None:
        """Add a finding, each once."""
        if (where, what) not in self.found:
            self.found.append((where, what))


@dataclass(frozen=True)
class Clear:
    """What is gone, while it is still known.

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


def prove(lake: LakeStore, forgotten: Forgotten, clear: Clear | None = None) -> Proof:
    """Return what is left of what the lake was told to forget.

    Args:
        lake: whose files are read, hidden ones included, each once and whole.
        forgotten: its tombstones.
        clear: what was forgotten just now.

    Raises:
        StorageError: a file cannot be read.
    """
    proof = Proof()
    known = clear or Clear()
    needles, places = known.needles(), known.places()
    for path in _files(lake):
        data = lake.folder.read(path)
        proof.files += 1
        if path.startswith(f"{FOLDER}/"):
            if path == PENDING:
                proof.note(path, "a forgetting that was stopped; run `facelake forget LAKE`")
            continue
        for what in sorted(needles.found_in(data)):
            proof.note(path, what)
        try:
            if path.endswith(".parquet"):
                _table(lake, proof, path, data, forgotten, places, known.names)
            elif path.endswith((".npy", ".npz")):
                _arrays(proof, path, data, forgotten)
            elif not path.endswith(".faiss"):  # what it holds stands in its rows
                _text(proof, path, data, forgotten)
        except (pa.ArrowException, *UNREADABLE) as error:
            proof.note(path, f"it cannot be read, so nobody can tell ({type(error).__name__})")
    return proof


def _files(lake: LakeStore) -> list[str]:
    root = lake.folder.path().rstrip("/") + "/"
    with storage_errors("list", lake.folder.url):
        found = lake.folder.attempt(lambda: lake.folder.fs.find(lake.folder.path()))
    names = sorted(name.removeprefix(root) for name in found)
    return [name for name in names if name != LOCK]


def _table(
    lake: LakeStore, proof: Proof, path: str, data: bytes, forgotten: Forgotten,
    places: Sequence[str], names: Sequence[str],
) -> None:  # fmt: skip
    with pq.ParquetFile(io.BytesIO(data)) as file:
        for batch in file.iter_batches(ROWS, use_threads=False):
            proof.rows += len(batch)
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                for what in _column(column, forgotten, places, names):
                    proof.note(path, f"{what} in column {name}")
            if path.startswith(PAIRS):
                ends = {h for n in ("first", "second") for h in pc.unique(batch[n]).to_pylist()}
                suspects = {one for one in ends if forgotten.key(one) in forgotten.hashes}
                if suspects - live_hashes(lake, suspects):
                    proof.note(path, "a perceptual hash of a photo")


def _column(
    column: pa.Array, forgotten: Forgotten, places: Sequence[str], names: Sequence[str]
) -> Iterator[str]:
    """Yield what a column holds that should be gone."""
    kind = column.type
    if pa.types.is_fixed_size_list(kind) and pa.types.is_float32(kind.value_type):
        yield from _vectors(matrix(column.drop_null()), forgotten)
    elif pa.types.is_list(kind):
        yield from _column(column.flatten(), forgotten, places, names)
    elif pa.types.is_string(kind):
        texts = pc.unique(column).drop_null().to_pylist()
        yield from _told(texts, forgotten)
        if any(needle in text for text in texts for needle in places):
            yield "a place or id"
        if set(texts) & set(names):
            yield "a name"
    elif pa.types.is_binary(kind) and forgotten.thumbnails & {
        forgotten.key(one) for one in column.drop_null().to_pylist()
    }:
        yield "a thumbnail"


def _vectors(rows: Any, forgotten: Forgotten) -> Iterator[str]:
    if forgotten.vectors and any(
        forgotten.key(row.tobytes()) in forgotten.vectors for row in rows.astype("<f4")
    ):
        yield "a vector"


def _told(texts: Iterable[str], forgotten: Forgotten) -> Iterator[str]:
    """Yield which kinds of forgotten things texts name: they are one, or hold an id of one."""
    kinds = {
        "the id of a photo": forgotten.images, "the id of a face": forgotten.faces,
        "the id of a person": forgotten.persons, "the place of a photo": forgotten.addresses,
        "the hash of a photo": forgotten.contents | forgotten.pixels,
    }  # fmt: skip
    keys = {forgotten.key(word) for text in texts for word in (text, *_IDS.findall(text))}
    yield from (what for what, known in kinds.items() if keys & known)


def _arrays(proof: Proof, path: str, data: bytes, forgotten: Forgotten) -> None:
    loaded = np.load(io.BytesIO(data))
    arrays = (
        {"": loaded} if isinstance(loaded, np.ndarray) else {n: loaded[n] for n in loaded.files}
    )
    for array in arrays.values():
        for name in array.dtype.names or ("",):
            column = array[name] if name else array
            proof.rows += len(column) if column.ndim else 0
            if column.dtype.kind == "S":
                texts = [value.decode(errors="replace") for value in column.ravel().tolist()]
                for what in _told(texts, forgotten):
                    proof.note(path, what)
            elif column.dtype == np.float32 and column.ndim == 2:
                for what in _vectors(column, forgotten):
                    proof.note(path, what)
            elif column.dtype == np.uint8 and column.ndim == 2 and column.shape[1] == 16:
                for what in _told([bytes(row).hex() for row in column], forgotten):
                    proof.note(path, what)


def _text(proof: Proof, path: str, data: bytes, forgotten: Forgotten) -> None:
    for what in _told([data.decode(errors="replace")], forgotten):
        proof.note(path, what)
    for picture in set(_PICTURES.findall(data)):
        try:
            found = forgotten.key(base64.b64decode(picture)) in forgotten.thumbnails
        except binascii.Error:
            continue
        if found:
            proof.note(path, "a thumbnail")
