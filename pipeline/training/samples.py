"""Labelled faces to learn from: of a file, or the people of the lake; and what is left out."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow.compute as pc

from pipeline.arrays import Bools, Floats64, Ints
from pipeline.errors import ConfigError
from pipeline.evaluation.truth.labels import read_labels
from pipeline.lake.lookup import Which, vectors_by_face
from pipeline.lake.store import LakeStore
from pipeline.people.person import CORE
from pipeline.people.store import People
from pipeline.people.view import view

CONTENT = ("pixels_sha256", "sha256", "image_id")


@dataclass(frozen=True)
class Class:
    """A person who is learnt.

    Attributes:
        label: the name, as the file or the lake has it.
        person_id: of the lake; None for a label of a file.
    """

    label: str
    person_id: str | None = None


@dataclass(frozen=True)
class LeftOut:
    """What is not learnt from, and why: so many faces or rows of a label."""

    label: str | None
    reason: str
    count: int


@dataclass(frozen=True)
class Samples:
    """N labelled faces of P people.

    Attributes:
        faces: face ids, [N], rising.
        person: row of `people` of each, [N].
        image: number of the picture of each, [N]; the same for copies, byte for byte or pixel for
            pixel.
        vectors: unit vectors [N, D].
        people: who they are, [P].
        left_out: what is not among them.
        source: where the labels are from, in words.
    """

    faces: list[str]
    person: Ints
    image: Ints
    vectors: Floats64
    people: list[Class]
    left_out: list[LeftOut]
    source: str

    def some(self, rows: Bools) -> "Samples":
        """Return some of the faces, [N]; the people stay as they are numbered."""
        faces = [face for face, keep in zip(self.faces, rows, strict=True) if keep]
        return replace(self, faces=faces, person=self.person[rows], image=self.image[rows],
                       vectors=self.vectors[rows])  # fmt: skip

    def digest(self) -> str:
        """Return a hash of faces, labels and vectors, 64 hex digits."""
        made = hashlib.sha256()
        for face, person in zip(self.faces, self.person.tolist(), strict=True):
            one = self.people[person]
            made.update(repr((face, one.label, one.person_id)).encode())
        made.update(np.ascontiguousarray(self.vectors, "<f4").tobytes())
        return made.hexdigest()


@dataclass
class _Labels:
    """Labels by face, while they are read."""

    of: dict[str, Class]
    source: str
    left_out: list[LeftOut] = field(default_factory=list)


def read_samples(lake: LakeStore, file: str | None, which: Which) -> Samples:
    """Return the labelled faces of a lake.

    Args:
        lake: whose vectors they are.
        file: labels as `facelake evaluate` reads them; None: the people who have a name in the
            lake, corrections included, by their core faces and those that somebody confirmed.
        which: face of an image that a label of the file belongs to.

    Raises:
        ConfigError: no label matches a face, or nobody has a name.
    """
    labels = _of_lake(lake) if file is None else _of_file(lake, file, which)
    content = _contents(lake, labels.of)
    vectors = vectors_by_face(lake, labels.of)
    for face in sorted(labels.of.keys() - (content.keys() & vectors.keys())):
        labels.left_out.append(LeftOut(labels.of.pop(face).label, "the face is gone", 1))
    _leave_out_contradictions(labels, content)
    faces = sorted(labels.of)
    if not faces:
        raise ConfigError("No labelled face is left to learn from; check the labels")
    order = sorted({labels.of[face] for face in faces}, key=lambda c: (c.label, c.person_id or ""))
    number = {one: k for k, one in enumerate(order)}
    _, image = np.unique([content[face] for face in faces], return_inverse=True)
    person = np.array([number[labels.of[face]] for face in faces], np.int64)
    matrix = np.stack([vectors[face] for face in faces]).astype(np.float64)
    return Samples(faces, person, image, matrix, order, labels.left_out, labels.source)


def _of_file(lake: LakeStore, file: str, which: Which) -> _Labels:
    truth = read_labels(lake, file, which)
    out = _Labels({face: Class(label) for face, label in truth.labels.items()}, "file of labels")
    for count, reason in (
        (truth.unmatched, "the label matches no face of the lake"),
        (truth.ambiguous, "the label matches several images of one name"),
    ):
        if count:
            out.left_out.append(LeftOut(None, reason, count))
    return out


def _of_lake(lake: LakeStore) -> _Labels:
    store = People(lake)
    now = view(store)
    named = now.people.filter(pc.and_(pc.is_valid(now.people["name"]),
                                      pc.invert(now.people["hidden"])))  # fmt: skip
    columns = named.select(["person_id", "name"]).to_pydict()
    classes = {person: Class(name, person) for person, name in zip(*columns.values(), strict=True)}
    if not classes:
        raise ConfigError(
            f"Nobody in {lake.folder.url} has a name to be learnt; give names with `facelake "
            "people`, or labels with --labels"
        )
    rows = store.clusters(["face_id", "tier"]).to_pydict()
    persons = now.persons_of(rows["face_id"])
    out = _Labels({}, "named people of the lake")
    weak: dict[str, int] = {}
    for face, tier in zip(rows["face_id"], rows["tier"], strict=True):
        person = persons.get(face)
        if person is None or person not in classes:
            continue
        if tier == CORE or face in now.confirmed.get(person, ()):
            out.of[face] = classes[person]
        else:
            weak[person] = weak.get(person, 0) + 1
    out.left_out = [
        LeftOut(classes[person].label, "a weak face that nobody confirmed", count)
        for person, count in sorted(weak.items())
    ]
    return out


def _contents(lake: LakeStore, faces: Iterable[str]) -> dict[str, str]:
    """Return what the picture of each face is told by: the hash of its pixels, or bytes, or id."""
    owners = {face: face.rpartition("-")[0] for face in faces}
    rows = lake.read("images", CONTENT).to_pylist()
    content = {row["image_id"]: next(row[name] for name in CONTENT if row[name]) for row in rows}
    return {face: content[image] for face, image in owners.items() if image in content}


def _leave_out_contradictions(labels: _Labels, content: Mapping[str, str]) -> None:
    """Leave out faces of copies of a picture that are labelled differently."""
    same: dict[tuple[str, str], set[str]] = {}
    for face in labels.of:
        same.setdefault((content[face], face.rpartition("-")[2]), set()).add(face)
    for copies in same.values():
        if len({labels.of[face] for face in copies}) > 1:
            for face in sorted(copies):
                label = labels.of.pop(face).label
                reason = "a copy of the photo is labelled as somebody else"
                labels.left_out.append(LeftOut(label, reason, 1))
