"""Marks faces: a box on a photo becomes a face of the lake, and stays one."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import DecodeConfig
from pipeline.errors import ConfigError, FacelakeError, ImageError, LakeBusyError, StorageError
from pipeline.imaging.record import Decoded
from pipeline.imaging.sandbox import Sandbox
from pipeline.lake import schema
from pipeline.lake.lock import RunLock
from pipeline.lake.manifest import configs
from pipeline.people.actions import anchors, checked_name
from pipeline.people.constraints import MARK, Constraint
from pipeline.people.corrections import resolve
from pipeline.people.log import Statement, append, new_id
from pipeline.people.marks.cut import Models, cut_face
from pipeline.people.marks.mark import Mark, Source, overlapped
from pipeline.people.marks.rows import Settled, settle
from pipeline.people.store import People
from pipeline.people.view import view
from pipeline.sources.originals import Originals
from pipeline.storage.folder import visible

logger = logging.getLogger(__name__)

LEAST_PX = 10
# Of one action; an import of more is several, see `log.PLACE_DIGITS`.
MOST_STATEMENTS = 50_000
PHOTO = ["image_id", "uri", "shard", "sha256", "pixels_sha256", "width", "height", "turn", "error"]


class Marker:
    """Marks faces on photos of a lake; models and the decoding process start when needed.

    Threads may share it. Use as a context manager, or `close` it.

    Args:
        people: of the lake.
        originals: reads its photos.
        models: of the lake, for example a `search.models.LakeModels`, which may be shared.
    """

    def __init__(self, people: People, originals: Originals, models: Models) -> None:
        self.people = people
        self.originals = originals
        self.models = models
        self._sandbox = Sandbox(DecodeConfig())
        self._lock = threading.Lock()

    def __enter__(self) -> "Marker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process that decodes; it starts again when it is needed."""
        self._sandbox.close()

    def mark(
        self, image_id: str, box: Sequence[float], person_id: str | None = None,
        called: str | None = None, note: str | None = None, source: Source = "drawn",
    ) -> Constraint:  # fmt: skip
        """Say that there is a face on a photo, and who it is, if that is known.

        Where a face lies that was rejected, the rejection is taken back instead. The first of
        `faces` of what is returned is the face; `person_id` is whom it was given to.

        Args:
            image_id: of the photo.
            box: x1, y1, x2, y2 in pixels of the upright photo, as `faces.box`.
            person_id: whose face it is.
            called: or the name: of the one person who has it, else of a new one.
            note: for the history.
            source: who knew of it.

        Raises:
            ConfigError: no such photo or person; the box is too small, reaches out of the photo,
                or holds a face already.
            StorageError: the photo is not there any more, has changed, or cannot be decoded.
            LakeBusyError: another run is at work.
        """
        photo = self._photo(image_id)
        mark = _checked(photo, box, source)
        self._statements([], person_id, called)  # a person who is not there ends it at once
        found = self._free_place(photo, mark)
        made = None if found is not None else self.make(photo, {"": mark})[""]
        with self.hold() as run_id:
            if self._free_place(photo, mark) != found:
                raise ConfigError("Somebody else has marked or rejected this face now; look again")
            face = found or self._new_ids({image_id: 1})[0][0]
            marked = [Statement(MARK, [face], value=mark.value())]
            first = [Statement("a-face", [face])] if found else marked
            whose = self._statements([face], person_id, called)
            row = append(self.people, [*first, *whose], note)
            if made is not None:
                settle(self.people, lambda *_: {face: made}, [image_id], run_id)
            return replace(row, faces=(face, *(one for one in row.faces if one != face)))

    def mark_all(
        self,
        marks: Mapping[str, Sequence[Mark]],
        statements: Callable[[Sequence[Sequence[str]]], Sequence[Statement]],
        note: str | None = None,
        tell: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Mark faces at places that are free, as one action, and return how many are rows now.

        Args:
            marks: by image.
            statements: returns what else to say; is given the new faces, in the order of `marks`.
            note: for the history.
            tell: is called with how many more faces were made.

        Raises:
            LakeBusyError: another run is at work.
        """
        with self.hold() as run_id:
            faces = self._new_ids({image: len(some) for image, some in marks.items()})
            first = [
                Statement(MARK, [face], value=mark.value())
                for some, ids in zip(marks.values(), faces, strict=True)
                for mark, face in zip(some, ids, strict=True)
            ]
            rows = [*first, *statements(faces)]
            for start in range(0, len(rows), MOST_STATEMENTS):
                append(self.people, rows[start : start + MOST_STATEMENTS], note)
            return self.restore(run_id, tell).made if first else 0

    def restore(self, run_id: str = "", tell: Callable[[int], None] = lambda _: None) -> Settled:
        """Make the rows of marked faces that are missing, and remove those that were taken back.

        The caller holds the lake's lock.
        """

        def make(
            photo: Mapping[str, Any], marks: Mapping[str, Mark]
        ) -> Mapping[str, Mapping[str, Any]]:
            try:
                made = self.make(photo, marks)
                tell(len(made))
                return made
            except FacelakeError as error:  # the run that restores must not fail for it
                logger.info("a marked face is missing until its photo can be read: %s", error)
                return {}

        return settle(self.people, make, run_id=run_id)

    def restore_now(self) -> bool:
        """Do what `restore` does, after an undo; False: another run is at work, and will do it."""
        try:
            with self.hold() as run_id:
                self.restore(run_id)
        except LakeBusyError:
            return False
        return True

    def make(
        self, photo: Mapping[str, Any], marks: Mapping[str, Mark]
    ) -> dict[str, Mapping[str, Any]]:
        """Return the columns of `faces` that a photo tells of marks on it.

        Raises:
            StorageError: it is not there any more, has changed, or cannot be decoded.
        """
        decoded = self._decoded(photo)
        keep = next(configs(self.people.lake), {}).get("thumbnails", True)
        made: dict[str, Mapping[str, Any]] = {}
        with self._lock:
            for face, mark in marks.items():
                box, turn = np.array(mark.box, np.float32), photo["turn"] or 0
                row = cut_face(decoded.pixels, decoded.reduced, box, turn, self.models)
                made[face] = row if keep else {**row, "thumbnail": None}
        return made

    def _decoded(self, photo: Mapping[str, Any]) -> Decoded:
        try:
            return self._sandbox.decode(self.originals.read(photo))[0]
        except ImageError as error:
            raise StorageError(f"{visible(photo['uri'])} cannot be decoded: {error}") from error

    def _photo(self, image_id: str) -> dict[str, Any]:
        rows = self.people.lake.read("images", PHOTO, pc.field("image_id") == image_id).to_pylist()
        if not rows:
            raise ConfigError(
                f"There is no photo {visible(image_id)}; give an image_id of the table images"
            )
        photo: dict[str, Any] = rows[0]
        if photo["error"] is not None or not photo["width"]:
            raise ConfigError(
                f"{visible(photo['uri'])} could not be read ({photo['error']}); no face can be "
                "marked on it"
            )
        return photo

    def _free_place(self, photo: Mapping[str, Any], mark: Mark) -> str | None:
        """Return the rejected face that lies in a box; None: there is no face.

        Raises:
            ConfigError: there is a face that counts, or one was forgotten.
        """
        lake, corrections = self.people.lake, resolve(self.people.constraints())
        where = pc.field("image_id") == photo["image_id"]
        faces = lake.read("faces", ["face_id", "box"], where).to_pylist()
        faces = [row for row in faces if row["face_id"] not in corrections.withdrawn]
        at = overlapped(mark.box, [row["box"] for row in faces])
        if at is None:
            boxes = np.array([mark.box], np.float32)
            content = (photo["uri"], photo["sha256"], photo["pixels_sha256"])
            if lake.forgotten().hidden_faces(boxes, mark.width, mark.height, *content).any():
                raise ConfigError(
                    "The face in this box was forgotten with `facelake forget`; it stays so"
                )
            return None
        face: str = faces[at]["face_id"]
        if face not in corrections.rejected:
            raise ConfigError(f"In this box is the face {face} already; correct that one instead")
        return face

    def _statements(
        self, faces: Sequence[str], person_id: str | None, called: str | None
    ) -> list[Statement]:
        """Return what says whose `faces` are.

        Raises:
            ConfigError: no such person, or several of the name.
        """
        if person_id is None and called is None:
            return []
        now = view(self.people)
        text = None if called is None else checked_name(called)
        if person_id is None and text is not None:
            same = now.called(text)
            if len(same) > 1:
                raise ConfigError(
                    f"{len(same)} persons are called {visible(text)}: {', '.join(same)}; give the "
                    "id of one"
                )
            if not same:
                return [Statement("name", faces, (), new_id(), text)]
            person_id, text = same[0], None
        assert person_id is not None
        known = anchors(now, person_id)
        statements = [Statement("same", [*faces, *known], (), person_id)]
        if text is not None:
            statements.append(Statement("name", [*faces, *known], (), person_id, text))
        return statements

    def _new_ids(self, numbers: Mapping[str, int]) -> list[list[str]]:
        """Return ids that no faces of images ever had, forgotten ones included.

        Raises:
            ConfigError: too many faces were marked on one of them.
        """
        lake = self.people.lake
        ever = {face for row in self.people.constraints() for face in (*row.faces, *row.others)}
        where = pc.field("image_id").isin(pa.array(list(numbers), pa.string()))
        ever |= set(lake.read("faces", ["face_id"], where)["face_id"].to_pylist())
        forgotten = lake.forgotten()
        ranks = range(schema.FIRST_MARKED, schema.FIRST_MARKED + schema.MOST_MARKED)
        new = []
        for image, number in numbers.items():
            ids = (schema.face_id_of(image, rank) for rank in ranks)
            free = (i for i in ids if i not in ever and forgotten.key(i) not in forgotten.faces)
            new.append(list(islice(free, number)))
            if len(new[-1]) < number:
                raise ConfigError(
                    f"{schema.MOST_MARKED:,} faces were marked on photo {image}; that is all"
                )
        return new

    @contextmanager
    def hold(self) -> Iterator[str]:
        """Hold the lake while rows are written, and yield the id of the run."""
        run_id = f"mark-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:6]}"
        with RunLock(self.people.lake.folder, run_id):
            self.people.lake.check_nothing_is_being_forgotten()
            yield run_id


def _checked(photo: Mapping[str, Any], box: Sequence[float], source: Source) -> Mark:
    """Return the mark of a box.

    Raises:
        ConfigError: it is no box, too small, or reaches out of the photo.
    """
    width, height = photo["width"], photo["height"]
    if len(box) != 4 or not np.isfinite(box).all():
        raise ConfigError("A box is four numbers: left, top, right and bottom, in pixels")
    x1, y1, x2, y2 = map(float, box)
    if x1 < 0 or y1 < 0 or x2 > width or y2 > height or x1 >= x2 or y1 >= y2:
        raise ConfigError(
            f"The box {x1:g},{y1:g},{x2:g},{y2:g} does not lie in the photo; give left, top, right "
            f"and bottom in pixels of the upright photo, which has {width} x {height}"
        )
    if min(x2 - x1, y2 - y1) < LEAST_PX:
        raise ConfigError(
            f"The box is {x2 - x1:g} x {y2 - y1:g} pixels; at least {LEAST_PX} each way are "
            "needed to know a face again"
        )
    return Mark((x1, y1, x2, y2), width, height, source)
