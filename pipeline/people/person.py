"""The row of a person in `people`: what clustering, corrections and forgetting all say of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.arrays import Floats32
from pipeline.lake.columns import fixed_lists
from pipeline.people.constraints import ConfirmedSet

CORE = "core"
# Faces that stand for a person, the cover among them.
EXEMPLARS = 8


@dataclass(frozen=True, slots=True)
class Corrected:
    """What corrections say of a person; None: nothing."""

    name: str | None
    hidden: bool
    cover: str | None

    @staticmethod
    def by(sets: Sequence[ConfirmedSet]) -> "Corrected":
        """Return what the confirmed sets of a person say; the first that says something counts."""
        return Corrected(
            next((one.name for one in sets if one.name), None),
            any(one.hidden for one in sets),
            next((one.cover for one in sets if one.cover), None),
        )

    def exemplars(self, faces: Sequence[str]) -> list[str]:
        """Return the faces that stand for the person, at most `EXEMPLARS`, the cover first."""
        first = [self.cover] if self.cover else []
        return list(dict.fromkeys([*first, *faces]))[:EXEMPLARS]


def counted(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the columns of a person's row that its rows of `clusters` decide alone."""
    confidences = [row["confidence"] for row in members if row["confidence"] is not None]
    return {
        "faces": len(members),
        "core_faces": sum(row["tier"] == CORE for row in members),
        "images": len({row["image_id"] for row in members}),
        "confidence": sum(confidences) / len(confidences) if confidences else 0.0,
    }


def central(member: Mapping[str, Any]) -> tuple[float, str]:
    """Order rows of `clusters` by similarity to their person, the most central first."""
    similarity = member["similarity"]
    return (1.0 if similarity is None else -similarity, member["face_id"])


def core_first(member: Mapping[str, Any]) -> tuple[bool, float, str]:
    """Order rows of `clusters` as `central` does, core faces before all others."""
    return (member["tier"] != CORE, *central(member))


def people_table(rows: Sequence[Mapping[str, Any]], means: Floats32, schema: pa.Schema) -> pa.Table:
    """Return persons as a table; `means` [P, D] are of the rows."""
    arrays = []
    for field in schema:
        if field.name != "mean":
            arrays.append(pa.array([row[field.name] for row in rows], field.type))
        else:
            arrays.append(fixed_lists(means, field.type) if rows else pa.array([], field.type))
    return pa.table(arrays, schema=schema)
