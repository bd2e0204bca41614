"""Confirmed sets in the making: who is one person and who is not, one correction after another."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.people.constraints import ConfirmedSet, Constraint, Corrections, same_name


@dataclass(slots=True)
class _Set:
    """A set in the making; may be empty: a person whose faces have all gone elsewhere."""

    faces: set[str]
    person_id: str | None = None
    name: str | None = None
    hidden: bool = False
    cover: str | None = None


@dataclass(slots=True)
class SetBuilder:
    """Sets and cannot-links while rows are applied one after the other.

    Attributes:
        sets: by number; `of` tells the number of a face's set, `by_id` of a person's.
        links: by number, two sides of faces: none of one is the person of any of the other.
        links_of: numbers of the links that a face is in.
        left: ids of the persons that a face was taken out of.
    """

    sets: dict[int, _Set] = field(default_factory=dict)
    of: dict[str, int] = field(default_factory=dict)
    by_id: dict[str, int] = field(default_factory=dict)
    links: dict[int, tuple[frozenset[str], frozenset[str]]] = field(default_factory=dict)
    links_of: dict[str, set[int]] = field(default_factory=dict)
    left: dict[str, set[str]] = field(default_factory=dict)
    numbers: int = 0

    def apply(self, row: Constraint) -> None:
        """Apply one row that is neither an undo nor a rejection."""
        if row.kind == "different":
            self._part(row)
        elif row.kind in ("same", "name"):
            if row.kind == "name":
                self._take_from_others(row)
            key = self._join(row.faces, row.person_id)
            if row.kind == "name" and key is not None:
                self.sets[key].name = row.value or None
        else:
            self._flag(row)

    def _number(self) -> int:
        self.numbers += 1
        return self.numbers

    def _set_of(self, face: str) -> int:
        """Return the number of the face's set, a new one of this face alone if there is none."""
        if face not in self.of:
            self.of[face] = self._number()
            self.sets[self.of[face]] = _Set({face})
        return self.of[face]

    def _join(self, faces: Sequence[str], person_id: str | None) -> int | None:
        """Make the sets of `faces` and the person's one set; return its number, None if empty.

        The person's own name, flag and cover win; a name of the others is better than none.
        """
        keys = list(dict.fromkeys(self._set_of(face) for face in faces))
        if person_id is not None:
            if person_id not in self.by_id:
                self.by_id[person_id] = self._number()
                self.sets[self.by_id[person_id]] = _Set(set(), person_id)
            lead = self.by_id[person_id]
        elif keys:
            with_id = [key for key in keys if self.sets[key].person_id is not None]
            named = [key for key in keys if self.sets[key].name is not None]
            lead = (with_id or named or keys)[0]
        else:
            return None
        for key in keys:
            if key != lead:
                self._merge(key, lead)
        for face in faces:
            self.left.get(face, set()).discard(person_id or "")
        return lead

    def _merge(self, key: int, lead: int) -> None:
        """Merge one set into another, and forget what told the two apart."""
        gone, kept = self.sets.pop(key), self.sets[lead]
        # Not those of both: the set that is kept may be large, and have thousands merged into it.
        for number in self._links(gone.faces):
            self._loosen(number, gone.faces, kept.faces)
        if gone.person_id is not None:
            del self.by_id[gone.person_id]
        for face in gone.faces:
            self.of[face] = lead
        kept.faces |= gone.faces
        kept.name = gone.name if kept.name is None else kept.name
        kept.cover = gone.cover if kept.cover is None else kept.cover

    def _links(self, faces: set[str]) -> set[int]:
        return set().union(*(self.links_of.get(face, ()) for face in faces))

    def _link(self, one: frozenset[str], other: frozenset[str]) -> None:
        if one and other:
            number = self._number()
            self.links[number] = (one, other)
            for face in one | other:
                self.links_of.setdefault(face, set()).add(number)

    def _loosen(self, number: int, a: set[str], b: set[str]) -> None:
        """Replace a link by the parts of it that do not tell faces of `a` from faces of `b`."""
        pieces = [self.links[number]]
        for x, y in ((a, b), (b, a)):
            cut: list[tuple[frozenset[str], frozenset[str]]] = []
            for one, other in pieces:
                crosses = one & x and other & y
                cut += [(one - x, other), (one & x, other - y)] if crosses else [(one, other)]
            pieces = cut
        if pieces == [self.links[number]]:
            return
        for face in frozenset().union(*self.links.pop(number)):
            self.links_of[face].discard(number)
        for one, other in pieces:
            self._link(one, other)

    def _part(self, row: Constraint) -> None:
        """Take `faces` out of the sets that hold `others` too, and link both sides as different."""
        both = set(row.faces) & set(row.others)
        faces = [face for face in dict.fromkeys(row.faces) if face not in both]
        others = frozenset(row.others) - both
        if not faces or not others:
            return
        for face in (*faces, *sorted(others)):
            self._set_of(face)
        for key in {self.of[face] for face in faces} & {self.of[face] for face in others}:
            self._leave(key, [face for face in faces if self.of[face] == key])
        if row.person_id is not None:
            for face in faces:
                self.left.setdefault(face, set()).add(row.person_id)
        self._link(frozenset(faces), others)

    def _leave(self, key: int, faces: Sequence[str]) -> None:
        """Take faces out of a set together; the person stays with the others."""
        old, new = self.sets[key], self._number()
        self.sets[new] = _Set(set(faces))
        old.faces -= set(faces)
        if old.cover in self.sets[new].faces:
            old.cover = None
        for face in faces:
            self.of[face] = new

    def _take_from_others(self, row: Constraint) -> None:
        """Take the faces of a `name` row out of sets that are somebody else.

        That is another person of another name, or, where the row does not say which person it
        means, a set of another name that it does not hold whole.
        """
        touched = dict.fromkeys(self._set_of(face) for face in row.faces)
        for key in touched:
            confirmed = self.sets[key]
            faces = [face for face in dict.fromkeys(row.faces) if self.of[face] == key]
            if confirmed.name is None or same_name(confirmed.name, row.value):
                continue
            if row.person_id is None:
                other = len(faces) < len(confirmed.faces)
            else:
                other = confirmed.person_id not in (None, row.person_id)
            if other:
                self._leave(key, faces)

    def _flag(self, row: Constraint) -> None:
        """Set a person's flag or cover; who is who does not change by that."""
        keys = [self._set_of(face) for face in row.faces]
        person_ids = [self.sets[key].person_id for key in keys]
        faces = [
            face
            for face, person in zip(row.faces, person_ids, strict=True)
            if person in (None, row.person_id)
        ]
        if faces or row.person_id in self.by_id or not keys:
            key = self._join(faces, row.person_id)
        else:  # the person was merged since: its faces tell into whom
            key = max(dict.fromkeys(keys), key=keys.count)
        if row.kind == "cover":
            if row.faces:
                self.sets[self.of[row.faces[0]]].cover = row.faces[0]
        elif key is not None:
            self.sets[key].hidden = row.kind == "hide"

    def result(self, rejected: frozenset[str]) -> Corrections:
        """Return the sets without rejected faces, and which are apart."""
        kept = {key: one.faces - rejected for key, one in self.sets.items()}
        keys = sorted((key for key in kept if kept[key]), key=lambda key: min(kept[key]))
        place = {key: number for number, key in enumerate(keys)}
        sets = tuple(self._confirmed(self.sets[key], kept[key]) for key in keys)
        apart: set[tuple[int, int]] = set()
        for one, other in self.links.values():
            for a in {self.of[face] for face in one}:
                for b in {self.of[face] for face in other}:
                    if a != b and a in place and b in place:
                        apart.add((min(place[a], place[b]), max(place[a], place[b])))
        left = frozenset(
            (face, person)
            for face, persons in self.left.items()
            for person in persons
            if face not in rejected and self.sets[self.of[face]].person_id != person
        )
        return Corrections(sets, tuple(sorted(apart)), rejected, left)

    def _confirmed(self, confirmed: _Set, faces: set[str]) -> ConfirmedSet:
        left = set().union(*(self.left.get(face, ()) for face in faces)) - {confirmed.person_id}
        cover = confirmed.cover if confirmed.cover in faces else None
        return ConfirmedSet(
            frozenset(faces),
            confirmed.person_id,
            confirmed.name,
            confirmed.hidden,
            cover,
            frozenset(left),
        )
