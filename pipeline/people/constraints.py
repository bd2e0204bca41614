"""Constraints: what people said about faces, one row each, and what they amount to.

Rows are never changed. They speak of faces, so that nothing depends on the ids of persons
surviving: a person's id is kept where it can be.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

NOT_A_COPY, KEEPER, MARK = "not-a-copy", "keeper", "mark"
KINDS = (
    "same", "different", "name", "not-a-face", "a-face", "hide", "show", "cover", MARK,
    NOT_A_COPY, KEEPER, "undo",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Constraint:
    """One correction, a row of `constraints`; see `schema.CONSTRAINTS`.

    `same`: all `faces` are one person, who keeps the id `person_id` where it is given.
    `different`: no face of `faces` is the person of any face of `others`; `person_id`: whom the
    others are, and so the faces are not.
    `name`: the person of `faces` is called `value`; empty: no longer called anything.
    `not-a-face`: `faces` are rejected; `a-face`: they are faces after all. `hide`, `show`: a flag
    of the person. `cover`: the first of `faces` stands for the person. `mark`: the one of `faces`
    is where `value` says, though no detector found it; see `marks.mark.Mark`. `not-a-copy`: no
    picture of `faces` is a copy of any of `others`, image ids both. `keeper`: the one picture of
    `faces` is kept of its copies. `undo`: takes back the correction whose id is `value`.
    """

    constraint_id: str
    created_at: datetime
    kind: str
    faces: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    person_id: str | None = None
    value: str | None = None
    made_by: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class ConfirmedSet:
    """Faces that are one person, as far as people said.

    Attributes:
        faces: face ids, at least one.
        person_id: the id that the person keeps; None: no id was given.
        name, hidden, cover: of the person; the cover is one of `faces`.
        left: ids of persons that some of the faces were taken out of; see `Corrections.left`.
    """

    faces: frozenset[str]
    person_id: str | None = None
    name: str | None = None
    hidden: bool = False
    cover: str | None = None
    left: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Corrections:
    """What clustering must obey.

    Attributes:
        sets: no face is in two, no person_id on two; in order of their smallest face id.
        apart: pairs i < j of indices into `sets` that must not become one person. Sets with
            different names are not listed, see `must_differ`.
        rejected: face ids that are no faces; in no set. Marks that were taken back are among them.
        left: pairs of a face and a person_id that it was taken out of; what a face alone has
            left, the rest of the person did not leave.
        marked: face ids that people marked; they may be rejected since.
        withdrawn: those whose mark was taken back, which none of them is.
    """

    sets: tuple[ConfirmedSet, ...] = ()
    apart: tuple[tuple[int, int], ...] = ()
    rejected: frozenset[str] = frozenset()
    left: frozenset[tuple[str, str]] = frozenset()
    marked: frozenset[str] = frozenset()
    withdrawn: frozenset[str] = frozenset()

    @property
    def faces(self) -> frozenset[str]:
        """Face ids of all sets."""
        return frozenset(face for one in self.sets for face in one.faces)

    def must_differ(self, i: int, j: int) -> bool:
        """Return whether two sets must be two people: told apart, or named differently."""
        a, b = self.sets[i].name, self.sets[j].name
        named_apart = a is not None and b is not None and not same_name(a, b)
        return (min(i, j), max(i, j)) in self._apart or named_apart

    @cached_property
    def _apart(self) -> frozenset[tuple[int, int]]:
        return frozenset(self.apart)


def name_key(name: str) -> str:
    """Return what two spellings of one name have in common; names are shown as they were typed.

    Composed and decomposed letters, upper and lower case, and kinds and numbers of spaces are the
    same (canonical caseless matching, Unicode, section 3.13).
    """
    decomposed = unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
    return " ".join(decomposed.split())


def same_name(first: str | None, second: str | None) -> bool:
    """Return whether two names are one; nobody's name is no name."""
    if first is None or second is None:
        return first is second
    return name_key(first) == name_key(second)


def ordered(constraints: Iterable[Constraint]) -> list[Constraint]:
    """Return corrections in the order in which they count, each id once."""
    by_id = {row.constraint_id: row for row in constraints}
    return sorted(by_id.values(), key=lambda row: (row.created_at, row.constraint_id))


def undone(constraints: Iterable[Constraint]) -> frozenset[str]:
    """Return the ids of corrections that an undo which still stands takes back."""
    undone_ids: set[str] = set()
    standing: set[str] = set()
    for row in reversed(ordered(constraints)):  # from the last: an undo can itself be undone
        if row.constraint_id in undone_ids:
            continue
        standing.add(row.constraint_id)
        # What comes after an undo it cannot mean.
        if row.kind == "undo" and row.value is not None and row.value not in standing:
            undone_ids.add(row.value)
    return frozenset(undone_ids)
