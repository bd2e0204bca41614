"""Brings the rows of marked faces in step with the log: made, removed, and counted.

A part is two files, faces first. Should this be cut between them, the number of faces in `images`
is of before; for photos that the log has marks of, it is set right the next time.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.lake import schema
from pipeline.lake.generations import DUPLICATES, PEOPLE, note_sizes
from pipeline.lake.moves import in_parts, replaced, resized
from pipeline.lake.store import LakeStore, parquet_bytes
from pipeline.people.constraints import MARK
from pipeline.people.corrections import resolve
from pipeline.people.marks.mark import Mark, marks_of, overlapped
from pipeline.people.store import People, corrected_faces

logger = logging.getLogger(__name__)

# Returns the columns of `faces` that a photo tells of a mark, by face id; faces that cannot be
# made are left out.
Make = Callable[[Mapping[str, Any], Mapping[str, Mark]], Mapping[str, Mapping[str, Any]]]


@dataclass
class Settled:
    """What became of the rows of marked faces.

    Attributes:
        made, removed: rows.
        missing: marks whose row cannot be made now: the photo is not there, or has another shape.
    """

    made: int = 0
    removed: int = 0
    missing: int = 0


@dataclass(frozen=True)
class _Marks:
    """What the log says of the marked faces of one image.

    Attributes:
        standing: those that there are.
        former: those that were taken back.
    """

    standing: dict[str, Mark] = field(default_factory=dict)
    former: dict[str, Mark] = field(default_factory=dict)


def settle(
    people: People, make: Make | None = None, images: Sequence[str] | None = None, run_id: str = ""
) -> Settled:
    """Let the rows of marked faces be those that stand in the log.

    The caller holds the lake's lock. It can be repeated, and after a kill must be.

    Args:
        people: of the lake.
        make: makes missing rows; None: they stay missing.
        images: only of these.
        run_id: of new rows.
    """
    by_image = _by_image(people, images)
    if not by_image:
        return Settled()
    lake = people.lake
    tables = {table: lake.folder.child(table) for table in ("images", "faces")}
    before = {table: folder.files() for table, folder in tables.items()}

    spoken = corrected_faces(lake)
    results: list[Settled] = []  # parts are settled in threads

    def one(name: str, ids: Sequence[str]) -> None:
        part = _Part(lake, name, {image: by_image[image] for image in ids}, spoken)
        part.settle(make, run_id)
        results.append(part.result)

    in_parts(lake, by_image, one)
    for table, pointer in (("faces", PEOPLE), ("images", DUPLICATES)):
        # Other faces and pictures are as they were: clustering looks for new marks itself.
        note_sizes(lake, pointer, resized(before[table], tables[table].files()))
    return Settled(*(sum(getattr(one, count.name) for one in results) for count in fields(Settled)))


def _by_image(people: People, images: Sequence[str] | None) -> dict[str, _Marks]:
    """Return the marks of each image that has some, forgotten ones left out."""
    rows = people.constraints()
    ever = {face for row in rows if row.kind == MARK for face in row.faces}
    by_image: dict[str, _Marks] = defaultdict(_Marks)
    if not ever:
        return {}
    withdrawn, forgotten = resolve(rows).withdrawn, people.lake.forgotten()
    for face, mark in marks_of(rows, ever).items():
        image = schema.image_of(face)
        if images is None or image in images:
            gone = face in withdrawn or forgotten.key(face) in forgotten.faces
            (by_image[image].former if gone else by_image[image].standing)[face] = mark
    return dict(by_image)


@dataclass
class _Part:
    """A part, the marks of its images, and which faces corrections speak of."""

    lake: LakeStore
    name: str
    marks: Mapping[str, _Marks]
    spoken: AbstractSet[str]
    result: Settled = field(default_factory=Settled)

    def settle(self, make: Make | None, run_id: str) -> None:
        images = schema.completed(self.lake.read_part("images", self.name))
        faces = self.lake.read_part("faces", self.name)
        new = self._settled(images, faces, make, run_id)
        if new is not faces:
            self.lake.folder.publish(f"faces/{self.name}", parquet_bytes(new))
        counts = self._counts(images, new)
        if counts != images["faces"].to_pylist():
            images = replaced(images, "faces", counts)
            self.lake.folder.publish(f"images/{self.name}", parquet_bytes(images))

    def _settled(
        self, images: pa.Table, faces: pa.Table, make: Make | None, run_id: str
    ) -> pa.Table:
        """Return the faces with those that stand, without those that do not; the same if so."""
        photos = {row["image_id"]: row for row in images.to_pylist()}
        columns = ["face_id", "image_id", "box"]
        here: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in faces.select(columns).to_pylist():
            here[row["image_id"]].append(row)
        names: dict[str, str] = {}
        drop: set[str] = set()
        rows: list[dict[str, Any]] = []
        for image, marks in self.marks.items():
            photo = photos[image]
            there = {row["face_id"]: row["box"] for row in here[image]}
            former = {face: marks.former.get(face) for face in there
                      if schema.is_marked(face) and face not in marks.standing}  # fmt: skip
            for face, mark in former.items():
                if mark is None or _is_of(mark, there[face], photo):
                    drop.add(face)
                else:  # since then it was found by the detector, and stays as its face
                    own = {one for one in self.spoken if schema.image_of(one) == image}
                    names[face] = _free(image, {*there, *names.values(), *own})
            rows += self._missing(photo, there, names, make)
        if not (rows or drop or names):
            return faces
        ids = [names.get(face, face) for face in faces["face_id"].to_pylist()]
        faces = replaced(faces, "face_id", ids)
        faces = faces.filter(
            pc.invert(pc.is_in(faces["face_id"], pa.array(sorted(drop), pa.string())))
        )
        self.result.made += len(rows)
        self.result.removed += len(drop)
        models = self.lake.existing_models()
        common = {"detector": models.detector, "embedder": models.embedder, "run_id": run_id}
        new = pa.Table.from_pylist([row | common for row in rows], faces.schema)
        return pa.concat_tables([faces, new])

    def _missing(
        self, photo: Mapping[str, Any], there: Mapping[str, Any], names: dict[str, str],
        make: Make | None,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Return rows for marks that have none; where a detector found the face, it gets its id."""
        missing: dict[str, Mark] = {}
        size = photo["width"] or 0, photo["height"] or 0
        for face, mark in self.marks[photo["image_id"]].standing.items():
            if face in there:
                continue
            box = mark.on(*size)
            free = [one for one in there if one not in self.spoken and one not in names]
            found = None if box is None else overlapped(box, [there[one] for one in free])
            if found is not None:
                names[free[found]] = face
            elif box is not None and photo["error"] is None:
                missing[face] = Mark(box, *size, mark.source)
            else:
                self.result.missing += 1
        if not missing:
            return []
        made = make(photo, missing) if make else {}
        self.result.missing += len(missing) - len(made)
        place = {"image_id": photo["image_id"], "uri": photo["uri"]}
        return [{**row, **place, "face_id": face} for face, row in made.items()]

    def _counts(self, images: pa.Table, faces: pa.Table) -> list[int | None]:
        """Return the numbers of faces for `images`: those with marks are counted anew."""
        owners = Counter(faces["image_id"].to_pylist())
        # A difference that no mark explains is for `facelake check` to find.
        most = {i: len(one.standing) + len(one.former) for i, one in self.marks.items()}
        numbers = zip(images["image_id"].to_pylist(), images["faces"].to_pylist(), strict=True)
        return [
            owners[image]
            if former is not None and abs(owners[image] - former) <= most.get(image, 0)
            else former
            for image, former in numbers
        ]


def _is_of(mark: Mark, box: Sequence[float], photo: Mapping[str, Any]) -> bool:
    """Return whether a row is as the mark made it, rather than as a detector did."""
    own = mark.on(photo["width"] or 0, photo["height"] or 0)
    return own is None or max(abs(a - b) for a, b in zip(own, box, strict=True)) < 1


def _free(image_id: str, faces: AbstractSet[str]) -> str:
    """Return an id of a detected face that none of `faces`, of one image or others, has."""
    ranks = [schema.rank_of(face) for face in faces if not schema.is_marked(face)]
    return schema.face_id_of(image_id, max(ranks, default=-1) + 1)
