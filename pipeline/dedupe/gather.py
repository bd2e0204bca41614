"""Reads the pictures of a lake, and leaves their columns as arrays beside its duplicates."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dedupe.algorithms.pictures import SHORT, Pictures
from pipeline.errors import StorageError
from pipeline.imaging.phash import HASH_BYTES, MIN_QUALITY
from pipeline.lake import schema
from pipeline.lake.checkpoints import Arrays, TaskRunner, Workspace
from pipeline.lake.shelf import Shelf
from pipeline.lake.store import LakeStore
from pipeline.storage.folder import Folder, is_local
from pipeline.storage.scratch import scratch_errors

COLUMNS = (
    "image_id", "uri", "sha256", "pixels_sha256", "phash", "phash_quality", "phash_inner",
    "phash_turnable", "width", "height", "bytes", "sharpness", "taken_at", "camera", "holds_more",
    "damaged_rows",
)  # fmt: skip
# Images of one task: some hundred bytes each.
TASK_IMAGES = 500_000
# " (1)", "-2", "~3", "_copy", "-edited", " - Kopie": what programs add to the name of a copy.
COPY_MARK = r"(?i)(?:[ _-]*(?:\(\d{1,3}\)|copy|kopie|copie|copia|edited|bearbeitet)|~\d{1,3})+$"
# The columns of each part; a file of another version is passed by.
FOLDER, VERSION = "duplicates/_pictures", 1
CHECK = "crc"
# What NumPy and the storage raise for a file of arrays that is missing or damaged.
UNREADABLE = (StorageError, OSError, ValueError, KeyError, TypeError, EOFError)


@dataclass(frozen=True)
class Gathered:
    """The columns of each part of a lake, in files that later runs find again.

    A file belongs to a part of one name and size; one that is missing or damaged is made again.

    Attributes:
        lake: whose parts they are.
        reference: folders whose pictures are always kept.
    """

    lake: LakeStore
    reference: tuple[str, ...]

    @property
    def files(self) -> Workspace:
        """The folder of the files."""
        return Workspace(self.lake.folder.child(FOLDER))

    def file(self, part: str, size: int) -> str:
        """Return the name of a part's file."""
        text = json.dumps([VERSION, part, size, self.reference])
        return f"gathered-{blake2b(text.encode(), digest_size=16).hexdigest()}"

    def run(self, tasks: TaskRunner, parts: Mapping[str, int]) -> None:
        """Make the files of parts, names to sizes, that are not there."""
        if is_local(self.lake.folder.fs):
            missing = [part for part in parts if not self.is_sound(part, parts[part])]
        else:  # a damaged one shows when it is fetched
            names = self.files.names()
            missing = [part for part in parts if self.file(part, parts[part]) not in names]
        units = [(self, {part: parts[part] for part in unit})
                 for unit in plan_tasks(missing, parts)]  # fmt: skip
        tasks.progress("gather", 0, len(units))
        for finished, _ in enumerate(tasks.mapper(gather, units), 1):
            tasks.progress("gather", finished, len(units))

    def is_sound(self, part: str, size: int) -> bool:
        """Return whether the file of a part is there, bit for bit as it was written."""
        try:
            whole = self.files.open_large(self.file(part, size))
            return bool(whole[CHECK] == check(whole))
        except UNREADABLE:
            return False

    def open(self, part: str, size: int) -> Pictures | None:
        """Return the pictures of a part, mapped where the lake is local; None: not gathered."""
        try:
            return unpacked(self.files.open_large(self.file(part, size)))
        except UNREADABLE:
            return None

    def load(self, part: str, size: int) -> Pictures:
        """Return the pictures of a part.

        Raises:
            StorageError: its file went or was damaged; it is removed, and the next run makes it.
        """
        pictures = self.open(part, size)
        if pictures is None:
            self.files.folder.remove(f"{self.file(part, size)}.npy")
            raise StorageError(
                f"What was gathered of {self.lake.folder.url}/images/{part} cannot be read; run "
                "`facelake dedupe` again"
            )
        return pictures

    def joined(
        self, shelf: Shelf, parts: Mapping[str, int]
    ) -> tuple[Pictures, dict[str, tuple[int, int]]]:
        """Return the pictures of some parts as columns on a shelf, and size and rows of each."""
        loaded = {part: self.load(part, size) for part, size in parts.items()}
        counts = {part: (parts[part], len(one)) for part, one in loaded.items()}
        if sum(map(len, loaded.values())) <= shelf.held_rows:
            return Pictures.join([EMPTY, *loaded.values()]), counts
        columns = {}
        for name in Pictures.names():
            with scratch_errors(), open(shelf.path(name), "wb") as output:
                for one in loaded.values():
                    np.ascontiguousarray(getattr(one, name)).tofile(output)
            like = getattr(EMPTY, name)
            columns[name] = shelf.there(name, like.dtype).reshape(-1, *like.shape[1:])
        return Pictures(**columns), counts

    def tidy(self, parts: Mapping[str, int]) -> None:
        """Remove the files of other parts."""
        kept = {f"{self.file(*one)}.npy" for one in parts.items()}
        folder = self.files.folder
        for name in [*(set(folder.files()) - kept), *folder.temporary_files()]:
            folder.remove(name)


def plan_tasks(parts: Iterable[str], sizes: Mapping[str, int]) -> list[list[str]]:
    """Return the parts of each task: about `TASK_IMAGES` rows by the size of their files."""
    tasks: list[list[str]] = []
    room = 0
    for name in parts:
        if room <= 0 or not tasks:
            tasks.append([])
            room = TASK_IMAGES * 200  # bytes of a row in a file, about
        tasks[-1].append(name)
        room -= sizes[name]
    return tasks


def gather(gathered: Gathered, parts: Mapping[str, int]) -> None:
    """Leave the columns of `Pictures` of some parts; images without bytes are left out."""
    for part, size in parts.items():
        table = read_columns(gathered.lake, part)
        columns = columns_of(table.filter(pc.is_valid(table["sha256"])), gathered.reference)
        gathered.files.save_large(gathered.file(part, size), packed(columns))


def packed(columns: Arrays) -> np.ndarray:
    """Return columns as one array without dimensions, a field a column."""
    # Rows of all others take a multiple of eight bytes: so all are aligned.
    order = sorted(columns, key=lambda name: columns[name].dtype == bool)
    kinds = [(name, columns[name].dtype, columns[name].shape) for name in order]
    whole = np.zeros((), np.dtype([*kinds, (CHECK, np.uint32, ())]))
    for name, column in columns.items():
        whole[name] = column
    whole[CHECK] = check(whole)
    return whole


def check(whole: np.ndarray) -> int:
    """Return the CRC-32 of the columns that were `packed`; that of the file is the last field."""
    return crc32(whole.reshape(1).view(np.uint8)[: -np.dtype(np.uint32).itemsize].data)


def unpacked(whole: np.ndarray) -> Pictures:
    """Return what was `packed`."""
    columns = {name: whole[name] for name in whole.dtype.names or () if name != CHECK}
    return Pictures(**columns, least_bytes=columns["bytes"])


def read_columns(lake: LakeStore, part: str) -> pa.Table:
    """Return `COLUMNS` of a part of `images`.

    Raises:
        StorageError: it lacks some: an earlier version wrote it.
    """
    table = lake.read_part("images", part)
    for name in schema.ADDED_LATER.intersection(COLUMNS).difference(table.column_names):
        nothing = pa.nulls(len(table), schema.IMAGES.field(name).type)
        table = table.append_column(schema.IMAGES.field(name), nothing)
    if missing := set(COLUMNS) - set(table.column_names):
        raise StorageError(
            f"{lake.folder.url}/images/{part} was written by an earlier version and lacks "
            f"{', '.join(sorted(missing))}; run `facelake check --repair` and `facelake "
            "index` again"
        )
    return table.select(COLUMNS)


def columns_of(table: pa.Table, reference: tuple[str, ...]) -> Arrays:
    """Return rows of `images` as the columns of `Pictures`."""
    uris = table["uri"].combine_chunks()
    phash, there = binary(table["phash"], HASH_BYTES)
    inner, has_inner = binary(table["phash_inner"], HASH_BYTES)
    quality = table["phash_quality"].fill_null(0).to_numpy()
    taken = pc.cast(table["taken_at"], pa.int64())
    below = [is_below(uri, reference) for uri in uris.to_pylist()] if reference else False
    return {
        "image_id": hexes(table["image_id"]),
        "sha": hexes(table["sha256"]),
        "pixels": hexes(table["pixels_sha256"]),
        "phash": phash,
        "inner": inner,
        "turnable": binary(table["phash_turnable"], HASH_BYTES)[0],
        "has_phash": there & (quality >= MIN_QUALITY),
        "has_inner": has_inner,
        "width": table["width"].fill_null(0).to_numpy().astype(np.int64),
        "height": table["height"].fill_null(0).to_numpy().astype(np.int64),
        "bytes": table["bytes"].fill_null(0).to_numpy().astype(np.int64),
        "sharpness": table["sharpness"].to_numpy().astype(np.float64),
        "taken_ms": taken.to_numpy().astype(np.float64),
        "camera": numbers(table["camera"].fill_null(""), nothing=""),
        "stem": numbers(stems(uris)),
        "place": numbers(uris),
        "damaged_rows": table["damaged_rows"].fill_null(0).to_numpy().astype(np.int64),
        "holds_more": np.asarray(table["holds_more"].fill_null(False)),
        "path_length": pc.utf8_length(uris).to_numpy(zero_copy_only=False).astype(np.int64),
        "reference": np.full(len(table), below, bool),
    }


def hexes(column: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """Return the first `SHORT` bytes of texts of hex digits, zeros for null, uint8 [N, SHORT]."""
    texts = pc.utf8_slice_codeunits(column.fill_null("0" * 2 * SHORT), 0, 2 * SHORT)
    data = bytes.fromhex("".join(texts.to_pylist()))
    return np.frombuffer(data, np.uint8).reshape(-1, SHORT)


def binary(column: pa.ChunkedArray, size: int) -> tuple[npt.NDArray[np.uint8], np.ndarray]:
    """Return a column of fixed-size bytes, zeros for null, uint8 [N, size], and which are there."""
    valid = np.asarray(column.is_valid())
    values = np.zeros((len(column), size), np.uint8)
    data = b"".join(column.drop_null().to_pylist())
    values[valid] = np.frombuffer(data, np.uint8).reshape(-1, size)
    return values, valid


def numbers(texts: pa.Array, nothing: str | None = None) -> npt.NDArray[np.uint64]:
    """Return the `number` of each text, 0 for `nothing`, uint64 [N]."""
    coded = pc.dictionary_encode(texts)
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    found = [0 if text == nothing else number(text) for text in coded.dictionary.to_pylist()]
    values: npt.NDArray[np.uint64] = np.array(found, np.uint64)[coded.indices.to_numpy()]
    return values


def number(text: str) -> int:
    """Return 64 bits that stand for a text, never 0."""
    digest = blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def stems(uris: pa.Array) -> pa.Array:
    """Return names of files without folder, ending and marks of a copy, in lower case."""
    names = pc.replace_substring_regex(uris, r"(?s)^.*#", "")
    names = pc.replace_substring_regex(pc.utf8_rtrim(names, "/"), r"(?s)^.*/", "")
    names = pc.replace_substring_regex(names, r"(?s)^(.+)\.[^.]*$", r"\1")
    bare = pc.replace_substring_regex(names, COPY_MARK, "")
    return pc.utf8_lower(pc.if_else(pc.equal(bare, ""), names, bare))


def is_below(uri: str, folders: tuple[str, ...]) -> bool:
    """Return whether a place lies in one of some folders or archives, or is one of them."""
    return any(uri == folder or uri.startswith((f"{folder}/", f"{folder}#")) for folder in folders)


def with_links(folders: Sequence[str]) -> tuple[str, ...]:
    """Return folders as they are given, and with their links resolved: both may stand in `uri`."""
    paths = []
    for text in folders:
        url = Folder(text).url
        paths += [url] if "://" in url else [url, os.path.realpath(url)]
    return tuple(dict.fromkeys(paths))


EMPTY = unpacked(packed(columns_of(schema.IMAGES.empty_table().select(COLUMNS), ())))
