"""Shards of aligned faces: cut once out of the original photos, read again for every epoch.

A shard is a Parquet file with a row for each face: `face_id`, `crop` (JPEG of the face as the
network wants it), `teacher` (its vector by the model to learn from), and `error` where there is no
crop.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import simplejpeg

from pipeline.arrays import Floats32, Ints, Pixels
from pipeline.config import DECODE_SIDE
from pipeline.imaging.record import Decoded
from pipeline.lake.checkpoints import TaskRunner, Workspace
from pipeline.lake.columns import matrix
from pipeline.lake.manifest import read_config
from pipeline.lake.store import LakeStore, parquet_bytes
from pipeline.models.cards.card import ModelCard
from pipeline.models.detections import Detections
from pipeline.models.embedder import Embedder, load_embedder
from pipeline.models.faces import face_crops
from pipeline.models.weights.store import WeightStore
from pipeline.sources.originals import Originals
from pipeline.storage.errors import storage_errors
from pipeline.storage.folder import Folder

# Of the cached crops: what is lost at this quality is far below what augmentation does.
QUALITY = 95
STEP = "crops"
PHOTO = ("image_id", "uri", "shard", "sha256", "turn")
FACE = ("face_id", "image_id", "box", "landmarks", "score")
LAKE = "lake"


@dataclass(frozen=True)
class Cut:
    """How faces are cut, and who teaches.

    Attributes:
        card: of the network that the crops are for.
        teacher: name or path of an embedder; "lake" for the vectors that the lake has; None.
        weights: where its weights lie.
    """

    card: ModelCard
    teacher: str | None = None
    weights: WeightStore | None = None


def cut_crops(
    tasks: TaskRunner, lake: LakeStore, faces: AbstractSet[str], cut: Cut
) -> "CropShards":
    """Cut faces out of the photos of a lake; a shard that is there already is not made again.

    Args:
        tasks: its workspace holds the shards.
        lake: whose photos are read again; each must have the bytes that were indexed.
        faces: ids of the faces that are wanted.
        cut: how.
    """
    wanted: dict[str, list[str]] = {}
    for name in lake.parts():
        here = lake.read_part("faces", name, ["face_id"])["face_id"].to_pylist()
        if chosen := [face for face in here if face in faces]:
            wanted[name] = chosen
    tasks.run(STEP, cut_part, [(lake, name, chosen, cut) for name, chosen in wanted.items()])
    return CropShards(tasks.workspace.folder)


def cut_part(
    workspace: Workspace, name: str, lake: LakeStore, part: str, faces: Sequence[str], cut: Cut
) -> None:
    """Cut the faces of one part of a lake, and leave them as the shard `name`."""
    columns = [*FACE, *(["embedding"] if cut.teacher == LAKE else [])]
    table = lake.read_part("faces", part, columns)
    table = table.filter(pc.is_in(table["face_id"], pa.array(faces)))
    of_image: dict[str, list[int]] = {}
    for at, image in enumerate(table["image_id"].to_pylist()):
        of_image.setdefault(image, []).append(at)
    photos = lake.read_part("images", part, list(PHOTO)).to_pylist()
    faces_of = _FacesOf(table)
    cutter = _Cutter(cut, faces_of, of_image)
    made: dict[int, dict[str, Any]] = {}
    with Originals(lake.folder.options, read_config(lake), DECODE_SIDE) as originals:
        wanted = [photo for photo in photos if photo["image_id"] in of_image]
        for photo, rows, why in originals.try_each(wanted, cutter):
            places = of_image[photo["image_id"]]
            made |= zip(places, rows or [{"error": why}] * len(places), strict=True)
    ids = table["face_id"].to_pylist()
    rows = [{"face_id": ids[at], **row} for at, row in made.items()]
    if cut.teacher == LAKE:
        vectors = matrix(table["embedding"])[list(made)]
        rows = [row | {"teacher": one} for row, one in zip(rows, vectors, strict=True)]
    schema = pa.schema([
        ("face_id", pa.string()), ("crop", pa.binary()), ("teacher", pa.list_(pa.float32())),
        ("error", pa.string()),
    ])  # fmt: skip
    workspace.folder.publish(f"{name}.parquet", parquet_bytes(pa.Table.from_pylist(rows, schema)))


class _FacesOf:
    """Faces of a table as detections."""

    def __init__(self, table: pa.Table) -> None:
        self.boxes = matrix(table["box"])
        self.landmarks = matrix(table["landmarks"]).reshape(-1, 5, 2)
        self.scores = np.asarray(table["score"], np.float32)

    def at(self, rows: Sequence[int], turn: int) -> Detections:
        return Detections(self.boxes[rows], self.scores[rows], self.landmarks[rows], turn)


class _Cutter:
    """Cuts the wanted faces of a decoded photo; a `make` of `Originals.try_each`."""

    def __init__(self, cut: Cut, faces: _FacesOf, of_image: Mapping[str, list[int]]) -> None:
        self.cut, self.faces, self.of_image = cut, faces, of_image

    @cached_property
    def _teacher(self) -> Embedder | None:
        if self.cut.teacher in (None, LAKE):
            return None
        return load_embedder(str(self.cut.teacher), store=self.cut.weights)

    def __call__(self, photo: Mapping[str, Any], decoded: Decoded) -> list[dict[str, Any]]:
        found = self.faces.at(self.of_image[photo["image_id"]], photo["turn"] or 0)
        found = found.enlarged(1 / decoded.reduced)
        crops = face_crops(decoded.pixels, found, self.cut.card)
        rows: list[dict[str, Any]] = [{"crop": _jpeg(crop)} for crop in crops]
        if self._teacher is not None:
            own = face_crops(decoded.pixels, found, self._teacher.card)
            vectors = self._teacher.embed(own)[0]
            rows = [row | {"teacher": one} for row, one in zip(rows, vectors, strict=True)]
        return rows


def _jpeg(crop: Pixels) -> bytes:
    crop = np.ascontiguousarray(crop)
    return bytes(simplejpeg.encode_jpeg(crop, QUALITY, colorsubsampling="444"))


@dataclass(frozen=True)
class Shard:
    """A shard in memory.

    Attributes:
        crops: JPEGs, [N]; None where there is none.
        teacher: vectors [N, T]; None where nobody teaches.
    """

    crops: list[bytes | None]
    teacher: Floats32 | None


@dataclass(frozen=True)
class CropShards:
    """The shards of a training; pickles as their folder.

    Attributes:
        folder: which holds nothing else.
    """

    folder: Folder

    @cached_property
    def names(self) -> list[str]:
        """The names of the shards, in order, as they were when they were asked for first."""
        return sorted(self.folder.files())

    def places(self) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
        """Return shard and row of each face that has a crop, and why others have none."""
        where: dict[str, tuple[int, int]] = {}
        missing: dict[str, str] = {}
        for number, name in enumerate(self.names):
            table = self._table(name, ["face_id", "error"])
            for row, (face, error) in enumerate(
                zip(table["face_id"].to_pylist(), table["error"].to_pylist(), strict=True)
            ):
                if error is None:
                    where[face] = number, row
                else:
                    missing[face] = error
        return where, missing

    def read(self, number: int) -> Shard:
        """Return a shard."""
        table = self._table(self.names[number], ["crop", "teacher"])
        vectors = table["teacher"].to_pylist()
        lengths = {len(one) for one in vectors if one is not None}
        teacher = None
        if lengths:
            none = np.zeros(lengths.pop(), np.float32)
            teacher = np.array([none if v is None else v for v in vectors], np.float32)
        return Shard(table["crop"].to_pylist(), teacher)

    def pixels(self, places: Sequence[tuple[int, int]] | Ints) -> Pixels:
        """Return some crops, uint8 [N, S, S, 3] RGB, one shard in memory at a time."""
        found: dict[tuple[int, int], Pixels] = {}
        pairs = [(int(shard), int(row)) for shard, row in places]
        for number in sorted({shard for shard, _ in pairs}):
            shard = self.read(number)
            for pair in {pair for pair in pairs if pair[0] == number}:
                found[pair] = decode(shard.crops[pair[1]])
        return np.stack([found[pair] for pair in pairs])

    def batches(self, places: Ints, size: int) -> Iterator[Pixels]:
        """Yield crops, so many at once, in the order of their places [N, 2], by shard at best."""
        for start in range(0, len(places), size):
            yield self.pixels(places[start : start + size])

    def _table(self, name: str, columns: list[str]) -> pa.Table:
        with storage_errors("read", f"{self.folder.url}/{name}"), self.folder.open(name) as file:
            return pq.read_table(file, columns=columns)


def decode(crop: bytes | None) -> Pixels:
    """Return a cached crop, uint8 [S, S, 3] RGB."""
    assert crop is not None  # only faces that have one are asked for
    pixels: Pixels = simplejpeg.decode_jpeg(crop)
    return pixels
