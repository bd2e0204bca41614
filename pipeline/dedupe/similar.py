"""Candidates by an image embedding, any ONNX model with a card; the vectors are made in tasks.

Hashes do not survive a crop or a new frame; embeddings made for copies do. But they are as sure of
pictures of one scene or person, so what they find is looked at again (`confirm`). The originals are
read once for each model, and their vectors kept beside the table.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from pipeline.arrays import Bools, Floats32, Ints, Pixels
from pipeline.config import DecodeConfig, Licences
from pipeline.dedupe.algorithms.faces import HASH_BITS, sign_hashes
from pipeline.dedupe.algorithms.pictures import Pictures, places_of
from pipeline.dedupe.gather import hexes
from pipeline.dedupe.search import HashSearch, find_pairs
from pipeline.errors import ImageError
from pipeline.imaging.sandbox import Sandbox
from pipeline.lake.checkpoints import TaskRunner, Workspace
from pipeline.lake.ledger import Ledger
from pipeline.lake.manifest import read_config
from pipeline.lake.store import LakeStore
from pipeline.models.embedder import Embedder, load_pictures
from pipeline.sources.members import Report
from pipeline.sources.read import read
from pipeline.sources.units import Unit, archive_kind

logger = logging.getLogger(__name__)

BATCH = 32
CHUNK = 100_000
READ = ("image_id", "uri", "shard", "error")
# Deviations of the sign hash's bits beyond their mean that are searched: one pair of a thousand
# at the threshold itself is missed.
DEVIATIONS = 3.0
# Below it, sign hashes of what is alike and of what is not overlap: all pictures are compared.
LEAST_HASHED = 0.88
BLOCK_BYTES, NEAREST = 2**28, 32
# Strangers that a picture is expected to be compared with, by the normal distribution.
STRANGERS = 1.0
# Pairs of the lake as which the card's threshold counts, and the one of a card without.
PRIOR_PAIRS, PRIOR = 2000, 0.95
SAMPLE, SHIFTS = 20_000, 25
NORMAL = NormalDist()


@dataclass(frozen=True)
class Similarity:
    """An embedding, and the cosine from which two pictures may be one.

    Attributes:
        model: name, or path of the ONNX file or its card; on every node.
        threshold: cosine; None: measured, see `measured`.
        licences: of the weights that may be used, see `WeightStore`.
    """

    model: str
    threshold: float | None = None
    licences: Licences | None = None


def radius(threshold: float) -> int:
    """Return by how many bits sign hashes at a cosine differ at most, nearly always."""
    share = float(np.arccos(threshold) / np.pi)
    spread = (HASH_BITS * share * (1 - share)) ** 0.5
    return int(np.ceil(HASH_BITS * share + DEVIATIONS * spread))


def measured(vectors: Floats32, prior: float | None) -> float:
    """Return the cosine above which a picture has `STRANGERS` others by chance.

    Mean and deviation are of the lower half of random pairs, few of which are copies.

    Args:
        vectors: unit vectors of the pictures of a lake, float32 [N, D].
        prior: threshold of the model's card, which is never exceeded; it counts as `PRIOR_PAIRS`
            pairs.
    """
    prior = PRIOR if prior is None else prior
    count = len(vectors)
    # Neighbours in a folder are of one scene: drawn in another order, the same each time.
    sample = vectors[np.random.default_rng(0).permutation(count)[:SAMPLE]]
    shifts = range(1, min(SHIFTS, len(sample) - 1) + 1)
    cosines = [(sample * np.roll(sample, shift, axis=0)).sum(axis=1) for shift in shifts]
    if not cosines:
        return prior
    values = np.concatenate(cosines)
    mean, low = np.quantile(values, [0.5, NORMAL.cdf(-1)]).tolist()
    above = mean - NORMAL.inv_cdf(min(0.5, STRANGERS / count)) * (mean - low)
    share = len(values) / (len(values) + PRIOR_PAIRS)
    return float(np.clip(share * above + (1 - share) * prior, 0, prior))


@dataclass
class Vectors:
    """Vectors of pictures while they are made: ids and crops that wait for a batch."""

    embedder: Embedder
    ids: list[str] = field(default_factory=list)
    waiting: list[Pixels] = field(default_factory=list)
    batches: list[np.ndarray] = field(default_factory=list)

    def add(self, image_id: str, pixels: Pixels) -> None:
        """Take one picture."""
        side = self.embedder.card.input_size
        small = Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX)
        self.ids.append(image_id)
        self.waiting.append(np.asarray(small))
        if len(self.waiting) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Embed what waits."""
        if self.waiting:
            self.batches.append(self.embedder.embed(np.stack(self.waiting))[0].astype(np.float16))
            self.waiting.clear()


def embed_part(workspace: Workspace, name: str, lake: LakeStore, part: str, model: str) -> None:
    """Leave the vectors of the pictures of a part; those that cannot be had are left out."""
    table = lake.read_part("images", part, READ)
    table = table.filter(pc.is_null(table["error"]))
    vectors = Vectors(load_pictures(model, "any"))  # the run has looked at its licence
    with Sandbox(DecodeConfig(side=None)) as sandbox:
        for image_id, data in originals(lake, table):
            try:
                vectors.add(image_id, sandbox.decode(data)[0].pixels)
            except ImageError:  # it could be decoded once: its other evidence stays
                continue
    vectors.flush()
    width = vectors.embedder.card.dimension
    ids = pa.chunked_array([pa.array(vectors.ids, pa.string())])
    values = np.concatenate([np.zeros((0, width), np.float16), *vectors.batches])
    workspace.save(name, {"image_id": hexes(ids), "vectors": values})


def originals(lake: LakeStore, table: pa.Table) -> Iterator[tuple[str, bytes]]:
    """Yield id and encoded bytes of images, folder by folder and archive by archive."""
    config = read_config(lake)
    for shard in pc.unique(table["shard"]).to_pylist():
        rows = table.filter(pc.equal(table["shard"], shard))
        by_uri = dict(zip(rows["uri"].to_pylist(), rows["image_id"].to_pylist(), strict=True))
        options = lake.folder.options if "://" in shard else {}
        kind = archive_kind(shard)
        if kind:
            unit = Unit(kind, shard, options=options)
        else:
            base = f"{shard}/"
            names = [uri.removeprefix(base) for uri in by_uri]
            unit = Unit("files", base, names=names, sizes=[-1] * len(names), options=options)
        for members in read(unit, Ledger.empty(), config, Report()):
            data = members["data"]
            for i, uri in enumerate(members["uri"].to_pylist()):
                if uri in by_uri and data[i].is_valid:
                    yield by_uri[uri], data[i].as_py()


def find_similar(
    tasks: TaskRunner,
    lake: LakeStore,
    parts: list[str],
    pictures: Pictures,
    chosen: Bools,
    similarity: Similarity,
) -> Ints:
    """Return pairs of pictures that may be one by their vectors, both ways, int64 [P, 2].

    Args:
        tasks: runs them.
        lake: of the pictures.
        parts: of the lake.
        pictures: all of them.
        chosen: pictures that represent their class.
        similarity: which model, and from which cosine.
    """
    embedder = load_pictures(similarity.model, similarity.licences)
    revision = embedder.revision.replace("/", "_")
    stored = Workspace(lake.folder.child(f"duplicates/_vectors/{revision}"))
    stored_names = stored.names()
    names = [part.removesuffix(".parquet") for part in parts]
    units = [(stored, name, lake, part, similarity.model)
             for name, part in zip(names, parts, strict=True)
             if name not in stored_names]  # fmt: skip
    for finished, _ in enumerate(tasks.mapper(embed_part, units), 1):
        tasks.progress("vectors", finished, len(units))
    loaded = [stored.load(name) for name in names]
    ids = np.concatenate([one["image_id"] for one in loaded])
    vectors = np.concatenate([one["vectors"] for one in loaded]).astype(np.float32)
    picture = places_of(ids, pictures.image_id)
    rows = np.flatnonzero((picture >= 0) & chosen[picture])
    picture, vectors = picture[rows], vectors[rows]
    threshold = similarity.threshold
    if threshold is None:
        threshold = measured(vectors, embedder.card.thresholds.get("copy"))
    logger.info("pictures are looked at from a cosine of %.3f", threshold)
    if threshold < LEAST_HASHED:
        similar = picture[nearest(vectors, threshold)]
        return np.concatenate([similar, similar[:, ::-1]])
    search = HashSearch(
        "vectors", sign_hashes(vectors), np.ones(len(rows), bool), radius(threshold)
    )
    pairs = find_pairs(tasks, search)[None]
    chunks = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(pairs.first), CHUNK):
        first, second = pairs.first[start : start + CHUNK], pairs.second[start : start + CHUNK]
        close = (vectors[first] * vectors[second]).sum(axis=1) >= threshold
        chunks.append(np.stack([picture[first[close]], picture[second[close]]], axis=1))
    similar = np.concatenate(chunks)
    return np.concatenate([similar, similar[:, ::-1]])


def nearest(vectors: Floats32, threshold: float) -> Ints:
    """Return pairs from a cosine on, of each picture at most the `NEAREST`, int64 [P, 2]."""
    chunks = [np.zeros((0, 2), np.int64)]
    rows = max(1, BLOCK_BYTES // (4 * max(1, len(vectors))))
    for start in range(0, len(vectors), rows):
        cosines = vectors[start : start + rows] @ vectors.T
        own = np.arange(len(cosines))
        cosines[own, start + own] = -1
        best = np.argpartition(cosines, -min(NEAREST, len(vectors)), axis=1)[:, -NEAREST:]
        first, place = np.nonzero(np.take_along_axis(cosines, best, axis=1) >= threshold)
        chunks.append(np.stack([first + start, best[first, place]], axis=1))
    return np.unique(np.sort(np.concatenate(chunks), axis=1), axis=0)
