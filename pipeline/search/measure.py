"""Measures the recall of an index, and how many cells a search must look into to reach it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.arrays import Floats32
from pipeline.lake.checkpoints import Mapper
from pipeline.lake.store import LakeStore
from pipeline.search.exact import search_parts
from pipeline.search.reader import Reader
from pipeline.search.settings import VectorIndexConfig
from pipeline.search.topk import Hit, TopK
from pipeline.search.training import sample

NEAREST = 10
# A recall of 0.95 measured on 5,000 neighbours is off by 0.003; three times that is added to it.
RECALL_MARGIN = 0.01
# Faces that one task compares.
TASK_ROWS = 1_000_000


@dataclass(frozen=True)
class Measured:
    """The result of a measurement.

    Attributes:
        nprobe: fewest cells, within a quarter, that reach the recall; 0 for flat.
        recall: share of the 10 nearest that are found with them; None if there are no others.
        recalls: the same by number of cells, for all that were tried.
        queries: faces that were searched for.
    """

    nprobe: int
    recall: float | None
    recalls: Mapping[str, float]
    queries: int


def measure(
    lake: LakeStore,
    reader: Reader,
    rows: Mapping[str, int],
    config: VectorIndexConfig,
    mapper: Mapper,
) -> Measured:
    """Compare the index with exact search, on faces of the lake that are drawn by chance.

    A face is not counted as its own neighbour.

    Args:
        lake: whose parts are searched exactly.
        reader: the open index.
        rows: faces of each part.
        config: the recall to reach, the number of queries, and the seed that draws them.
        mapper: runs the exact search.
    """
    face_ids, vectors = sample(
        lake, rows, config.queries, config.seed + 1, reader.manifest.dimension
    )
    own = [face.decode() for face in face_ids.tolist()]
    exact = TopK(vectors, NEAREST + 1)
    arguments = [(lake, group, vectors) for group in _groups(rows)]
    for hits in mapper(_exact, arguments):
        for query, query_hits in enumerate(hits):
            exact.merge(query, query_hits)
    truth = _others(exact.hits, own)
    total = sum(map(len, truth))
    if not total:
        return Measured(reader.manifest.cells, None, {}, 0)
    recalls: dict[int, float] = {}

    def recall(probes: int) -> float:
        indexed = _others(reader.search(vectors, NEAREST + 1, probes).hits, own)
        correct = sum(len(a & b) for a, b in zip(indexed, truth, strict=True))
        recalls[probes] = round(correct / total, 4)
        return recalls[probes]

    nprobe = fewest(recall, reader.manifest.cells, min(1.0, config.recall + RECALL_MARGIN))
    tried = {str(probes): recalls[probes] for probes in sorted(recalls)}
    return Measured(nprobe, recalls[nprobe], tried, len(own))


def fewest(recall: Callable[[int], float], cells: int, target: float) -> int:
    """Return the fewest cells, within a quarter, with which the recall is reached; 0 for flat."""
    if not cells:
        recall(0)
        return 0
    low, probes = 0, 1
    while recall(probes) < target and probes < cells:
        low, probes = probes, min(cells, 2 * probes)
    for _ in range(2):
        middle = (low + probes) // 2
        if middle in (low, probes):
            break
        if recall(middle) >= target:
            probes = middle
        else:
            low = middle
    return probes


def _exact(lake: LakeStore, names: Sequence[str], queries: Floats32) -> list[list[Hit]]:
    return search_parts(lake, names, queries, NEAREST + 1)


def _others(hits: list[list[Hit]], own: Sequence[str]) -> list[set[str]]:
    """Return the ten best faces of each query that are not itself."""
    return [
        set([hit.face_id for hit in query_hits if hit.face_id != face][:NEAREST])
        for query_hits, face in zip(hits, own, strict=True)
    ]


def _groups(rows: Mapping[str, int]) -> list[list[str]]:
    groups: list[list[str]] = [[]]
    count = 0
    for name, faces in rows.items():
        if groups[-1] and count + faces > TASK_ROWS:
            groups.append([])
            count = 0
        groups[-1].append(name)
        count += faces
    return groups
