"""Takes what is forgotten out of the corrections; nothing else ever rewrites them."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

import pyarrow as pa

from pipeline.errors import ConfigError, StorageError
from pipeline.lake import schema
from pipeline.lake.store import parquet_bytes
from pipeline.lake.tombstones import Forgotten
from pipeline.people.constraints import MARK, Constraint
from pipeline.people.person import EXEMPLARS
from pipeline.people.store import People
from pipeline.people.view import View, view

_WORD = re.compile(r"\S+")


def clean_corrections(people: People, forgotten: Forgotten) -> int:
    """Rewrite the files that speak of somebody forgotten, and return how many rows went.

    A row keeps the faces that stay. Where none is left of a side, but the person whom it spoke of
    stays, other faces of that person take their place: a name, a hidden person or two who were told
    apart must not change because one photo went. What was said of a forgotten person goes: a name
    must not pass on to a face that once was taken for them. To be called before the tables of
    people are cleaned: they tell whose the faces were.
    """
    files = people.constraint_files()
    cleaner = Cleaner(people, forgotten)
    cleaned = {name: [cleaner.clean(row) for row in rows] for name, rows in files.items()}
    kept = {row.constraint_id for rows in cleaned.values() for row in rows if row is not None}
    removed = 0
    while True:  # an undo of what is gone goes, and so does the undo of that undo
        dangling = {
            row.constraint_id
            for rows in cleaned.values()
            for row in rows
            if row is not None and row.kind == "undo" and row.constraint_id in kept
            and row.value not in kept
        }  # fmt: skip
        if not dangling:
            break
        kept -= dangling
    for name, rows in files.items():
        left = [row for row in cleaned[name] if row is not None and row.constraint_id in kept]
        if left == rows:
            continue
        removed += len(rows) - len(left)
        if left:
            table = pa.Table.from_pylist([asdict(row) for row in left], schema.CONSTRAINTS)
            people.lake.folder.publish(f"constraints/{name}", parquet_bytes(table))
        else:
            people.lake.folder.remove(f"constraints/{name}")
    return removed


@dataclass
class Cleaner:
    """Cleans rows; who the people were before anything went is read when it is needed."""

    people: People
    forgotten: Forgotten
    _view: View | None = None
    _tried: bool = False

    def clean(self, row: Constraint) -> Constraint | None:
        """Return a row without what is forgotten, None if nothing is left of it."""
        if self._person_is_gone(row.person_id):
            return None
        faces, others = self._left(row.faces), self._left(row.others)
        if row.kind == MARK and faces != row.faces:  # no other face is where the mark is
            return None
        if row.kind == "cover" and faces[:1] != row.faces[:1]:  # the first is the cover
            return None
        if row.faces and not faces:
            # In `different`, the person keeps the other side.
            person = None if row.kind == "different" else row.person_id
            faces = self._instead(row.faces, person)
        if row.others and not others:
            others = self._instead(row.others, row.person_id)
        if (row.faces and not faces) or (row.others and not others):
            return None
        return replace(row, faces=faces, others=others, note=self._note(row.note))

    def _left(self, faces: Iterable[str]) -> tuple[str, ...]:
        return tuple(face for face in faces if not self._is_gone(face))

    def _is_gone(self, face: str) -> bool:
        image = schema.image_of(face)
        return (
            self.forgotten.key(face) in self.forgotten.faces | self.forgotten.images
            or self.forgotten.key(image) in self.forgotten.images
        )

    def _person_is_gone(self, person_id: str | None) -> bool:
        return self.forgotten.key(person_id) in self.forgotten.persons

    def _instead(self, gone: Iterable[str], person_id: str | None) -> tuple[str, ...]:
        """Return faces that stay of the person for whom faces that go stood, if there are any.

        Args:
            gone: the faces.
            person_id: of the row, None where it tells of somebody else.
        """
        now = self._now()
        if now is None:
            return ()
        if person_id is None or now.person(person_id) is None:
            persons = now.persons_of(gone)
            votes = Counter(person for person in persons.values() if person is not None)
            person_id = max(votes, key=lambda one: (votes[one], one), default=None)
        if person_id is None or self._person_is_gone(person_id):
            return ()
        row = now.person(person_id)
        exemplars = self._left(row["exemplars"]) if row else ()
        if not exemplars:
            exemplars = self._left(one["face_id"] for one in now.faces(person_id))
        return exemplars[:EXEMPLARS]

    def _now(self) -> View | None:
        if not self._tried:
            self._tried = True
            try:
                self._view = view(self.people)
            except (ConfigError, StorageError):  # no people, or damaged: nobody can tell
                self._view = None
        return self._view

    def _note(self, note: str | None) -> str | None:
        """Return the note, None if it speaks of somebody forgotten."""
        words: Mapping[str, None] = dict.fromkeys(_WORD.findall(note or ""))
        keys = self.forgotten.faces | self.forgotten.persons | self.forgotten.images
        return None if any(self.forgotten.key(word) in keys for word in words) else note
