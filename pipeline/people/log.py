"""The log of corrections: appending those of an action, and taking them back."""

import getpass
import secrets
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipeline.errors import ConfigError
from pipeline.people.corrections import Constraint, undone
from pipeline.people.store import People
from pipeline.storage.folder import visible

# The ids of one action's corrections differ in their last digits only.
PLACE_DIGITS = 4
# Who acts, where several people use one process; None: whoever started it.
made_by: ContextVar[str | None] = ContextVar("made_by", default=None)


@dataclass(frozen=True, slots=True)
class Statement:
    """What an action says; see `Constraint`."""

    kind: str
    faces: Sequence[str] = ()
    others: Sequence[str] = ()
    person_id: str | None = None
    value: str | None = None


def new_id() -> str:
    """Return the id of a person who is new."""
    return secrets.token_hex(8)


def append(people: People, statements: Iterable[Statement], note: str | None) -> Constraint:
    """Append the corrections of one action, after all that are there, and return the last."""
    before = people.constraints()
    moment = datetime.now(UTC)
    if before:  # clocks of machines differ, and an undo must come after what it takes back
        moment = max(moment, before[-1].created_at + timedelta(microseconds=1))
    action_id, user = secrets.token_hex(16)[:-PLACE_DIGITS], made_by.get() or user_name()
    rows = [
        Constraint(
            f"{action_id}{place:0{PLACE_DIGITS}x}",
            moment + timedelta(microseconds=place),
            statement.kind,
            tuple(statement.faces),
            tuple(statement.others),
            statement.person_id,
            statement.value,
            user,
            note,
        )
        for place, statement in enumerate(statements)
    ]
    people.append(rows)
    return rows[-1]


def user_name() -> str | None:
    """Return the name of the user of this machine; None: there is none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container whose user has no name
        return None


def undo(people: People, constraint_id: str | None = None, note: str | None = None) -> Constraint:
    """Take an action back: the one with this id or start of it, else the last that stands.

    An undo is an action too; taking it back brings its action again.

    Raises:
        ConfigError: no such correction, several, or it is taken back already.
    """
    rows = people.constraints()
    undone_ids = undone(rows)
    if constraint_id is None:
        standing = [r for r in rows if r.constraint_id not in undone_ids and r.kind != "undo"]
        if not standing:
            raise ConfigError("There is nothing to undo; see `facelake people LAKE history`")
        constraint_id = standing[-1].constraint_id
    actions = {action(r) for r in rows if r.constraint_id.startswith(constraint_id)}
    if len(actions) != 1 or not constraint_id:
        problem = f"{len(actions)} corrections begin" if actions else "No correction begins"
        raise ConfigError(
            f"{problem} with {visible(constraint_id)!r}; `facelake people LAKE history` lists them"
        )
    rows = [r for r in rows if action(r) in actions and r.constraint_id not in undone_ids]
    if not rows:
        raise ConfigError(f"Correction {constraint_id} is taken back already; nothing was changed")
    return append(people, [Statement("undo", value=row.constraint_id) for row in rows], note)


def action(row: Constraint) -> str:
    """Return what the corrections of one action have in common."""
    return row.constraint_id[:-PLACE_DIGITS] or row.constraint_id


def by_action(rows: Iterable[Constraint]) -> list[list[Constraint]]:
    """Return the corrections of each action, in their order."""
    actions: dict[str, list[Constraint]] = {}
    for row in rows:
        actions.setdefault(action(row), []).append(row)
    return list(actions.values())
