"""What an earlier clustering left: its people, the parts it saw, and who must be made again."""

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Floats64
from pipeline.clustering.algorithms.grid import Grid, to_grid
from pipeline.clustering.algorithms.odds import Odds
from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.lake.columns import matrix
from pipeline.lake.scan import scan
from pipeline.lake.schema import IMAGES, image_of
from pipeline.lake.store import LakeStore
from pipeline.people.constraints import Constraint
from pipeline.people.corrections import resolve
from pipeline.people.store import People

# With more new bytes of faces than this share of all, everything is clustered again.
MOST_NEW = 0.3


@dataclass
class Past:
    """The generation before, as far as this run builds on it.

    Attributes:
        run_id: of the generation; None when there is none.
        people: ids of the persons that are kept as they are and may grow.
        names: their names, None where they have none.
        means, counts: of their core faces, grid vectors [P, D] and float64 [P].
        clustered_parts: parts of the lake whose faces they hold.
        again: ids of faces whose persons are made again from their faces.
        clusters: the table of the generation before, for ids and, where people are kept, for rows;
            None when there is none. Marks of faces that were taken back are left out.
        withdrawn: how many these are.
        table: its persons who are kept.
        suggestions: its table of suggestions.
        impostors: mean and deviation of strangers, measured before; empty: measure.
        odds: of faces alone, measured before; None: measure.
        curve: as in its manifest.
    """

    run_id: str | None = None
    people: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    means: Grid = field(default_factory=lambda: np.zeros((0, 0), np.int16))
    counts: Floats64 = field(default_factory=lambda: np.zeros(0))
    clustered_parts: frozenset[str] = frozenset()
    again: frozenset[str] = frozenset()
    clusters: pa.Table | None = None
    withdrawn: int = 0
    table: pa.Table | None = None
    suggestions: pa.Table | None = None
    impostors: tuple[float, float] | None = None
    curve: list[dict[str, Any]] = field(default_factory=list)
    odds: Odds | None = None

    @property
    def core_faces(self) -> int:
        """Core faces of the people that are kept."""
        return int(self.counts.sum())

    def persons_of(self, faces: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
        """Return the person that each face was of, null for nobody."""
        if self.clusters is None:
            return pa.nulls(len(faces), pa.string())
        # Few of many, as a rule: the table of the few is soon made.
        few = self.clusters.select(["face_id", "person_id"])
        few = few.filter(pc.is_in(few["face_id"], faces))
        return few["person_id"].take(pc.index_in(faces, few["face_id"].combine_chunks()))


def look_back(people: People, config: ClusterConfig, rows: Sequence[Constraint]) -> Past:
    """Return what of the current generation this run may build on.

    All of it is made again with `--full`, with other settings, when photos are gone from the
    lake, or when more than `MOST_NEW` of it is new; ids survive even then.
    """
    models = people.lake.models()
    width = models.dimension if models else 0
    nothing = Past(means=np.zeros((0, width), np.int16))
    before = people.current_or_none()
    if before is None:
        return nothing
    parts = part_sizes(people.lake)
    clustered_parts: Mapping[str, int] = before.get("parts", {})
    new = sum(size for name, size in parts.items() if name not in clustered_parts)
    if (
        config.full
        or before.get("settings") != settings_of(config)
        or any(parts.get(name) != size for name, size in clustered_parts.items())
        or new > MOST_NEW * sum(parts.values())
    ):
        return from_scratch(people, before["run_id"], nothing)
    corrections, clusters = resolve(rows), people.clusters()
    again = touched(rows, before, clusters)
    marked = corrections.marked - set(among(clusters, corrections.marked)["face_id"].to_pylist())
    whole = len(clusters)
    clusters = without(clusters, "face_id", corrections.withdrawn)
    # Someone without core faces has nothing to grow from: stays as made again.
    table = without(people.people(), "person_id", again)
    if not len(table) and not again:  # nobody to build on: all faces are looked at again
        return from_scratch(people, before["run_id"], nothing)
    of_persons = pc.is_in(clusters["person_id"], pa.array(again, pa.string()))
    corrected = {face for row in rows for face in (*row.faces, *row.others)}
    corrected_alone = pc.and_(
        pc.is_null(clusters["person_id"]),
        pc.is_in(clusters["face_id"], pa.array(sorted(corrected), pa.string())),
    )
    faces_again = clusters.filter(pc.or_(of_persons, corrected_alone))["face_id"].to_pylist()
    threshold = before["threshold"]
    return Past(
        run_id=before["run_id"],
        people=table["person_id"].to_pylist(),
        names=table["name"].to_pylist(),
        means=to_grid(matrix(table["mean"])) if len(table) else nothing.means,
        counts=table["core_faces"].to_numpy().astype(np.float64),
        clustered_parts=frozenset(clustered_parts),
        again=frozenset(faces_again) | _on_photos_of(people.lake, marked, clustered_parts),
        clusters=clusters,
        withdrawn=whole - len(clusters),
        table=table,
        suggestions=people.suggestions(),
        impostors=(threshold["mean"], threshold["sd"]),
        curve=before.get("curve", []),
        odds=Odds(**before["odds"]) if before.get("odds") else None,
    )


def from_scratch(people: People, run_id: str, nothing: Past) -> Past:
    """Return what a run that makes everything again takes from the generation before: ids."""
    ids = people.clusters(["face_id", "person_id"])
    return Past(run_id=run_id, clusters=ids, means=nothing.means)


def _on_photos_of(
    lake: LakeStore, faces: AbstractSet[str], parts: Collection[str]
) -> frozenset[str]:
    """Return those of some faces whose photos are in some parts."""
    if not faces:
        return frozenset()
    where = pc.field("image_id").isin(pa.array(sorted({image_of(f) for f in faces}), pa.string()))
    folder = lake.folder.child("images")
    there = set(scan(folder, sorted(parts), IMAGES, ["image_id"], where)["image_id"].to_pylist())
    return frozenset(face for face in faces if image_of(face) in there)


def touched(rows: Sequence[Constraint], before: Mapping[str, Any], clusters: pa.Table) -> list[str]:
    """Return ids of the persons of new corrections, and of those that keep two people apart."""
    known_ids = set(before.get("constraints", []))
    new = [row for row in rows if row.constraint_id not in known_ids]
    undone = {row.value for row in new if row.kind == "undo"}
    undone_rows = [row for row in rows if row.constraint_id in undone]
    faces = {face for row in [*new, *undone_rows] for face in (*row.faces, *row.others)}
    corrections = resolve(rows)
    for pair in corrections.apart:
        for i in pair:
            faces |= corrections.sets[i].faces
    named = {row.person_id for row in new if row.person_id}
    return sorted(set(among(clusters, faces)["person_id"].drop_null().to_pylist()) | named)


def among(clusters: pa.Table, faces: Collection[str]) -> pa.Table:
    """Return the rows of some faces."""
    return clusters.filter(pc.is_in(clusters["face_id"], pa.array(sorted(faces), pa.string())))


def without(table: pa.Table, column: str, ids: Collection[str]) -> pa.Table:
    """Return a table without the rows of some ids."""
    if not ids:
        return table
    return table.filter(pc.invert(pc.is_in(table[column], pa.array(sorted(ids), pa.string()))))


def settings_of(config: ClusterConfig) -> dict[str, Any]:
    """Return what a run must have in common with the one before to add to its people."""
    return {k: v for k, v in asdict(config).items() if k not in ("full", "device")}


def part_sizes(lake: LakeStore) -> dict[str, int]:
    """Return the parts of the lake that have faces files, with their sizes."""
    sizes = lake.folder.child("faces").files()
    return {name: sizes[name] for name in lake.parts()}
