"""Reads the pictures of a lake, and leaves their columns as arrays."""

import os
import re
from collections.abc import Sequence
from hashlib import blake2b
from posixpath import basename

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dedupe.algorithms.pictures import SHORT, Pictures
from pipeline.errors import StorageError
from pipeline.imaging.phash import HASH_BYTES, MIN_QUALITY
from pipeline.lake import schema
from pipeline.lake.checkpoints import Arrays, Workspace
from pipeline.lake.store import LakeStore
from pipeline.storage.folder import Folder

COLUMNS = (
    "image_id", "uri", "sha256", "pixels_sha256", "phash", "phash_quality", "phash_inner",
    "phash_turnable", "width", "height", "bytes", "sharpness", "taken_at", "camera", "holds_more",
    "damaged_rows",
)  # fmt: skip
# Images of one task: some hundred bytes each.
TASK_IMAGES = 500_000
# " (1)", "-2", "~3", "_copy", "-edited", " - Kopie": what programs add to the name of a copy.
COPY_MARK = re.compile(
    r"(?:[ _-]*(?:\(\d{1,3}\)|copy|kopie|copie|copia|edited|bearbeitet)|~\d{1,3})+$", re.IGNORECASE
)


def plan_tasks(lake: LakeStore, parts: list[str]) -> list[list[str]]:
    """Return the parts of each task: about `TASK_IMAGES` rows by the size of their files."""
    sizes = lake.folder.child("images").files()
    tasks: list[list[str]] = []
    room = 0
    for name in parts:
        if room <= 0 or not tasks:
            tasks.append([])
            room = TASK_IMAGES * 200  # bytes of a row in a file, about
        tasks[-1].append(name)
        room -= sizes.get(name, 0)
    return tasks


def gather(
    workspace: Workspace, name: str, lake: LakeStore, parts: list[str], reference: tuple[str, ...]
) -> None:
    """Leave the columns of `Pictures` for some parts; images without bytes are left out."""
    table = pa.concat_tables([read_columns(lake, part) for part in parts])
    workspace.save(name, columns_of(table.filter(pc.is_valid(table["sha256"])), reference))


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


def load(workspace: Workspace, tasks: int) -> Pictures:
    """Return what `gather` left."""
    loaded = [workspace.load(f"gather-{i:05}") for i in range(tasks)]
    return Pictures.join([Pictures(**one) for one in loaded])


def columns_of(table: pa.Table, reference: tuple[str, ...]) -> Arrays:
    """Return rows of `images` as the columns of `Pictures`."""
    uris = table["uri"].to_pylist()
    phash, there = binary(table["phash"], HASH_BYTES)
    inner, has_inner = binary(table["phash_inner"], HASH_BYTES)
    quality = table["phash_quality"].fill_null(0).to_numpy()
    taken = pc.cast(table["taken_at"], pa.int64())
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
        "least_bytes": table["bytes"].fill_null(0).to_numpy().astype(np.int64),
        "sharpness": table["sharpness"].to_numpy().astype(np.float64),
        "taken_ms": taken.to_numpy().astype(np.float64),
        "camera": np.array([number(c) if c else 0 for c in table["camera"].to_pylist()], np.uint64),
        "stem": np.array([number(stem(uri)) for uri in uris], np.uint64),
        "place": np.array([number(uri) for uri in uris], np.uint64),
        "damaged_rows": table["damaged_rows"].fill_null(0).to_numpy().astype(np.int64),
        "holds_more": np.asarray(table["holds_more"].fill_null(False)),
        "path_length": np.array([len(uri) for uri in uris], np.int64),
        "reference": np.array([is_below(uri, reference) for uri in uris], bool),
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


def number(text: str) -> int:
    """Return 64 bits that stand for a text, never 0."""
    digest = blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def stem(uri: str) -> str:
    """Return the name of a file without folder, ending and marks of a copy, in lower case."""
    name = basename(uri.rsplit("#", 1)[-1].rstrip("/"))
    name = name.rsplit(".", 1)[0] if "." in name[1:] else name
    return (COPY_MARK.sub("", name) or name).lower()


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
