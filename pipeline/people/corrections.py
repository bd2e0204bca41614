"""Corrections of people, in order, resolved into what clustering must obey.

A later correction beats an earlier one where they contradict, and `undo` takes one back.
"""

from collections.abc import Iterable
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

__all__ = ["KINDS", "ConfirmedSet", "Constraint", "Corrections", "Resolver", "ordered", "resolve",
           "undone"]  # fmt: skip


OF_NO_FACE = ("undo", NOT_A_COPY, KEEPER)


def resolve(constraints: Iterable[Constraint]) -> Corrections:
    """Return what the corrections amount to, whatever the order in which they are given.

    Raises:
        ConfigError: a kind that this version does not know.
    """
    return Resolver().resolve(constraints)


class Resolver:
    """Resolves corrections; goes on from those before where others were only added."""

    def __init__(self) -> None:
        self._start_over()

    def _start_over(self) -> None:
        self._rows: list[Constraint] = []
        self._undone: frozenset[str] = frozenset()
        self._builder = SetBuilder()
        self._rejected: set[str] = set()
        self._marks: set[str] = set()
        self._withdrawn: set[str] = set()

    def resolve(self, constraints: Iterable[Constraint]) -> Corrections:
        """Return what the corrections amount to; see `resolve`."""
        rows = ordered(constraints)
        undone_ids = undone(rows)
        for row in rows:
            if row.kind not in KINDS:
                raise ConfigError(
                    f"Correction {row.constraint_id} is of the kind {row.kind!r}, which this "
                    "version of Facelake does not know; update Facelake"
                )
        if undone_ids != self._undone or rows[: len(self._rows)] != self._rows:
            self._start_over()
        added, self._rows, self._undone = rows[len(self._rows) :], rows, undone_ids
        for row in added:
            self._apply(row)
        withdrawn = self._withdrawn - self._marks
        return replace(
            self._builder.result(frozenset(self._rejected | withdrawn)),
            marked=frozenset(self._marks),
            withdrawn=frozenset(withdrawn),
        )

    def _apply(self, row: Constraint) -> None:
        if row.kind == MARK:
            taken_back = row.constraint_id in self._undone
            (self._withdrawn if taken_back else self._marks).update(row.faces)
        elif row.constraint_id in self._undone or row.kind in OF_NO_FACE:
            return
        elif row.kind == "not-a-face":
            self._rejected.update(row.faces)
        elif row.kind == "a-face":
            self._rejected.difference_update(row.faces)
        else:
            self._builder.apply(row)
