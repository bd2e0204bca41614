"""Corrections of people, in order, resolved into what clustering must obey.

A later correction beats an earlier one where they contradict, and `undo` takes one back.
"""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.errors import ConfigError
from pipeline.people.confirmed import SetBuilder
from pipeline.people.constraints import (
    KEEPER,
    KINDS,
    MARK,
    NOT_A_COPY,
    ConfirmedSet,
    Constraint,
    Corrections,
    ordered,
    undone,
)

__all__ = ["KINDS", "ConfirmedSet", "Constraint", "Corrections", "ordered", "resolve", "undone"]


OF_NO_FACE = ("undo", NOT_A_COPY, KEEPER)


def resolve(constraints: Sequence[Constraint]) -> Corrections:
    """Return what the corrections amount to, whatever the order in which they are given.

    Raises:
        ConfigError: a kind that this version does not know.
    """
    undone_ids = undone(constraints)
    builder = SetBuilder()
    rejected: set[str] = set()
    marks: set[str] = set()
    withdrawn: set[str] = set()
    for row in ordered(constraints):
        if row.kind not in KINDS:
            raise ConfigError(
                f"Correction {row.constraint_id} is of the kind {row.kind!r}, which this version "
                "of Facelake does not know; update Facelake"
            )
        if row.kind == MARK:
            (withdrawn if row.constraint_id in undone_ids else marks).update(row.faces)
        elif row.constraint_id in undone_ids or row.kind in OF_NO_FACE:
            continue
        elif row.kind == "not-a-face":
            rejected.update(row.faces)
        elif row.kind == "a-face":
            rejected.difference_update(row.faces)
        else:
            builder.apply(row)
    withdrawn -= marks
    return replace(
        builder.result(frozenset(rejected | withdrawn)),
        marked=frozenset(marks),
        withdrawn=frozenset(withdrawn),
    )
