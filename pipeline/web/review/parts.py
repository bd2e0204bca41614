"""Columns of a lake's parts that pages ask for again and again: read once, the last used kept."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline.lake.scan import scan
from pipeline.storage.errors import storage_errors
from pipeline.storage.folder import Folder, is_local

# Bytes of a part of `images` and of `faces`: they change when the part is rewritten.
Sizes = tuple[int, int]
# A part by its name and sizes, so that rows of a part that was rewritten are not shown.
Part = tuple[str, Sizes]

# Rows of some hundred thousand photos.
KEPT_BYTES = 96 << 20
# Parts of remote storage are waited for, not worked on.
READERS = 16


def part_rows(
    folder: Folder, name: str, whole: pa.Schema, columns: Sequence[str],
    where: pc.Expression | None = None,
) -> pa.Table:  # fmt: skip
    """Return columns of one part. A remote one is fetched whole: one request, and not five."""
    if is_local(folder.fs):
        return scan(folder, [name], whole, columns, where)
    data = pa.BufferReader(folder.read(name))
    with storage_errors("read", f"{folder.url}/{name}"):
        kind = ds.ParquetFileFormat()
        part = ds.FileSystemDataset([kind.make_fragment(data)], whole, kind)
        return part.to_table(columns=list(columns), filter=where, use_threads=False)


def each_part(
    folder: Folder, names: Sequence[str], whole: pa.Schema, columns: Sequence[str],
    where: pc.Expression | None = None,
) -> list[pa.Table]:  # fmt: skip
    """Return columns of each of some parts, several at once where storage is remote."""

    def read(name: str) -> pa.Table:
        if "thumbnail" in whole.names:  # most of the bytes, which are not asked for
            return scan(folder, [name], whole, columns, where)
        return part_rows(folder, name, whole, columns, where)

    if is_local(folder.fs) or len(names) < 2:
        return [read(name) for name in names]
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(read, names))


class KeptParts:
    """Columns of the parts of a table; threads may share it.

    Args:
        folder: of the table.
        whole: schema of the table.
        columns: that are kept.
    """

    def __init__(self, folder: Folder, whole: pa.Schema, columns: Sequence[str]) -> None:
        self.folder = folder
        self.whole = whole
        self.columns = list(columns)
        self._lock = threading.Lock()
        self._parts: OrderedDict[Part, pa.Table] = OrderedDict()
        self._bytes = 0
        self._sizes: Mapping[str, Sizes] = {}

    def rows(self, parts: Sequence[Part], key: str, wanted: Sequence[str]) -> pa.Table:
        """Return the rows of parts whose `key` is wanted."""
        with self._lock:
            missing = [part for part in parts if part not in self._parts]
            found = {part: self._parts[part] for part in parts if part in self._parts}
        read = each_part(self.folder, [name for name, _ in missing], self.whole, self.columns)
        found |= dict(zip(missing, read, strict=True))
        with self._lock:
            # What was rewritten meanwhile is not kept.
            for part in [part for part in parts if self._sizes.get(part[0]) == part[1]]:
                if part not in self._parts:
                    self._parts[part] = found[part]
                    self._bytes += found[part].nbytes
                self._parts.move_to_end(part)
            while len(self._parts) > 1 and self._bytes > KEPT_BYTES:
                self._bytes -= self._parts.popitem(last=False)[1].nbytes
        if not found:
            return pa.schema([self.whole.field(name) for name in self.columns]).empty_table()
        ids = pa.array(list(wanted), pa.string())
        return pa.concat_tables(
            [table.filter(pc.is_in(table[key], ids)) for table in found.values()]
        )

    def drop_others(self, sizes: Mapping[str, Sizes]) -> None:
        """Drop the rows of parts that are gone or were rewritten."""
        with self._lock:
            self._sizes = sizes
            for part in [part for part in self._parts if sizes.get(part[0]) != part[1]]:
                self._bytes -= self._parts.pop(part).nbytes
