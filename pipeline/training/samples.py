"""Labelled faces to learn from, with their vectors; and what is left out."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.arrays import Bools, Floats64, Ints
from pipeline.errors import ConfigError
from pipeline.lake.lookup import Which, vectors_by_face
from pipeline.lake.schema import image_of, is_marked, rank_of
from pipeline.lake.store import LakeStore
from pipeline.training.labels import Class, Labels, LeftOut, labels_of

CONTENT = ("pixels_sha256", "sha256", "image_id")


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

    def without(self, missing: Mapping[str, str]) -> "Samples":
        """Return the samples without some faces, and without people who then have none.

        Args:
            missing: why, by face.
        """
        rows = np.array([face not in missing for face in self.faces], bool)
        if rows.all():
            return self
        gone = [
            LeftOut(None if person < 0 else self.people[person].label, missing[face], 1)
            for face, person in zip(self.faces, self.person.tolist(), strict=True)
            if face in missing
        ]
        kept = replace(self.some(rows), left_out=[*self.left_out, *gone])
        left, person = np.unique(kept.person, return_inverse=True)
        if not self.people:
            return kept
        return replace(kept, person=person, people=[self.people[k] for k in left])

    def digest(self) -> str:
        """Return a hash of faces, labels and vectors, 64 hex digits."""
        made = hashlib.sha256()
        for face, person in zip(self.faces, self.person.tolist(), strict=True):
            one = self.people[person] if person >= 0 else Class("")
            made.update(repr((face, one.label, one.person_id)).encode())
        made.update(np.ascontiguousarray(self.vectors, "<f4").tobytes())
        return made.hexdigest()


def read_samples(lake: LakeStore, file: str | None, which: Which) -> Samples:
    """Return the labelled faces of a lake.

    Args:
        lake: whose vectors they are.
        file: see `labels.labels_of`.
        which: face of an image that a label of the file belongs to.

    Raises:
        ConfigError: no label matches a face, or nobody has a name.
    """
    labels = labels_of(lake, file, which)
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


def _contents(lake: LakeStore, faces: Iterable[str]) -> dict[str, str]:
    """Return what the picture of each face is told by: the hash of its pixels, or bytes, or id."""
    owners = {face: image_of(face) for face in faces}
    rows = lake.read("images", CONTENT).to_pylist()
    content = {row["image_id"]: next(row[name] for name in CONTENT if row[name]) for row in rows}
    return {face: content[image] for face, image in owners.items() if image in content}


def _leave_out_contradictions(labels: Labels, content: Mapping[str, str]) -> None:
    """Leave out faces of copies of a picture that are labelled differently."""
    same: dict[tuple[str, int], set[str]] = {}
    for face in labels.of:
        if is_marked(face):  # each copy has marks of its own
            continue
        same.setdefault((content[face], rank_of(face)), set()).add(face)
    for copies in same.values():
        if len({labels.of[face] for face in copies}) > 1:
            for face in sorted(copies):
                label = labels.of.pop(face).label
                reason = "a copy of the photo is labelled as somebody else"
                labels.left_out.append(LeftOut(label, reason, 1))


def unlabelled(lake: LakeStore) -> Samples:
    """Return all faces of a lake, nobody's: [N] people -1, and no vectors.

    Raises:
        ConfigError: it has no face.
    """
    faces = sorted(lake.read("faces", ["face_id"])["face_id"].to_pylist())
    if not faces:
        raise ConfigError(f"{lake.folder.url} has no faces to learn from")
    content = _contents(lake, faces)
    _, image = np.unique([content[face] for face in faces], return_inverse=True)
    nobody = np.full(len(faces), -1, np.int64)
    return Samples(faces, nobody, image, np.zeros((len(faces), 0)), [], [], "no labels")
