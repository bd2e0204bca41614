"""The view: the tables of the last clustering with all corrections applied to them.

A correction shows at once, before clustering runs again: names, flags, merged persons, moved, split
and rejected faces. Names and flags come from the corrections alone, so that an undo shows too. What
a correction means for other faces is left to clustering.
"""

import hashlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.lake import schema
from pipeline.people.constraints import same_name
from pipeline.people.corrections import ConfirmedSet, Corrections
from pipeline.people.person import EXEMPLARS, Corrected, Person, central, core_first
from pipeline.people.store import People
from pipeline.storage.folder import visible

SHORTEST_PREFIX = 4
# Orders of lists of people. The last key settles ties, so that two lists of the same people are
# the same.
ORDERS = {
    "size": [("faces", "descending"), ("person_id", "ascending")],
    "name": [("name", "ascending"), ("faces", "descending"), ("person_id", "ascending")],
    "recent": [("last_taken_at", "descending"), ("person_id", "ascending")],
}
SHOWN = [name for name in schema.people_schema(1).names if name != "mean"]
MEMBERS = ["face_id", "image_id", "person_id", "tier", "similarity", "confidence", "confirmed"]


@dataclass(frozen=True)
class View:
    """Who is who, corrections included.

    Attributes:
        people: the persons, columns `SHOWN`.
        assigned: person of each face that a correction speaks of.
        merged: person of the last clustering to the one that it is part of now.
        rejected: faces that are no faces.
        confirmed: person to the faces that somebody said are them.
        marked: faces that people marked since the last clustering.
        withdrawn: those of `rejected` whose mark was taken back; the lake does not have them.
    """

    store: People
    people: pa.Table
    assigned: Mapping[str, str]
    merged: Mapping[str, str]
    rejected: frozenset[str]
    confirmed: Mapping[str, frozenset[str]]
    marked: frozenset[str] = frozenset()
    withdrawn: frozenset[str] = frozenset()

    def person(self, person_id: str) -> dict[str, Any] | None:
        """Return the person's row of `people`, None if there is no such person."""
        rows: list[dict[str, Any]] = self.people.filter(
            pc.equal(self.people["person_id"], person_id)
        ).to_pylist()
        return rows[0] if rows else None

    def lookup(self, text: str) -> str:
        """Return the id of the person with this id, name, or only start of an id.

        Raises:
            ConfigError: nobody, or several.
        """
        if self.person(text) is not None:
            return text
        ids = self.people["person_id"]
        matches = self.called(text)
        if not matches and len(text) >= SHORTEST_PREFIX:
            matches = ids.filter(pc.starts_with(ids, text)).to_pylist()
        if len(matches) == 1:
            return matches[0]
        if matches:
            shown = ", ".join(sorted(matches)[:5]) + (" ..." if len(matches) > 5 else "")
            raise ConfigError(
                f"{len(matches)} persons go by {visible(text)!r}: {shown}; give more of the id"
            )
        raise ConfigError(
            f"There is no person {visible(text)!r}; give an id, the first {SHORTEST_PREFIX} or "
            "more of its digits, or the exact name, as `facelake people LAKE list --all` shows them"
        )

    def called(self, name: str) -> list[str]:
        """Return the ids of the persons of this name, however it is spelled."""
        named = self.people.filter(pc.is_valid(self.people["name"]))
        rows = zip(named["person_id"].to_pylist(), named["name"].to_pylist(), strict=True)
        return [person_id for person_id, other in rows if same_name(other, name)]

    def faces(self, person_id: str) -> list[dict[str, Any]]:
        """Return the person's rows of `clusters`, columns `MEMBERS`, most central first."""
        rows = _members(
            self.store, self.assigned, self.merged, self.rejected, {person_id}, self.marked
        )
        return sorted(rows, key=central)

    def on_photos(self, image_ids: Iterable[str]) -> list[dict[str, Any]]:
        """Return `face_id`, `image_id` and `person_id` of the faces on some photos.

        Rejected faces are left out; `person_id` is None for faces of nobody.
        """
        wanted = set(image_ids)
        where = pc.field("image_id").isin(pa.array(sorted(wanted), pa.string()))
        columns = ["face_id", "image_id", "person_id"]
        rows: list[dict[str, Any]] = self.store.clusters(columns, where).to_pylist()
        rows += [
            {"face_id": face, "image_id": image, "person_id": None}
            for face in sorted(self.marked)
            if (image := schema.image_of(face)) in wanted
        ]
        for row in rows:
            row["person_id"] = self.assigned.get(row["face_id"], self._now(row["person_id"]))
        return [row for row in rows if row["face_id"] not in self.rejected]

    def of_nobody(self) -> list[str]:
        """Return the faces that are of nobody yet, rejected ones left out, in order of ids."""
        rows = self.store.clusters(["face_id"], pc.field("person_id").is_null())
        faces = {*rows["face_id"].to_pylist(), *self.marked}
        return sorted(faces - self.assigned.keys() - self.rejected)

    def persons_of(self, faces: Iterable[str]) -> dict[str, str | None]:
        """Return the person of each face, None for rejected ones; unknown faces are left out."""
        wanted = list(dict.fromkeys(faces))
        rows = self.store.clusters(
            ["face_id", "person_id"], pc.field("face_id").isin(pa.array(wanted, pa.string()))
        )
        known = dict(zip(*rows.to_pydict().values(), strict=True))
        known |= {face: None for face in wanted if face in self.marked}
        return {
            face: None if face in self.rejected else self.assigned.get(face, self._now(person))
            for face, person in known.items()
        }

    def _now(self, person: str | None) -> str | None:
        return person if person is None else self.merged.get(person, person)


def view(store: People) -> View:
    """Return the current people with all corrections applied.

    Raises:
        ConfigError: nobody has clustered this lake yet.
    """
    return store.once("view", lambda: _made(store))


def _made(store: People) -> View:
    corrections = store.corrections()
    corrected = [
        *corrections.faces,
        *corrections.rejected,
        *corrections.marked,
    ]
    where = pc.field("face_id").isin(pa.array(corrected, pa.string()))
    rows = store.clusters(["face_id", "person_id"], where) if corrected else None
    former: dict[str, str | None] = (
        dict(zip(*rows.to_pydict().values(), strict=True)) if rows is not None else {}
    )
    marked = store.on_photos_here(corrections.marked - former.keys())
    former |= dict.fromkeys(marked)
    people = store.people(SHOWN)
    owners = _owners(corrections, former)
    assigned = {
        face: owner
        for one, owner in zip(corrections.sets, owners, strict=True)
        for face in one.faces
        if face in former  # a face of a photo that is gone, or not clustered yet
    }
    merged = _merged(corrections, owners, former)
    changed = {former[face] for face in corrections.rejected if face in former} | {
        person for face, owner in assigned.items() if former[face] != owner
        for person in (former[face], owner)
    } | set(merged) | set(merged.values())  # fmt: skip
    confirmed: dict[str, frozenset[str]] = defaultdict(frozenset)
    sets_of: dict[str, list[ConfirmedSet]] = defaultdict(list)
    for one, owner in zip(corrections.sets, owners, strict=True):
        if len(one.faces) > 1 or one.person_id is not None or one.name is not None:
            confirmed[owner] |= {face for face in one.faces if face in former}
        sets_of[owner].insert(0 if one.person_id else len(sets_of[owner]), one)
    members = _members(store, assigned, merged, corrections.rejected, changed - {None}, marked)
    table = _shown(store, people, members, {p for p in changed if p}, merged, sets_of)
    return View(
        store, table, assigned, merged, corrections.rejected, dict(confirmed), marked,
        corrections.withdrawn,
    )  # fmt: skip


def _owners(corrections: Corrections, former: Mapping[str, str | None]) -> list[str]:
    """Return the person that each set is shown as.

    The one whose id it keeps; else the one that most of its faces are with, unless they were
    taken out of it, or the person is somebody else already; else a new one.
    """
    owners: dict[int, str] = {}
    taken: dict[str, list[int]] = defaultdict(list)
    apart: dict[int, set[int]] = defaultdict(set)
    used = set(former.values()) | {person for _, person in corrections.left}
    names = [one.name for one in corrections.sets]
    for i, j in corrections.apart:
        apart[i].add(j)
        apart[j].add(i)
    for number, one in enumerate(corrections.sets):
        if one.person_id is not None:
            owners[number] = one.person_id
            taken[one.person_id].append(number)
            used.add(one.person_id)

    def free(person: str, number: int) -> bool:
        return not any(
            other in apart[number]
            or (names[number] and names[other] and not same_name(names[number], names[other]))
            for other in taken[person]
        )

    for number, one in enumerate(corrections.sets):
        if number in owners:
            continue
        votes = Counter(
            person
            for face in one.faces
            if (person := former.get(face)) and (face, person) not in corrections.left
        )
        ranked = sorted(votes, key=lambda person: (-votes[person], person))
        owners[number] = next((p for p in ranked if free(p, number)), None) or _new_id(one, used)
        taken[owners[number]].append(number)
        used.add(owners[number])
    return [owners[number] for number in range(len(corrections.sets))]


def _new_id(one: ConfirmedSet, used: AbstractSet[str | None]) -> str:
    """Return the id of a person that clustering does not know yet: the same at each look."""
    face = min(one.faces)
    ids = (
        hashlib.blake2b(f"{face}/{k}".encode(), digest_size=8).hexdigest()
        for k in itertools.count()
    )
    return next(person_id for person_id in ids if person_id not in used)


def _merged(
    corrections: Corrections, owners: list[str], former: Mapping[str, str | None]
) -> dict[str, str]:
    """Return which persons follow their confirmed faces to another person, whole."""
    owner_ids = set(owners)
    merged: dict[str, str] = {}
    for one, owner in zip(corrections.sets, owners, strict=True):
        for face in sorted(one.faces):
            person = former.get(face)
            taken_out = (face, person) in corrections.left
            if person is not None and person not in owner_ids and not taken_out:
                merged.setdefault(person, owner)
    return merged


def _members(
    store: People,
    assigned: Mapping[str, str],
    merged: Mapping[str, str],
    rejected: frozenset[str],
    persons: set[Any],
    marked: frozenset[str],
) -> list[dict[str, Any]]:
    """Return the rows of `clusters` of these persons, `person_id` as it is now."""
    if not persons:
        return []
    sources = persons | {old for old, new in merged.items() if new in persons}
    gained = [face for face, person in assigned.items() if person in persons]
    where = pc.field("person_id").isin(pa.array(sorted(sources), pa.string())) | pc.field(
        "face_id"
    ).isin(pa.array(gained, pa.string()))
    rows: list[dict[str, Any]] = store.clusters(MEMBERS, where).to_pylist()
    rows += [_unclustered(face) for face in gained if face in marked]
    for row in rows:
        old = row["person_id"]
        row["confirmed"] = row["confirmed"] or row["face_id"] in assigned
        row["person_id"] = assigned.get(row["face_id"], merged.get(old, old))
    return [row for row in rows if row["person_id"] in persons and row["face_id"] not in rejected]


def _unclustered(face_id: str) -> dict[str, Any]:
    """Return a row of `clusters`, columns `MEMBERS`, for a face that clustering does not know."""
    return dict.fromkeys(MEMBERS) | {
        "face_id": face_id, "image_id": schema.image_of(face_id), "tier": "attach",
        "confirmed": False,
    }  # fmt: skip


def _shown(
    store: People,
    people: pa.Table,
    members: list[dict[str, Any]],
    changed: set[str],
    merged: Mapping[str, str],
    sets_of: Mapping[str, list[ConfirmedSet]],
) -> pa.Table:
    """Return the persons with changed members counted anew, and names and flags as corrected."""
    named = {person: sets for person, sets in sets_of.items() if person not in changed}
    known = store.once_a_run("named people", lambda: _Named({}, people.slice(0, 0)))
    stale = {person for person, sets in named.items() if known.sets.get(person) != sets}
    needed = pa.array(sorted(changed | stale), pa.string())
    rows = people.filter(pc.is_in(people["person_id"], needed)).to_pylist()
    former = {row["person_id"]: Person(**row) for row in rows}
    known.take(former, {person: named[person] for person in stale if person in former})
    by_person: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for member in members:
        by_person[member["person_id"]].append(member)
    absorbed: dict[str, list[Person]] = defaultdict(list)
    for old, new in merged.items():
        if old in former:
            absorbed[new].append(former[old])
    persons = []
    for person_id in (one for one in by_person if one in changed and one not in merged):
        sources = [former[person_id]] if person_id in former else []
        person = _recounted(person_id, sources + absorbed[person_id], by_person[person_id])
        persons.append(vars(person.corrected(Corrected.by(sets_of.get(person_id, [])))))
    others = known.table.filter(
        pc.is_in(known.table["person_id"], pa.array(list(named), pa.string()))
    )
    spoken_of = pc.is_in(people["person_id"], pa.array([*changed, *named], pa.string()))
    untouched = store.once_a_run("bare people", lambda: _bare(people)).filter(pc.invert(spoken_of))
    touched = pa.concat_tables([others, pa.Table.from_pylist(persons, people.schema)])
    return pa.concat_tables([untouched, touched.sort_by("person_id")])


@dataclass
class _Named:
    """Persons whose faces are those of the last clustering, but of whom corrections speak.

    Most are what they were a correction ago.

    Attributes:
        sets: of each, when its row was made.
        table: their rows, as corrected.
    """

    sets: dict[str, list[ConfirmedSet]]
    table: pa.Table

    def take(self, former: Mapping[str, Person], sets_of: Mapping[str, list[ConfirmedSet]]) -> None:
        """Make the rows of some persons anew."""
        if not sets_of:
            return
        made = [vars(former[one].corrected(Corrected.by(sets))) for one, sets in sets_of.items()]
        again = pc.is_in(self.table["person_id"], pa.array(list(sets_of), pa.string()))
        fresh = pa.Table.from_pylist(made, self.table.schema)
        self.table = pa.concat_tables([self.table.filter(pc.invert(again)), fresh])
        self.table = self.table.combine_chunks()
        self.sets.update(sets_of)


def _bare(people: pa.Table) -> pa.Table:
    """Return the persons without names and flags: these come from corrections alone."""
    for name, value in (("name", None), ("hidden", False)):
        field = people.schema.field(name)
        column = pa.repeat(pa.scalar(value, field.type), len(people))
        people = people.set_column(people.schema.get_field_index(name), field, column)
    return people


def _recounted(
    person_id: str, sources: Sequence[Person], members: Sequence[Mapping[str, Any]]
) -> Person:
    """Return the person with these members; `sources` are the persons that it is made of."""
    face_ids = {member["face_id"] for member in members}
    exemplars = [face for source in sources for face in source.exemplars if face in face_ids]
    by_rank = [member["face_id"] for member in sorted(members, key=core_first)]
    exemplars = list(dict.fromkeys(exemplars + by_rank))[:EXEMPLARS]
    dates = [date for one in sources for date in (one.first_taken_at, one.last_taken_at) if date]
    run_id = sources[0].run_id if sources else ""
    person = Person(person_id, cover_face_id=exemplars[0], exemplars=exemplars, run_id=run_id)
    return person.recounted(members, dates)
