"""The row of a person in `people`: what clustering, corrections and forgetting all say of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Person:
    """A row of `people` without its mean; dates are whatever Arrow takes for one."""

    person_id: str
    name: str | None = None
    hidden: bool = False
    faces: int = 0
    core_faces: int = 0
    images: int = 0
    cover_face_id: str = ""
    exemplars: Sequence[str] = ()
    first_taken_at: Any = None
    last_taken_at: Any = None
    confidence: float = 0.0
    run_id: str = ""

    def recounted(self, members: Sequence[Mapping[str, Any]], dates: Sequence[Any]) -> "Person":
        """Return the person with these rows of `clusters` for faces, and dates of its photos."""
        confidences = [row["confidence"] for row in members if row["confidence"] is not None]
        return replace(
            self,
            faces=len(members),
            core_faces=sum(row["tier"] == CORE for row in members),
            images=len({row["image_id"] for row in members}),
            first_taken_at=min(dates, default=None),
            last_taken_at=max(dates, default=None),
            confidence=sum(confidences) / len(confidences) if confidences else 0.0,
        )

    def corrected(self, corrected: Corrected) -> "Person":
        """Return the person as corrections have it."""
        return replace(
            self,
            name=corrected.name,
            hidden=corrected.hidden,
            cover_face_id=corrected.cover or self.cover_face_id,
            exemplars=corrected.exemplars(self.exemplars),
        )


def central(member: Mapping[str, Any]) -> tuple[float, str]:
    """Order rows of `clusters` by similarity to their person, the most central first."""
    similarity = member["similarity"]
    return (1.0 if similarity is None else -similarity, member["face_id"])


def core_first(member: Mapping[str, Any]) -> tuple[bool, float, str]:
    """Order rows of `clusters` as `central` does, core faces before all others."""
    return (member["tier"] != CORE, *central(member))


def people_table(persons: Sequence[Person], means: Floats32, schema: pa.Schema) -> pa.Table:
    """Return persons as a table; `means` [P, D] are theirs."""
    arrays = []
    for field in schema:
        if field.name != "mean":
            arrays.append(pa.array([vars(person)[field.name] for person in persons], field.type))
        else:
            arrays.append(fixed_lists(means, field.type) if persons else pa.array([], field.type))
    return pa.table(arrays, schema=schema)
