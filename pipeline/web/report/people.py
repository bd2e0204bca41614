"""Who is shown: the persons of a lake, corrections included, and the faces of each."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Bools, Ints
from pipeline.people import People
from pipeline.people.answers import open_suggestions
from pipeline.people.view import View, view
from pipeline.web.report.names import page_name, person_stem
from pipeline.web.report.settings import (
    DOUBTFUL,
    DOUBTFUL_ATTACHED,
    DOUBTFUL_PERSON,
    OTHERS,
    PER_PAGE,
    ReportConfig,
)

MEMBERS = ["face_id", "image_id", "person_id", "tier", "reason", "similarity", "confidence",
           "confirmed"]  # fmt: skip
ORDER = [("faces", "descending"), ("images", "descending"), ("person_id", "ascending")]
# What a person without a name is called; ids are for programs.
NAMELESS = "Unnamed"


@dataclass(frozen=True)
class Person:
    """A person as pages show them.

    Attributes:
        row: of the view's `people`.
        rows: numbers of the person's faces in `ShownPeople.faces`, the most central first.
        cover: number of the face that stands for them; None if the lake lacks it.
        doubtful: how many of the faces are doubtful.
        others: persons who might be the same one, and how alike the two are.
        mixed: whether the person might be two.
    """

    row: Mapping[str, Any]
    rows: Ints
    cover: int | None
    doubtful: int
    others: Sequence[tuple[str, float]]
    mixed: bool

    @property
    def id(self) -> str:
        """The person's id."""
        return str(self.row["person_id"])

    @property
    def label(self) -> str:
        """The name, or the start of the id."""
        return str(self.row["name"] or NAMELESS)


@dataclass(frozen=True)
class ShownPeople:
    """The persons of a report.

    Attributes:
        faces: columns `MEMBERS` of all faces shown; `person_id` is that of the clustering.
        persons: those with a page, the largest first.
        once: those seen once and without a name.
        persons_in_all, once_in_all, hidden: numbers in the lake; hidden persons count apart.
        ungrouped: faces of nobody, by reason, the most frequent first.
        links: label and address of each person by id: a page, or a place on a sheet.
    """

    faces: pa.Table
    persons: Sequence[Person]
    once: Sequence[Person]
    persons_in_all: int
    once_in_all: int
    hidden: int
    ungrouped: Sequence[tuple[str, int]]
    links: Mapping[str, tuple[str, str]]

    def others(self, person: Person) -> list[tuple[str, str, str]]:
        """Return who might be the same person: label, page or nothing, similarity."""
        return [
            (*self.links.get(other, (NAMELESS, "")), f"{similarity:.2f}")
            for other, similarity in person.others
        ]


def _address(person: Person, place: int) -> str:
    """Return the address of a person; `place` is among those seen once, below 0 for others."""
    stem = person_stem(person.id)
    return page_name(stem) if place < 0 else f"{page_name('once', place // PER_PAGE + 1)}#{stem}"


def shown_people(store: People, config: ReportConfig) -> ShownPeople | None:
    """Return the persons to show; None when nobody has clustered the lake yet."""
    if store.current() is None:
        return None
    current = view(store)
    people = current.people.filter(pc.invert(current.people["hidden"])).sort_by(ORDER)
    paged = pc.or_(pc.greater(people["faces"], 1), pc.is_valid(people["name"]))
    many, once = people.filter(paged), people.filter(pc.invert(paged))
    on_pages = pa.concat_tables([many.slice(0, config.people), once.slice(0, config.people)])
    members = store.clusters(MEMBERS)
    owner = _owners(current, members, on_pages["person_id"].combine_chunks())
    faces = members.filter(pa.array(owner >= 0))
    owner = owner[owner >= 0]
    similarity = faces["similarity"].to_numpy().astype(np.float64)
    order = np.lexsort((-np.nan_to_num(similarity, nan=-1.0), owner))
    ends = np.searchsorted(owner[order], np.arange(len(on_pages) + 1))
    doubt = doubtful(faces)
    alike, mixed = _suggested(store, current, set(people["person_id"].to_pylist()))
    place = dict(zip(faces["face_id"].to_pylist(), range(len(faces)), strict=True))
    persons = []
    for number, row in enumerate(on_pages.to_pylist()):
        rows = order[ends[number] : ends[number + 1]]
        cover = place.get(row["cover_face_id"], int(rows[0]) if len(rows) else None)
        key = row["person_id"]
        persons.append(
            Person(row, rows, cover, int(doubt[rows].sum()), alike.get(key, []), key in mixed)
        )
    first_once = min(config.people, len(many))
    return ShownPeople(
        faces,
        persons[:first_once],
        persons[first_once:],
        len(many),
        len(once),
        len(current.people) - len(people),
        _ungrouped(current, members),
        {
            one.id: (one.label, _address(one, number - first_once))
            for number, one in enumerate(persons)
        },
    )


def doubtful(faces: pa.Table) -> Bools:
    """Return which faces may be of somebody else; confirmed ones are not."""
    confidence = faces["confidence"].to_numpy().astype(np.float64)
    attached = pc.equal(faces["tier"], "attach").to_numpy()
    confirmed = faces["confirmed"].to_numpy()
    least = np.where(attached, DOUBTFUL_ATTACHED, DOUBTFUL)
    doubtful_faces: Bools = (confidence < least) & ~confirmed
    return doubtful_faces


def _owners(current: View, members: pa.Table, persons: pa.Array) -> Ints:
    """Return which of `persons` each face belongs to now, int64 [faces]; -1: none of them."""
    numbers = dict(zip(persons.to_pylist(), range(len(persons)), strict=True))
    owner = _index(members["person_id"], persons)
    for column, moved in (("person_id", current.merged), ("face_id", current.assigned)):
        at = _index(members[column], pa.array(list(moved), pa.string()))
        target = np.array([numbers.get(person, -1) for person in moved.values()], np.int64)
        owner[at >= 0] = target[at[at >= 0]]
    owner[_index(members["face_id"], pa.array(list(current.rejected), pa.string())) >= 0] = -1
    return owner


def _index(values: pa.ChunkedArray, among: pa.Array) -> Ints:
    places = pc.fill_null(pc.index_in(values, among, skip_nulls=True), -1)
    rows: Ints = places.to_numpy().astype(np.int64)
    return rows


def _suggested(
    store: People, current: View, visible: AbstractSet[str]
) -> tuple[dict[str, list[tuple[str, float]]], set[str]]:
    """Return who each person might also be, and who might be two; hidden people are left out."""
    alike: dict[str, list[tuple[str, float]]] = defaultdict(list)
    mixed = set()
    for row in open_suggestions(store, current):
        if row["doubt"] < DOUBTFUL_PERSON:
            continue
        a, b = row["person_a"], row["person_b"]
        if row["kind"] == "merged":
            mixed.add(a)
        elif {a, b} <= visible:
            for one, other in ((a, b), (b, a)):
                if len(alike[one]) < OTHERS:
                    alike[one].append((other, row["similarity"]))
    return alike, mixed


def _ungrouped(current: View, members: pa.Table) -> list[tuple[str, int]]:
    nobody = members.filter(pc.is_null(members["person_id"]))
    nobody = nobody.filter(
        pc.invert(pc.is_in(nobody["face_id"], pa.array(list(current.assigned), pa.string())))
    )
    counts = {
        one["values"] or "no reason was noted": one["counts"]
        for one in pc.value_counts(nobody["reason"]).to_pylist()
    }
    if current.rejected:
        counts["somebody said that it is no face"] = len(current.rejected)
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
