"""The pages of one person: faces, when, and photos."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Bools, Floats32, Ints
from pipeline.web.charts import timeline
from pipeline.web.pages import plural
from pipeline.web.report.faces import Faces
from pipeline.web.report.images import day
from pipeline.web.report.names import page_name, person_stem, short_name
from pipeline.web.report.people import Person, ShownPeople, doubtful
from pipeline.web.report.previews import Previews
from pipeline.web.report.settings import PER_PAGE
from pipeline.web.report.site import Site
from pipeline.web.report.spool import Spool
from pipeline.web.report.tiles import dates, picture_of, seen

PHOTOS = 12
GONE = "the photo is gone"


@dataclass(frozen=True)
class Album:
    """What the pages of persons are made from.

    Attributes:
        photos: rows of `images` of the faces shown.
        folder: that all photos share.
    """

    site: Site
    shown: ShownPeople
    faces: Faces
    photos: pa.Table
    spool: Spool
    previews: Previews
    folder: str

    @cached_property
    def place(self) -> Ints:
        """Row of `photos` of each face shown, int64 [shown]; -1: gone."""
        ids = self.photos["image_id"].combine_chunks()
        rows = pc.index_in(self.shown.faces["image_id"], ids)
        return np.asarray(pc.fill_null(rows, -1).to_numpy())

    @cached_property
    def doubt(self) -> Bools:
        """Whether each face shown is doubtful, bool [shown]."""
        return doubtful(self.shown.faces)

    def pages(self) -> Iterator[tuple[str, str]]:
        """Yield name and text of the pages of all persons."""
        persons = self.shown.persons
        self.previews.fetch(self._preview_rows())
        for number, person in enumerate(persons):
            values = {
                "person": person, "others": self.shown.others(person), "mixed": person.mixed,
                "before": _neighbour(persons, number - 1),
                "after": _neighbour(persons, number + 1),
            }  # fmt: skip
            yield from self._person(person, values)

    def name(self, row: int) -> str:
        """Return the name of the photo of a face shown."""
        if self.place[row] < 0:
            return GONE
        uri = self.photos["uri"][int(self.place[row])].as_py()
        return short_name(uri, self.folder)

    def _person(self, person: Person, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        stem, of = person_stem(person.id), max(1, -(-len(person.rows) // PER_PAGE))
        photos = self._photos(person)
        taken = self.photos["taken_at"].take(self._rows(person)).to_numpy()
        row = person.row
        span = dates(row["first_taken_at"], row["last_taken_at"])
        parts = [seen(row), span,
                 plural(person.doubtful, "doubtful face") if person.doubtful else "",
                 f"confidence {row['confidence']:.2f} on average"]  # fmt: skip
        photo_count = len(np.unique(self.place[person.rows]))
        common = {
            **values, "stem": stem, "of": of, "summary": ", ".join(filter(None, parts)),
            "cover": picture_of(self.faces, self.spool, person.cover),
            "photos_left": f"{len(photos):,} of {photo_count:,} photos"
            if len(photos) < photo_count else "",
        }  # fmt: skip
        for at in range(1, of + 1):
            some = self._faces(person, (at - 1) * PER_PAGE)
            first = {"timeline": timeline("Faces by date", "faces", taken), "photos": photos}
            page = common | {"at": at, "faces": some} | (
                first if at == 1 else {"timeline": None, "photos": []}
            )  # fmt: skip
            yield page_name(stem, at), self.site.render("person.html", "People", page, first=False)

    def _rows(self, person: Person) -> pa.Array:
        """Return rows of `photos` of the person's faces, null for photos that are gone."""
        rows = self.place[person.rows]
        return pa.array(rows, pa.int64(), mask=rows < 0)

    def _faces(self, person: Person, start: int) -> list[dict[str, Any]]:
        rows = person.rows[start : start + PER_PAGE]
        members = self.shown.faces.take(pa.array(rows)).to_pylist()
        at = self._rows(person).slice(start, PER_PAGE)
        photos = self.photos.select(["uri", "taken_at"]).take(at).to_pylist()
        return [
            {
                "picture": picture_of(self.faces, self.spool, int(row)),
                "alt": f"{person.label}, {start + number} of {len(person.rows)}",
                "name": short_name(photo["uri"] or GONE, self.folder),
                "date": day(photo["taken_at"]),
                "figures": _figures(member, float(self.faces.sizes[row])),
                "confirmed": member["confirmed"],
                "doubt": _doubt(member) if self.doubt[row] else "",
            }
            for number, (row, member, photo) in enumerate(
                zip(rows, members, photos, strict=True), start=1
            )
        ]

    def _firsts(self, person: Person) -> Ints:
        """Return which of the person's faces are the first of a photo, the most central first."""
        at = self.place[person.rows]
        _, firsts = np.unique(at, return_index=True)
        chosen: Ints = np.sort(firsts[at[firsts] >= 0])[:PHOTOS]
        return chosen

    def _preview_rows(self) -> Iterator[dict[str, Any]]:
        """Yield the photos that should get a preview, those of the largest person first."""
        for person in self.shown.persons:
            at = self.place[person.rows][self._firsts(person)]
            yield from self.photos.take(pa.array(at)).to_pylist()

    def _photos(self, person: Person) -> list[dict[str, Any]]:
        firsts = self._firsts(person)
        rows = self.photos.take(pa.array(self.place[person.rows][firsts])).to_pylist()
        pictures = []
        for number, (first, row) in enumerate(zip(firsts, rows, strict=True), start=1):
            if not self.previews.requested(row["image_id"]):
                continue
            picture, why = self.previews.get(row["image_id"])
            box = self.faces.boxes[person.rows[first]]
            pictures.append({
                "picture": picture, "why": why, "row": row, "date": day(row["taken_at"]),
                "name": short_name(row["uri"], self.folder), "box": _percent(box, row),
                "alt": f"photo {number} with {person.label} in a frame",
            })  # fmt: skip
        return pictures


def _neighbour(persons: Sequence[Person], number: int) -> tuple[str, str] | None:
    if not 0 <= number < len(persons):
        return None
    return page_name(person_stem(persons[number].id)), persons[number].label


def _figures(member: Mapping[str, Any], size_px: float) -> str:
    figures = [
        f"{name} {member[name]:.2f}" for name in ("similarity", "confidence")
        if member[name] is not None
    ]  # fmt: skip
    return ", ".join([*figures, f"{size_px:.0f} px"])


def _doubt(member: Mapping[str, Any]) -> str:
    return f"doubtful: {member['reason'] or 'low confidence'}"


def _percent(box: Floats32, photo: Mapping[str, Any]) -> list[float] | None:
    """Return left, top, width and height of a box in percent of the photo."""
    if not photo["width"] or not photo["height"]:
        return None
    sides = np.array([photo["width"], photo["height"]] * 2, np.float64)
    x1, y1, x2, y2 = np.clip(100 * box / sides, 0, 100)
    return [round(float(value), 2) for value in (x1, y1, x2 - x1, y2 - y1)]
