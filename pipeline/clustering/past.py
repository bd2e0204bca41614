"""What an earlier clustering left: its people, whose parts are done, and who must be made again."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Floats64, Ints
from pipeline.clustering.algorithms.grid import to_grid
from pipeline.clustering.algorithms.odds import Odds
from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.lake.columns import matrix
from pipeline.people.constraints import Constraint
from pipeline.people.corrections import resolve
from pipeline.people.store import People

# With more new bytes of faces than this share of all, everything is clustered again.
MOST_NEW = 0.3
WIDTH = 0


@dataclass
class Past:
    """The generation before, as far as this run builds on it.

    Attributes:
        run_id: of the generation; None when there is none.
        people: ids of the persons that are kept as they are and may grow.
        names: their names, None where they have none.
        means, counts: of their core faces, grid vectors [P, D] and float64 [P].
        parts_done: parts of the lake whose faces they hold.
        again: ids of faces whose persons are made again from their faces.
        clusters: the whole table of the generation before, for ids; None when there is none.
        table: its persons who are kept.
        suggestions: what it asked.
        impostors: mean and deviation of strangers, measured before; empty: measure.
        odds: of faces alone, measured before; None: measure.
        curve: as in its manifest.
        apart: pairs of persons that must not meet, int64 [C, 2].
    """

    run_id: str | None = None
    people: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    means: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int16))
    counts: Floats64 = field(default_factory=lambda: np.zeros(0))
    parts_done: frozenset[str] = frozenset()
    again: frozenset[str] = frozenset()
    clusters: pa.Table | None = None
    table: pa.Table | None = None
    suggestions: pa.Table | None = None
    impostors: tuple[float, float] | None = None
    curve: list[dict[str, Any]] = field(default_factory=list)
    odds: Odds | None = None
    apart: Ints = field(default_factory=lambda: np.zeros((0, 2), np.int64))

    @property
    def core_faces(self) -> int:
        """Core faces of the people that are kept."""
        return int(self.counts.sum())


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
    clusters = people.clusters()
    from_scratch = Past(run_id=before["run_id"], clusters=clusters, means=nothing.means)
    sizes = people.lake.folder.child("faces").files()
    parts = {name: sizes[name] for name in people.lake.parts()}
    done: Mapping[str, int] = before.get("parts", {})
    settings = {k: v for k, v in asdict(config).items() if k not in ("full", "device")}
    new = sum(size for name, size in parts.items() if name not in done)
    if (
        config.full
        or before.get("settings") != settings
        or any(parts.get(name) != size for name, size in done.items())
        or new > MOST_NEW * sum(parts.values())
    ):
        return from_scratch
    again = touched(rows, before, clusters)
    table = people.people()
    # Someone without core faces has nothing to grow from: stays as made again.
    table = table.filter(pc.invert(pc.is_in(table["person_id"], pa.array(again, pa.string()))))
    theirs = clusters.filter(pc.is_in(clusters["person_id"], pa.array(again, pa.string())))
    said = {f for row in rows for f in (*row.faces, *row.others)}
    loose = clusters.filter(
        pc.and_(
            pc.is_null(clusters["person_id"]),
            pc.is_in(clusters["face_id"], pa.array(sorted(said), pa.string())),
        )
    )
    threshold = before["threshold"]
    return Past(
        before["run_id"],
        table["person_id"].to_pylist(),
        table["name"].to_pylist(),
        to_grid(matrix(table["mean"])) if len(table) else nothing.means,
        table["core_faces"].to_numpy().astype(np.float64),
        frozenset(done),
        frozenset(theirs["face_id"].to_pylist() + loose["face_id"].to_pylist()),
        clusters,
        table,
        people.suggestions(),
        (threshold["mean"], threshold["sd"]),
        before.get("curve", []),
        Odds(**before["odds"]) if before.get("odds") else None,
    )


def touched(rows: Sequence[Constraint], before: Mapping[str, Any], clusters: pa.Table) -> list[str]:
    """Return ids of the persons that corrections since then, or apart ones, speak of."""
    known = set(before.get("constraints", []))
    undone = {row.value for row in rows if row.kind == "undo" and row.constraint_id not in known}
    faces = {
        face
        for row in rows
        if row.constraint_id not in known or row.constraint_id in undone
        for face in (*row.faces, *row.others)
    }
    corrections = resolve(rows)
    for pair in corrections.apart:
        for i in pair:
            faces |= corrections.sets[i].faces
    where = pc.is_in(clusters["face_id"], pa.array(sorted(faces), pa.string()))
    named = {row.person_id for row in rows if row.constraint_id not in known and row.person_id}
    return sorted(set(clusters.filter(where)["person_id"].drop_null().to_pylist()) | named)
