"""Takes over face regions of other programs: names for faces, and marks where there are none."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.lake.schema import image_of
from pipeline.lake.tombstones import Forgotten
from pipeline.people.actions import checked_name
from pipeline.people.constraints import MARK, name_key, same_name
from pipeline.people.corrections import Corrections, resolve
from pipeline.people.log import append
from pipeline.people.marks.mark import Box, Mark, marks_of, overlapped
from pipeline.people.marks.marker import LEAST_PX, Marker
from pipeline.people.names import Imported, statements_of
from pipeline.people.store import People
from pipeline.people.view import View, view
from pipeline.people.xmp.regions import Frame, Region, matched

# Columns of photos that regions are taken over for; `frame_of` needs the last three.
PHOTO = ["image_id", "uri", "sha256", "pixels_sha256", "width", "height", "orientation"]
BATCH = 5_000
# New and former marks of one photo; `schema.MOST_MARKED` is the end, forgotten ones included.
MOST_MARKS = 500
KEPT = "faces that have another name in the lake, which stays: use --replace"


@dataclass
class ImportResult:
    """What became of an import.

    Attributes:
        imported: names and faces that were taken over; None if there were none.
        sidecars: how many sidecars, or photos, had regions of faces.
        marked: regions that became faces, because the lake had none there; they are among the
            faces of `imported`.
        made: those of them that could be cut out of their photos; others follow when they can.
        known: faces that somebody had called so before.
        skipped: why regions or sidecars were passed over, with how many.
    """

    imported: Imported | None = None
    sidecars: int = 0
    marked: int = 0
    made: int = 0
    known: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Taking:
    """How regions are taken over.

    Attributes:
        marker: marks faces where the lake has none; None: such regions are passed over.
        replace: whether names of regions win over those in the lake.
        note: for the history.
        tell: is called with a step, how many of it are done, and how many there are.
    """

    marker: Marker | None = None
    replace: bool = False
    note: str | None = None
    tell: Callable[[str, int, int], None] = lambda *_: None


@dataclass
class Found:
    """Regions by image: names, and boxes in pixels of the upright photo."""

    photos: Mapping[str, Mapping[str, Any]]
    regions: dict[str, list[tuple[str, Box]]] = field(default_factory=lambda: defaultdict(list))

    def add(
        self, image: str, regions: Iterable[Region], applied: tuple[float, float] | None
    ) -> bool:
        """Add regions of an image; False: they apply to a picture of another shape."""
        frame = frame_of(self.photos[image]).seen_by(applied)
        if frame is not None:
            self.regions[image] += [(region.name, frame.box(region)) for region in regions]
        return frame is not None


def frame_of(row: Mapping[str, Any]) -> Frame:
    """Return the frame of a row of `images`."""
    return Frame(row["width"], row["height"], row["orientation"] or 1)


def take_over(people: People, found: Found, result: ImportResult, taking: Taking) -> None:
    """Name the faces that regions lie on, mark faces where there are none, and say it in `result`.

    Done twice, it changes nothing the second time.
    """
    if not found.regions:
        return
    match = _Match(people, taking, result)
    for start in range(0, len(found.regions), BATCH):
        match.add({i: found.regions[i] for i in list(found.regions)[start : start + BATCH]}, found)
    names = _Names()
    for face, name in match.name_of.items():
        names.add(name, face)

    def statements(faces: Sequence[Sequence[str]]) -> Sequence[Any]:
        marked = [face for ids in faces for face in ids]
        texts = [name for some in match.marks.values() for name, _ in some]
        for face, name in zip(marked, texts, strict=True):
            names.add(name, face)
        return statements_of(view(people), names.faces, marked)

    if match.marks and taking.marker is not None:
        marks = {image: [mark for _, mark in some] for image, some in match.marks.items()}
        result.marked, done = sum(map(len, marks.values())), 0

        def tell(more: int) -> None:
            nonlocal done
            done += more
            taking.tell("marking faces", done, result.marked)

        result.made = taking.marker.mark_all(marks, statements, taking.note, tell)
    elif names.faces:
        append(people, statements([]), taking.note)
    if names.faces:
        count = sum(map(len, names.faces.values()))
        result.imported = Imported(len(names.faces), count, 0)


class _Names:
    """Faces by name, as it was spelled first."""

    def __init__(self) -> None:
        self.faces: dict[str, list[str]] = {}
        self._spelling: dict[str, str] = {}

    def add(self, name: str, face: str) -> None:
        self.faces.setdefault(self._spelling.setdefault(name_key(name), name), []).append(face)


class _Match:
    """Finds out which faces get names, and where faces are to be marked."""

    def __init__(self, people: People, taking: Taking, result: ImportResult) -> None:
        self.people, self.taking, self.result = people, taking, result
        self.name_of: dict[str, str] = {}
        self.marks: dict[str, list[tuple[str, Mark]]] = {}
        rows = people.constraints()
        self._corrections: Corrections = resolve(rows)
        self._now: View = view(people)
        named = self._now.people.select(["person_id", "name"]).to_pydict()
        self._names = dict(zip(*named.values(), strict=True))
        self._withdrawn: dict[str, list[Mark]] = defaultdict(list)
        for face, mark in marks_of(rows, self._corrections.withdrawn).items():
            self._withdrawn[image_of(face)].append(mark)
        self._ever = Counter(image_of(row.faces[0]) for row in rows if row.kind == MARK)
        self._forgotten: Forgotten = people.lake.forgotten()

    def add(self, regions: Mapping[str, Sequence[tuple[str, Box]]], found: Found) -> None:
        """Take in the regions of some images."""
        where = pc.field("image_id").isin(pa.array(list(regions), pa.string()))
        table = self.people.lake.read("faces", ["face_id", "image_id", "box"], where)
        faces: dict[str, dict[str, Box]] = defaultdict(dict)
        for row in table.to_pylist():
            if row["face_id"] not in self._corrections.withdrawn:
                faces[row["image_id"]][row["face_id"]] = row["box"]
        persons = self._now.persons_of(table["face_id"].to_pylist())
        for image, some in regions.items():
            ids, boxes = list(faces[image]), list(faces[image].values())
            pairs = matched([box for _, box in some], boxes)
            for number, (name, box) in enumerate(some):
                try:
                    text = checked_name(name)
                except ConfigError:
                    self._skip("regions whose name cannot be one")
                    continue
                if number in pairs:
                    self._name(ids[pairs[number]], text, persons)
                else:
                    self._mark(found.photos[image], text, box, boxes)

    def _skip(self, why: str) -> None:
        self.result.skipped[why] += 1

    def _name(self, face: str, name: str, persons: Mapping[str, str | None]) -> None:
        """Note the name of a face, unless it has one."""
        if face not in persons:
            self._skip("faces that are not in the clusters of this lake")
            return
        if face in self._corrections.rejected:
            self._skip("faces that were rejected as no face")
            return
        person = persons[face]
        former = self._names.get(person)
        same = same_name(former, name)
        if same and face in self._now.confirmed.get(person or "", ()):
            self.result.known += 1
        elif former is not None and not same and not self.taking.replace:
            self._skip(KEPT)
        else:
            self.name_of[face] = name

    def _mark(
        self, photo: Mapping[str, Any], name: str, box: Box, boxes: Sequence[Sequence[float]]
    ) -> None:
        """Note a place where a face is to be marked, if it is one."""
        width, height, image = photo["width"], photo["height"], photo["image_id"]
        clipped = np.clip(box, 0, [width, height] * 2).tolist()
        if self.taking.marker is None:
            self._skip("regions where the lake has no face")
        elif min(clipped[2] - clipped[0], clipped[3] - clipped[1]) < LEAST_PX:
            self._skip(f"regions where the lake has no face, of less than {LEAST_PX} pixels")
        elif self._ever[image] >= MOST_MARKS:
            self._skip(f"regions on photos that have {MOST_MARKS} marks")
        elif self._is_taken_back(photo, clipped):
            self._skip("regions whose mark was taken back")
        elif self._is_forgotten(photo, clipped):
            self._skip("regions of faces that were forgotten")
        else:
            marks = self.marks.get(image, [])
            if overlapped(clipped, [*boxes, *(mark.box for _, mark in marks)]) is not None:
                self._skip("regions that lie on another one's face")
                return
            x1, y1, x2, y2 = clipped
            self._ever[image] += 1
            mark = Mark((x1, y1, x2, y2), width, height, "region")
            self.marks.setdefault(image, []).append((name, mark))

    def _is_taken_back(self, photo: Mapping[str, Any], box: Sequence[float]) -> bool:
        former = (mark.on(photo["width"], photo["height"])
                  for mark in self._withdrawn.get(photo["image_id"], ()))  # fmt: skip
        return overlapped(box, [one for one in former if one is not None]) is not None

    def _is_forgotten(self, photo: Mapping[str, Any], box: Sequence[float]) -> bool:
        content = (photo["uri"], photo["sha256"], photo["pixels_sha256"])
        boxes = np.array([box], np.float32)
        size = photo["width"], photo["height"]
        return bool(self._forgotten.hidden_faces(boxes, *size, *content).any())
