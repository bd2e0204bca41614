"""The log of corrections: appending what somebody said, and taking it back."""

import getpass
import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from pipeline.errors import ConfigError
from pipeline.people.corrections import Constraint, undone
from pipeline.people.store import People
from pipeline.storage.folder import visible

# The ids of one action's corrections differ in their last digits only.
PLACE_DIGITS = 4

# kind, faces, others, person_id, value
Said = tuple[str, Sequence[str], Sequence[str], str | None, str | None]


def new_id() -> str:
    """Return the id of a person who is new."""
    return secrets.token_hex(8)


def append(people: People, said: Iterable[Said], note: str | None) -> Constraint:
    """Append the corrections of one action, after all that are there, and return the last."""
    before = people.constraints()
    moment = datetime.now(UTC)
    if before:  # clocks of machines differ, and an undo must come after what it takes back
        moment = max(moment, before[-1].created_at + timedelta(microseconds=1))
    made, by = secrets.token_hex(16)[:-PLACE_DIGITS], _user()
    rows = [
        Constraint(
            f"{made}{place:0{PLACE_DIGITS}x}",
            moment + timedelta(microseconds=place),
            kind,
            tuple(faces),
            tuple(others),
            person_id,
            value,
            by,
            note,
        )
        for place, (kind, faces, others, person_id, value) in enumerate(said)
    ]
    people.append(rows)
    return rows[-1]


def _user() -> str | None:
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
    gone = undone(rows)
    if constraint_id is None:
        standing = [r for r in rows if r.constraint_id not in gone and r.kind != "undo"]
        if not standing:
            raise ConfigError("There is nothing to undo; see `facelake people LAKE history`")
        constraint_id = standing[-1].constraint_id
    wanted = {action(r) for r in rows if r.constraint_id.startswith(constraint_id)}
    if len(wanted) != 1 or not constraint_id:
        problem = f"{len(wanted)} corrections begin" if wanted else "No correction begins"
        raise ConfigError(
            f"{problem} with {visible(constraint_id)!r}; `facelake people LAKE history` lists them"
        )
    mine = [r for r in rows if action(r) in wanted and r.constraint_id not in gone]
    if not mine:
        raise ConfigError(f"Correction {constraint_id} is taken back already; nothing was changed")
    return append(people, [("undo", (), (), None, r.constraint_id) for r in mine], note)


def action(row: Constraint) -> str:
    """Return what the corrections of one action have in common."""
    return row.constraint_id[:-PLACE_DIGITS] or row.constraint_id
