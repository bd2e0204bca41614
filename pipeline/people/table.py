"""The people of a lake as a table that can be corrected."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.lake import schema
from pipeline.lake.checkpoints import Progress
from pipeline.lake.lookup import find_images, one_image
from pipeline.people import actions
from pipeline.people.constraints import MARK, Constraint
from pipeline.people.followers import Parting
from pipeline.people.log import action
from pipeline.people.photos import NEEDED, Chosen, chosen_photos
from pipeline.people.store import People
from pipeline.people.view import View, view
from pipeline.storage.folder import visible

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.people.marks.marker import Marker
    from pipeline.people.xmp.taking import ImportResult, Taking

BATCH_ROWS = 16_384
NOTE_WORDS = 12


class PeopleTable:
    """The people that clustering found, with all corrections applied.

    A person is told by id, the first digits of one (4 or more), or exact name; a face by its id.
    Every correction returns a `Constraint`, whose `constraint_id` `undo` takes; it shows at once,
    and survives every later clustering. ConfigError: there is no such person or face, or nobody
    has clustered the lake yet.

    Args:
        store: of the lake.
        marking: opens what marks faces; None: they cannot be marked.
    """

    def __init__(
        self, store: People, marking: "Callable[[], AbstractContextManager[Marker]] | None" = None
    ) -> None:
        self.store = store
        self._marking = marking

    def __len__(self) -> int:
        """Return the number of persons, hidden ones included."""
        return int(self.now().people.num_rows)

    def now(self) -> View:
        """Return who is who at this moment."""
        return view(self.store)

    def to_arrow(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """Return the persons, all columns but their mean vectors."""
        people = self.now().people
        names = schema.checked_columns("people", people.schema, columns)
        return (people if where is None else people.filter(where)).select(names)

    def to_pandas(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> "pd.DataFrame":
        """Return what `to_arrow` does as a data frame."""
        frame: pd.DataFrame = self.to_arrow(columns, where).to_pandas()
        return frame

    def batches(
        self, columns: Sequence[str] | None = None, rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Yield the persons, at most `rows` at once."""
        yield from self.to_arrow(columns).combine_chunks().to_batches(rows)

    def faces(self, person: str) -> list[dict[str, Any]]:
        """Return the rows of `clusters` of a person, the most central face first."""
        now = self.now()
        return now.faces(now.lookup(person))

    def photos(
        self, *together: str, without: Sequence[str] = (), year: int | None = None,
        camera: str = "", least_faces: int = 0,
    ) -> pa.Table:  # fmt: skip
        """Return the rows of `images` on which all of some persons are, the latest first.

        Args:
            together: the persons; nobody: all photos that could be read.
            without: persons who must not be on them.
            year: in which they were taken.
            camera: with which.
            least_faces: on them.
        """
        now = self.now()
        who, but = ([now.lookup(one) for one in some] for some in (together, without))
        images = self.store.lake.read("images", NEEDED, pc.field("error").is_null())
        found = chosen_photos(now, images, Chosen(who, but, year, camera, least_faces))["image_id"]
        wanted = pc.field("image_id").isin(found.combine_chunks())
        return self.store.lake.read("images", None, wanted).sort_by(
            [("taken_at", "descending"), ("image_id", "ascending")]
        )

    def name(self, person: str, name: str) -> Constraint:
        """Call a person `name`."""
        who = self._id(person)
        return actions.name(self.store, who, name, note("name", who, name))

    def unname(self, person: str) -> Constraint:
        """Take a person's name away."""
        who = self._id(person)
        return actions.unname(self.store, who, note("name", who, "--remove"))

    def merge(self, *persons: str) -> Constraint:
        """Say that persons are one, who keeps the first one's id."""
        now = self.now()
        ids = [now.lookup(person) for person in persons]
        return actions.merge(self.store, ids, note("merge", *ids))

    def followers(self, person: str, faces: Sequence[str]) -> Parting:
        """Return which other faces `split` would take along with some, and which would stay."""
        return actions.followers(self.store, self._id(person), faces)

    def split(self, person: str, faces: Sequence[str], only: bool = False) -> Constraint:
        """Take faces out of a person, and the others that are more like them than like the rest.

        They become a new person, `person_id` of what is returned; `faces` of it are all that went.
        With `only`, no other face follows.
        """
        who = self._id(person)
        words = [*(["--only"] if only else []), who, *faces]
        more = [] if only else actions.followers(self.store, who, faces).follow
        return actions.split(self.store, who, [*faces, *more], note("split", *words))

    def move(self, faces: Sequence[str], to: str) -> Constraint:
        """Say that faces are another person."""
        who = self._id(to)
        return actions.move(self.store, faces, who, note("move", *faces, "--to", who))

    def not_a_face(self, faces: Sequence[str]) -> Constraint:
        """Reject faces: they are no faces, or nobody's."""
        return actions.not_a_face(self.store, faces, note("not-a-face", *faces))

    def a_face(self, faces: Sequence[str]) -> Constraint:
        """Take rejected faces back: they are faces after all."""
        return actions.a_face(self.store, faces, note("a-face", *faces))

    def hide(self, *persons: str) -> Constraint:
        """Leave persons out of lists."""
        ids = [self._id(person) for person in persons]
        return actions.hide(self.store, ids, note("hide", *ids))

    def unhide(self, *persons: str) -> Constraint:
        """Show hidden persons again."""
        ids = [self._id(person) for person in persons]
        return actions.unhide(self.store, ids, note("unhide", *ids))

    def cover(self, person: str, face: str) -> Constraint:
        """Choose the face that stands for a person."""
        who = self._id(person)
        return actions.cover(self.store, who, face, note("cover", who, face))

    def mark(
        self,
        photo: str,
        box: Sequence[float],
        person: str | None = None,
        name: str | None = None,
    ) -> Constraint:
        """Say that there is a face on a photo where none was found, and whose.

        Args:
            photo: image_id, uri or name.
            box: x1, y1, x2, y2 in pixels of the upright photo.
            person: whose face it is.
            name: or what the person is called; somebody new, if nobody is.

        Raises:
            ConfigError: no such photo or person, or no box for a face.
            StorageError: the photo is not there any more, or has changed.
            LakeBusyError: another run is at work.
        """
        if self._marking is None:
            raise ConfigError("Faces can be marked on a lake only; open it with Lake(...)")
        image = one_image(self.store.lake, photo, find_images(self.store.lake)(photo))
        who = None if person is None else self._id(person)
        sides = ",".join(f"{side:g}" for side in box)
        words = [*(["--to", who] if who else []), *(["--name", name] if name else [])]
        with self._marking() as marker:
            return marker.mark(image, box, who, name, note("mark", image, "--box", sides, *words))

    def import_sidecars(
        self, path: str, *, replace: bool = False, progress: Progress | None = None
    ) -> "ImportResult":
        """Name faces as the face regions of XMP sidecars do, and mark those that were not found.

        Args:
            path: a sidecar, or a folder of them.
            replace: whether their names win over those in the lake.
            progress: is called with a step, how many of it are done, and how many there are.

        Raises:
            ConfigError: there is no such file or folder.
            LakeBusyError: another run is at work.
        """
        from pipeline.people.xmp.sidecars import import_sidecars

        with self._taking(["import", path], replace, progress) as taking:
            return import_sidecars(self.store, path, taking)

    def import_embedded(
        self, *, replace: bool = False, progress: Progress | None = None
    ) -> "ImportResult":
        """Do what `import_sidecars` does with the metadata inside the photos, which are read again.

        Raises:
            LakeBusyError: another run is at work.
        """
        from pipeline.people.xmp.embedded import import_embedded

        with self._taking(["import", "--embedded"], replace, progress) as taking:
            if taking.marker is None:
                raise ConfigError("The photos of a lake only can be read; open it with Lake(...)")
            return import_embedded(self.store, taking.marker, taking)

    @contextmanager
    def _taking(
        self, words: list[str], replace: bool, progress: Progress | None
    ) -> "Iterator[Taking]":
        from pipeline.people.xmp.taking import Taking

        with self._marking() if self._marking is not None else nullcontext() as marker:
            text = note(*words, *(["--replace"] if replace else []))
            yield Taking(marker, replace, text, progress or (lambda *_: None))

    def history(self) -> list[Constraint]:
        """Return all corrections in the order in which they were made."""
        return self.store.constraints()

    def undo(self, correction: str | None = None) -> Constraint:
        """Take a correction back, the last one without an id, or bring back what an undo took."""
        words = [correction] if correction else []
        row = actions.undo(self.store, correction, note("undo", *words))
        if self._marking is not None and marks_changed(self.store, row):
            with self._marking() as marker:
                marker.restore_now()
        return row

    def _id(self, person: str) -> str:
        return self.now().lookup(person)


def marks_changed(store: People, undo: Constraint) -> bool:
    """Return whether an undo takes back marks of faces, or brings them again."""
    rows = {row.constraint_id: row for row in store.constraints()}
    seen: set[str] = set()
    for other in rows.values():
        if action(other) != action(undo):
            continue
        row: Constraint | None = other
        while row is not None and row.kind == "undo" and row.constraint_id not in seen:
            seen.add(row.constraint_id)
            row = rows.get(row.value or "")
        if row is not None and row.kind == MARK:
            return True
    return False


def note(*words: str) -> str:
    """Return a correction as a command says it, persons by their ids, for people to read."""
    more = f" ... ({len(words)} words)" if len(words) > NOTE_WORDS else ""
    return visible(" ".join(words[:NOTE_WORDS]) + more)
