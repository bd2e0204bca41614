"""What a vector index can be told, and the library that it needs."""

from dataclasses import dataclass
from typing import Any

from pipeline.config import require
from pipeline.errors import ConfigError

FLAT, IVF, IVF_PQ = "flat", "ivf", "ivf-pq"
KINDS = (FLAT, IVF, IVF_PQ)
# Up to here all vectors are looked at: a million of 512 half floats are 1 GB, read in a moment.
FLAT_BELOW = 1_000_000
# Up to here they fit into the memory of one machine as half floats; above, codes of D / 8 bytes do
# (Jegou, Douze, Schmid, "Product quantization for nearest neighbor search", PAMI 2011).
IVF_BELOW = 50_000_000
MOST_CELLS = 65_536


@dataclass(frozen=True, slots=True)
class VectorIndexConfig:
    """How an index is built.

    Attributes:
        kind: "flat", "ivf", "ivf-pq", or "auto" by the number of faces.
        cells: of the IVF kinds; None: about 2 sqrt(N), a power of two.
        recall: share of the ten nearest that a search must find.
        shard_rows: most faces of a shard; bounds a task's memory, see docs/search.md.
        gone_share: of a shard's faces that may be gone before it is built anew.
        queries: faces of the lake on which recall is measured.
        seed: of every choice by chance.
        full: whether all is built again.
    """

    kind: str = "auto"
    cells: int | None = None
    recall: float = 0.95
    shard_rows: int = 1_000_000
    gone_share: float = 0.2
    queries: int = 500
    seed: int = 0
    full: bool = False

    def __post_init__(self) -> None:
        """Check ranges."""
        require(self.kind in ("auto", *KINDS), f"kind is {self.kind!r}; choose auto, "
                f"{', '.join(KINDS)}")  # fmt: skip
        require(self.cells is None or 1 <= self.cells <= MOST_CELLS,
                f"cells is {self.cells}; give 1 to {MOST_CELLS}")  # fmt: skip
        require(0 < self.recall <= 1, f"recall is {self.recall}; give more than 0, at most 1")
        require(self.shard_rows >= 1, f"shard_rows is {self.shard_rows}; it must be 1 or more")
        require(0 <= self.gone_share <= 1, f"gone_share is {self.gone_share}; give 0 to 1")
        require(self.queries >= 1, f"queries is {self.queries}; it must be 1 or more")

    def kind_for(self, rows: int) -> str:
        """Return the kind of an index of so many faces."""
        if self.kind != "auto":
            return self.kind
        return FLAT if rows < FLAT_BELOW else IVF if rows < IVF_BELOW else IVF_PQ

    def cells_for(self, rows: int) -> int:
        """Return the number of cells of an IVF index; a cell must have some faces to be trained."""
        wanted = self.cells or 1 << max(0, round(rows**0.5 * 2)).bit_length() - 1
        return max(1, min(wanted, rows, MOST_CELLS))


def faiss() -> Any:
    """Return the library FAISS.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import faiss as library
    except ImportError as error:
        raise ConfigError(
            "A vector index needs FAISS: pip install 'facelake[search]'; without it `facelake "
            "search` compares with every face"
        ) from error
    return library


def has_faiss() -> bool:
    """Return whether FAISS is installed."""
    try:
        faiss()
    except ConfigError:
        return False
    return True
