"""The files of a vector index in a lake's `index/`, and the pointer that names the current ones.

Files are named by a hash of what they are made from, so their content never changes; the pointer
`_current.json` is replaced in one step. A build that was stopped leaves the old pointer, and files
that the next build uses or removes.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.errors import StorageError
from pipeline.lake.manifest import versions
from pipeline.lake.store import LakeStore

FORMAT = 1
FOLDER = "index"
POINTER = "_current.json"
VECTORS, ROWS, HALVES = ".faiss", ".rows.npy", ".fp16.npy"


@dataclass(frozen=True)
class Shard:
    """Some parts of the lake in one FAISS file.

    Attributes:
        name: stem of its files.
        rows: faces.
        parts: bytes and faces of each part by name, in the order of the rows.
    """

    name: str
    rows: int
    parts: Mapping[str, tuple[int, int]]

    def gone(self, live: Mapping[str, int]) -> list[str]:
        """Return the parts that are gone or changed; `live` gives bytes of the lake's parts."""
        return [name for name, (size, _) in self.parts.items() if live.get(name) != size]

    def live_rows(self, live: Mapping[str, int]) -> int:
        """Return how many faces are of parts that the lake still has."""
        gone = set(self.gone(live))
        return sum(rows for name, (_, rows) in self.parts.items() if name not in gone)


@dataclass(frozen=True)
class Manifest:
    """What the pointer says.

    Attributes:
        run_id: the run that published it.
        embedder: name and weights revision of the vectors.
        dimension: of the vectors.
        kind: "flat", "ivf" or "ivf-pq".
        trained: file with the quantiser of all shards.
        trained_rows: faces when it was trained.
        cells, nprobe: cells of the IVF kinds, and how many a search looks into; else 0.
        target: recall to reach.
        recall: share of the 10 nearest that a search with `nprobe` finds.
        recalls: the same for each number of cells that was tried.
        queries: faces on which recall was measured.
        measured_rows: faces of the lake at that time.
        rows: faces in the index, also of parts that are gone.
        seconds: that building took.
        versions: of the libraries.
    """

    run_id: str
    embedder: str
    dimension: int
    kind: str
    trained: str
    trained_rows: int
    cells: int
    nprobe: int
    target: float
    recall: float | None
    recalls: Mapping[str, float]
    queries: int
    measured_rows: int
    rows: int
    seconds: float
    shards: tuple[Shard, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def facts(self) -> dict[str, Any]:
        """Return what goes into the manifest of the run that built it."""
        facts = {k: v for k, v in asdict(self).items() if k not in ("shards", "versions")}
        return facts | {"shards": len(self.shards), "versions": versions() | dict(self.versions)}

    def covered(self, live: Mapping[str, int]) -> set[str]:
        """Return the parts of the lake that are in the index."""
        return {name for shard in self.shards for name in shard.parts} - {
            name for shard in self.shards for name in shard.gone(live)
        }

    def files(self) -> set[str]:
        """Return the names of all files."""
        ends = (VECTORS, ROWS, *([HALVES] if self.kind == "ivf-pq" else []))
        return {self.trained} | {shard.name + end for shard in self.shards for end in ends}


class IndexStore:
    """The vector index of a lake."""

    def __init__(self, lake: LakeStore) -> None:
        self.lake = lake
        self.folder = lake.folder.child(FOLDER)

    def manifest(self) -> Manifest | None:
        """Return the manifest of the index, None when there is none.

        Raises:
            StorageError: the pointer is damaged, or of another version of Facelake.
        """
        if not self.folder.exists(POINTER):
            return None
        where = f"{self.folder.url}/{POINTER}"
        try:
            raw: dict[str, Any] = json.loads(self.folder.read(POINTER))
            version = raw["format"]
            if version == FORMAT:
                shards = tuple(
                    Shard(one["name"], one["rows"], {n: (s, r) for n, (s, r) in one["parts"]})
                    for one in raw.pop("shards")
                )
                return Manifest(**raw, shards=shards)
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"{where} is damaged; make the index again: facelake search-index "
                f"{self.lake.folder.url} --full"
            ) from error
        raise StorageError(
            f"{where} has format {version}, this version of Facelake reads {FORMAT}; make the "
            f"index again: facelake search-index {self.lake.folder.url} --full"
        )

    def publish(self, manifest: Manifest) -> None:
        """Make a manifest the current one in one step, and remove files that it does not name.

        The caller holds the lake's lock: files that another build is writing would be removed.
        """
        raw = asdict(manifest)
        raw["shards"] = [
            # a list: the order of the parts is that of the rows
            {"name": one.name, "rows": one.rows, "parts": [[n, list(v)] for n, v in
                                                           one.parts.items()]}
            for one in manifest.shards
        ]  # fmt: skip
        self.folder.publish(POINTER, json.dumps(raw, indent=1).encode())
        for name in [*sorted(set(self.folder.files()) - manifest.files()),
                     *self.folder.temporary_files()]:  # fmt: skip
            self.folder.remove(name)
