"""Reads the pictures of a lake, and leaves their columns as arrays beside its duplicates."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
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
from pipeline.sources.walk import version_of
from pipeline.storage.errors import storage_errors
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
# The columns of each part. A file of another version is passed by, and groups are not built on it:
# count up when columns change, or how pictures are grouped.
FOLDER, VERSION = "duplicates/_pictures", 1
CHECK = "crc"
# What NumPy raises for a file of arrays that is damaged.
DAMAGED = (ValueError, KeyError, TypeError, EOFError, IndexError)


@dataclass(frozen=True)
class Gathered:
    """The columns of each part of a lake, in files that later runs find again.

    A file belongs to one version of a part; one that is missing or damaged is made again.

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

    def file(self, part: str, version: str) -> str:
        """Return the name of a part's file."""
        text = json.dumps([VERSION, part, version, self.reference])
        return f"gathered-{blake2b(text.encode(), digest_size=16).hexdigest()}"

    def run(self, tasks: TaskRunner, parts: Mapping[str, str]) -> None:
        """Make the files of parts, names to versions, that are not there."""
        if is_local(self.lake.folder.fs):
            missing = [part for part in parts if self.sound(part, parts[part]) is None]
        else:  # a damaged one shows when it is fetched
            names = self.files.names()
            missing = [part for part in parts if self.file(part, parts[part]) not in names]
        units = [(self, {part: parts[part] for part in unit})
                 for unit in plan_tasks(missing, parts)]  # fmt: skip
        tasks.progress("gather", 0, len(units))
        for finished, _ in enumerate(tasks.mapper(gather, units), 1):
            tasks.progress("gather", finished, len(units))

    def sound(self, part: str, version: str, checked: bool = True) -> Pictures | None:
        """Return the pictures of a part, mapped where the lake is local; None: not gathered.

        Args:
            part: its name.
            version: which of its contents.
            checked: whether each bit is looked at, as it always is when the file is fetched.

        Raises:
            StorageError: the storage does not answer.
        """
        try:
            whole = self.files.open_large(self.file(part, version))
            if (checked or not is_local(self.lake.folder.fs)) and whole[CHECK] != check(whole):
                return None
            return unpacked(whole)
        except StorageError as error:
            if isinstance(error.__cause__, (FileNotFoundError, *DAMAGED)):
                return None
            raise
        except DAMAGED:
            return None

    def load(self, part: str, version: str) -> Pictures:
        """Return the pictures of a part; what went or was damaged since is gathered again.

        Raises:
            StorageError: the storage does not answer, or does not keep what it is given.
        """
        pictures = self.sound(part, version, checked=False)
        if pictures is None:
            gather(self, {part: version})
            pictures = self.sound(part, version)
        if pictures is None:
            raise StorageError(
                f"What was gathered of {self.lake.folder.url}/images/{part} cannot be read back; "
                "look at the storage"
            )
        return pictures

    def joined(
        self, shelf: Shelf, parts: Mapping[str, str]
    ) -> tuple[Pictures, dict[str, tuple[str, int]]]:
        """Return the pictures of some parts as columns on a shelf, and version and rows of each.

        One part at a time is open: a process may open a thousand files, and there are more parts.
        """
        counts = {one: (parts[one], len(self.load(one, parts[one]))) for one in parts}
        each = (self.load(part, version) for part, version in parts.items())
        if sum(rows for _, rows in counts.values()) <= shelf.held_rows:
            return Pictures.join([EMPTY, *(pictures.copy() for pictures in each)]), counts
        with scratch_errors(), ExitStack() as stack:
            files = {name: stack.enter_context(open(shelf.path(name), "wb"))
                     for name in Pictures.names()}  # fmt: skip
            for pictures in each:
                for name, file in files.items():
                    np.ascontiguousarray(getattr(pictures, name)).tofile(file)
        columns = {}
        for name in files:
            like = getattr(EMPTY, name)
            columns[name] = shelf.there(name, like.dtype).reshape(-1, *like.shape[1:])
        return Pictures(**columns), counts

    def tidy(self, parts: Mapping[str, str]) -> None:
        """Remove the files of other parts."""
        kept = {f"{self.file(*one)}.npy" for one in parts.items()}
        folder = self.files.folder
        for name in [*(set(folder.files()) - kept), *folder.temporary_files()]:
            folder.remove(name)


def versions_of(lake: LakeStore) -> dict[str, str]:
    """Return the version of each part of a lake: size, and mark or time of its `images` file."""
    folder, parts = lake.folder.child("images"), lake.parts()
    if not parts:
        return {}
    with storage_errors("list", folder.url):
        entries = folder.attempt(lambda: folder.fs.ls(folder.path(), detail=True, refresh=True))
    found = {one["name"].rsplit("/", 1)[-1]: version_of(one) or f"{one['size']}"
             for one in entries}  # fmt: skip
    return {name: found[name] for name in parts if name in found}


def plan_tasks(parts: Iterable[str], versions: Mapping[str, str]) -> list[list[str]]:
    """Return the parts of each task: about `TASK_IMAGES` rows by the size of their files."""
    tasks: list[list[str]] = []
    room = 0
    for name in parts:
        if room <= 0 or not tasks:
            tasks.append([])
            room = TASK_IMAGES * 200  # bytes of a row in a file, about
        tasks[-1].append(name)
        room -= size_of(versions[name])
    return tasks


def size_of(version: str) -> int:
    """Return the bytes of the file of a part of this version."""
    return int(version.split()[0])


def gather(gathered: Gathered, parts: Mapping[str, str]) -> None:
    """Leave the columns of `Pictures` of some parts; images without bytes are left out."""
    for part, version in parts.items():
        table = read_columns(gathered.lake, part)
        columns = columns_of(table.filter(pc.is_valid(table["sha256"])), gathered.reference)
        gathered.files.save_large(gathered.file(part, version), packed(columns))


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
