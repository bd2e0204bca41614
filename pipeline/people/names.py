"""Names in CSV files: who is on which photo, written for other programs and read from them."""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.lake.scan import scan
from pipeline.lake.schema import faces_schema
from pipeline.people.actions import checked_name
from pipeline.people.constraints import name_key, same_name
from pipeline.people.log import Statement, append, new_id
from pipeline.people.store import People
from pipeline.people.view import View, view
from pipeline.storage.folder import as_cell, from_cell, visible

COLUMNS = ("person_id", "name", "face_id", "uri")


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of an imported file.

    Attributes:
        names, faces: how many were taken over.
        unknown: faces of the file that are not in the lake.
    """

    names: int
    faces: int
    unknown: int


def exported(people: People) -> str:
    """Return the faces of all named persons as CSV with the columns `COLUMNS`."""
    now = view(people)
    named = now.people.filter(pc.is_valid(now.people["name"])).sort_by("name")
    rows = [
        (person["person_id"], person["name"], face["face_id"])
        for person in named.select(["person_id", "name"]).to_pylist()
        for face in now.faces(person["person_id"])
    ]
    uris = uris_of(people, [row[2] for row in rows])
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(as_cell, (*row, uris.get(row[2], ""))) for row in rows)
    return out.getvalue()


def uris_of(people: People, face_ids: list[str]) -> dict[str, str]:
    """Return where the images of faces are; faces that the lake lacks are left out."""
    lake = people.lake
    models = lake.models()
    if not face_ids or models is None:
        return {}
    table = scan(
        lake.folder.child("faces"),
        lake.parts(),
        faces_schema(models.dimension),
        ["face_id", "uri"],
        pc.field("face_id").isin(pa.array(face_ids, pa.string())),
    )
    return dict(zip(*table.to_pydict().values(), strict=True))


def import_names(people: People, text: str, note: str | None = None) -> Imported:
    """Call the faces of a CSV with the columns face_id and name by these names.

    The faces of one name become one person: the one who has the name already, else the one that
    most of the faces are with, unless another name of the file has more of it, else a new one.

    Raises:
        ConfigError: a column is missing, a name cannot be one, a face has two names, or no face
            of the file is in the lake.
    """
    by_name = _read(text)
    statements = statements_of(view(people), by_name)
    if not statements:
        raise ConfigError(
            "No face of the file is in the clusters of this lake; compare its face_id column with "
            "`facelake people LAKE show PERSON`"
        )
    append(people, statements, note)
    count = sum(len(one.faces) for one in statements)
    return Imported(len(statements), count, sum(map(len, by_name.values())) - count)


def statements_of(
    now: View, by_name: Mapping[str, Sequence[str]], marked: Collection[str] = ()
) -> list[Statement]:
    """Return what calls faces by names, one a name; faces that are not known are left out.

    `marked` are faces that will be known.
    """
    persons = now.persons_of(face for faces in by_name.values() for face in faces)
    persons |= dict.fromkeys(marked)
    known_faces = {n: [f for f in faces if f in persons] for n, faces in by_name.items()}
    known_faces = {called: faces for called, faces in known_faces.items() if faces}
    name_of = dict(zip(*now.people.select(["person_id", "name"]).to_pydict().values(), strict=True))
    owners = _owners(known_faces, persons, name_of)
    for name in known_faces.keys() - owners.keys():  # somebody has it, but none of these faces
        called = [person for person in now.called(name) if person not in owners.values()]
        if len(called) == 1:
            owners[name] = called[0]
    return [
        Statement("name", faces, (), owners.get(name) or new_id(), name)
        for name, faces in known_faces.items()
    ]


def _read(text: str) -> dict[str, list[str]]:
    """Return the faces of each name."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    if missing := {"face_id", "name"} - set(reader.fieldnames or ()):
        raise ConfigError(
            f"The file has no column {' and '.join(sorted(missing))}; its first line must name "
            "the columns face_id and name"
        )
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise ConfigError(f"The file is no CSV ({error}); check its quotes") from error
    name_of: dict[str, str] = {}
    spelling: dict[str, str] = {}
    for line, row in rows:
        if not (row["name"] or "").strip():
            continue  # a face that is nobody yet
        text = checked_name(from_cell(row["name"]))
        text = spelling.setdefault(name_key(text), text)  # as it was typed first
        if name_of.setdefault(row["face_id"], text) != text:
            raise ConfigError(
                f"Line {line}: face {visible(row['face_id'])} is called "
                f"{visible(text)} here and {visible(name_of[row['face_id']])} above; keep one"
            )
    by_name: dict[str, list[str]] = defaultdict(list)
    for face, text in name_of.items():
        by_name[text].append(face)
    return by_name


def _owners(
    faces_of: Mapping[str, list[str]],
    persons: Mapping[str, str | None],
    name_of: Mapping[str, str | None],
) -> dict[str, str]:
    """Return which person each name belongs to, no person twice; names may have nobody."""
    votes = []
    for name, faces in faces_of.items():
        counts = Counter(persons[face] for face in faces)
        votes += [
            (same_name(name_of.get(person), name), count, name, person)
            for person, count in counts.items()
            if person is not None
            and (name_of.get(person) is None or same_name(name_of[person], name))
        ]
    owners: dict[str, str] = {}
    taken: set[str] = set()
    for _, _, name, person in sorted(votes, key=lambda v: (not v[0], -v[1], v[2], v[3])):
        if name not in owners and person not in taken:
            owners[name] = person
            taken.add(person)
    return owners
