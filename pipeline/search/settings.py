"""Settings of searching and of the vector index, and whether FAISS is there."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pipeline.clustering.algorithms.tiers import TierConfig
from pipeline.config import OneFace
from pipeline.errors import ConfigError, needs_extra
from pipeline.options import Option, check_bounds, require

FLAT, IVF, IVF_PQ = "flat", "ivf", "ivf-pq"
KINDS = (FLAT, IVF, IVF_PQ)
# Below this all vectors are compared: a million of 512 half floats are 1 GB, read in a moment.
FLAT_BELOW = 1_000_000
# Below this half floats fit into the memory of one machine; above it, codes of D / 8 bytes do
# (Jegou, Douze, Schmid, "Product quantization for nearest neighbor search", PAMI 2011).
IVF_BELOW = 50_000_000
MOST_CELLS = 65_536

Choice = Annotated[OneFace, Option("which face to take of a photo that has several", name="select")]


@dataclass(frozen=True, slots=True)
class VectorIndexConfig:
    """How an index is built.

    Attributes:
        gone_share: of a shard's faces that may be gone before the shard is built again.
        queries: faces of the lake on which recall is measured.
        seed: of everything that is drawn by chance.
    """

    # fmt: off
    kind: Annotated[Literal["auto", "flat", "ivf", "ivf-pq"], Option(
        "auto: flat below a million faces, ivf to 50 million, ivf-pq above")] = "auto"
    cells: Annotated[int | None, Option("of the ivf kinds", "C", least=1, most=MOST_CELLS,
        unset="about 2 sqrt(faces)")] = None
    recall: Annotated[float, Option("share of the ten nearest faces that a search must find",
        "R", above=0, most=1)] = 0.95
    shard_rows: Annotated[int, Option("most faces of a shard, which bounds a task's memory",
        "N", least=1)] = 1_000_000
    full: Annotated[bool, Option("build all again, not only what is new")] = False
    gone_share: float = 0.2
    queries: int = 500
    seed: int = 0
    # fmt: on

    def __post_init__(self) -> None:
        """Check ranges."""
        check_bounds(self)
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


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """Which faces of a lake a search returns."""

    # fmt: off
    top: Annotated[int, Option("faces at most", "N", least=1)] = 20
    threshold: Annotated[float | None, Option("least similarity, -1 to 1", "T", least=-1,
        most=1)] = None
    exact: Annotated[bool, Option("compare every face even where there is an index")] = False
    choice: Choice = "largest"
    # fmt: on

    def __post_init__(self) -> None:
        """Check ranges."""
        check_bounds(self)


@dataclass(frozen=True, slots=True)
class IdentifyConfig:
    """When a face is accepted as a person; see docs/search.md."""

    # fmt: off
    among: Annotated[Literal["named", "all"], Option("persons with a name, or all")] = "named"
    threshold: Annotated[float | None, Option("least similarity", "T", least=-1, most=1,
        unset="clustering's threshold for two faces, else the model's")] = None
    margin: Annotated[float, Option("by how much the best person must lead the next", "M",
        least=0, most=2)] = 0.05
    min_face_px: Annotated[float, Option("smaller faces are not identified", "PX",
        least=0)] = (TierConfig().attach_px)
    choice: Choice = "largest"
    # fmt: on

    def __post_init__(self) -> None:
        """Check ranges."""
        check_bounds(self)


@dataclass(frozen=True, slots=True)
class VerifyConfig:
    """When two faces count as one person."""

    # fmt: off
    choice: Choice = "largest"
    threshold: Annotated[float | None, Option("least similarity", "X", least=-1, most=1,
        unset="the card's")] = None
    prior: Annotated[float | None, Option("probability of one person before the comparison",
        "X", above=0, below=1, unset="that of the calibration")] = None
    # fmt: on

    def __post_init__(self) -> None:
        """Check ranges."""
        check_bounds(self)


def faiss() -> Any:
    """Return the library FAISS.

    Raises:
        ConfigError: it is not installed.
    """
    without = "without it `facelake search` compares with every face"
    with needs_extra("search", "A vector index needs", without):
        import faiss as library
    return library


def has_faiss() -> bool:
    """Return whether FAISS is installed."""
    try:
        faiss()
    except ConfigError:
        return False
    return True
